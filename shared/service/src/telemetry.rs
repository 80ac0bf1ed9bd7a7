//! Logs: human-readable lines, or JSON lines with flat fields, on standard error.

mod flood;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use flood::Flood;

/// Starts logging. `RUST_LOG` filters (default `info`), `LOG_FORMAT=json` gives one JSON object a
/// line. Call once, before anything is logged.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let wants_json = std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json");
    let started = if wants_json {
        let log = builder.json().flatten_event(true).with_current_span(false).finish();
        log.with(Flood::default()).try_init()
    } else {
        let log = builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).finish();
        log.with(Flood::default()).try_init()
    };
    // A second start (in a test process) keeps the first one's settings.
    drop(started);
}
