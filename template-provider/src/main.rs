//! The program; everything it does is in the library, where tests reach it.

use std::process::ExitCode;

use template_provider::app::TemplateProvider;

fn main() -> ExitCode {
    service::program::main::<TemplateProvider>()
}
