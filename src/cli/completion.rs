//! `settled completion`: a script that teaches a shell the verbs and options.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, print};

/// `settled completion`.
#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub(super) fn completion(args: CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "settled", &mut script);
    print(&String::from_utf8_lossy(&script))
}
