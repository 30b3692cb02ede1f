//! The command `settled`; everything is in the library.

use std::process::ExitCode;

use settled::cli;
use settled::config::Environment;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &Environment::of_process())
}
