//! The program `pool-sv2`: arguments, settings, signals. Everything else is in the library.

use std::process::ExitCode;

use pool_sv2::app::Pool;

fn main() -> ExitCode {
    service::program::main::<Pool>()
}
