//! The demo behind `scripts/demo`: a node on a private chain, the three programs and two devices,
//! and in plain words what happens.
//!
//! `narrator` turns log events into sentences, `show` runs the stack and counts blocks. It changes
//! nothing outside a temporary folder and leaves nothing running.

mod narrator;
mod show;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use service::program::{block_on, exit_code, usage_exit};
use show::Settings;

/// The whole stack on a private test chain, mining.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Arguments {
    /// End after so many blocks of each path (V2 and V1), with exit code 0 if all checks hold.
    /// Without it the demo runs until Ctrl-C.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    blocks: Option<u64>,

    /// Give up when one path finds no block for so many seconds.
    #[arg(long, default_value = "120", value_parser = clap::value_parser!(u64).range(1..))]
    patience_seconds: u64,

    /// Where miners can connect: 0.0.0.0 lets those of your network in.
    #[arg(long, default_value = "127.0.0.1")]
    listen: String,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage_exit(&error),
    };
    let settings = Settings {
        blocks: arguments.blocks,
        patience: Duration::from_secs(arguments.patience_seconds),
        listen_host: arguments.listen,
    };
    let shown = block_on("demo", |shutdown| async move {
        let shown = tokio::task::spawn_blocking(move || show::run(&settings, &shutdown)).await;
        Ok(shown.context("the demo broke off")??)
    });
    exit_code("demo", shown)
}
