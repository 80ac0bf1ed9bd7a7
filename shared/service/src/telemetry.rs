//! Logs: human-readable lines, or JSON lines with flat fields, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` filters (default `info`), `LOG_FORMAT=json` gives one JSON object a
/// line. Call once, before anything is logged.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let wants_json = std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json");
    let started = if wants_json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
    };
    // A second start (in a test process) keeps the first one's settings.
    drop(started);
}
