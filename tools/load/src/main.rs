//! `load`: reads the command line and measures. What it does is in the library beside it.

use std::process::ExitCode;

use clap::Parser;
use load::app;
use load::arguments::Arguments;
use service::program::{exit_code, usage_exit};

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => exit_code("load", app::run(&arguments)),
        Err(error) => usage_exit(&error),
    }
}
