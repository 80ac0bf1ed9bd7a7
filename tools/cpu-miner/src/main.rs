//! `cpu-miner`: reads the command line and mines. What it does is in the library beside it.

use std::process::ExitCode;

use clap::Parser;
use cpu_miner::app;
use cpu_miner::arguments::Arguments;
use service::program::{Failure, block_on, exit_code, usage_exit};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage_exit(&error),
    };
    if let Some(contradiction) = arguments.contradiction() {
        return exit_code("cpu-miner", Err(Failure::Usage(contradiction)));
    }
    service::telemetry::start();
    let mined = block_on("cpu-miner", |shutdown| app::run(arguments, shutdown));
    exit_code("cpu-miner", mined)
}
