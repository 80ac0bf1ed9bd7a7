//! The program: everything it does is in `translator_v1::app`.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::program::main::<translator_v1::app::Translator>()
}
