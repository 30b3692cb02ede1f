//! What a verb fails with: what is told on standard error, and the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};

use crate::config::ConfigError;

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// clap's own output, already complete: help or version; exit code 0, or 2 when help was shown
    /// because nothing was asked.
    Shown(clap::Error),
    /// The command line or a variable beside the configuration is wrong; exit code 2.
    Usage(String),
    /// The configuration is wrong; exit code 2.
    Config {
        /// Every mistake.
        error: ConfigError,
        /// There was no file to read.
        without_file: bool,
    },
    /// A check, a verification or the run failed; exit code 1.
    Failed(anyhow::Error),
}

impl Failure {
    /// Tells it and gives the exit code. A standard error that is gone is no one's concern any more.
    pub(super) fn tell(&self) -> ExitCode {
        let text = match self {
            Self::Shown(error) => {
                // Help goes to standard output, but for a bare `settled`.
                return match error.print() {
                    Ok(()) if error.use_stderr() => ExitCode::from(2),
                    _ => ExitCode::SUCCESS,
                };
            }
            Self::Usage(what) => format!("settled: {what}\n"),
            Self::Config {
                error,
                without_file,
            } => {
                let hint = match without_file {
                    true => {
                        "settled: there is no settled.toml here: name a file by --config FILE\n"
                    }
                    false => "",
                };
                format!("{error}\n{hint}")
            }
            Self::Failed(error) => format!("settled: {error:#}\n"),
        };
        io::stderr().write_all(text.as_bytes()).unwrap_or_default();
        match self {
            Self::Failed(_) => ExitCode::FAILURE,
            _ => ExitCode::from(2),
        }
    }
}

impl From<clap::Error> for Failure {
    /// clap explains over several lines; its first sentence and its tip make one.
    fn from(error: clap::Error) -> Self {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        ) {
            return Self::Shown(error);
        }
        let text = error.to_string();
        let told = text
            .lines()
            .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let told: Vec<String> = told.map(|line| line.replace("tip: ", "- ")).collect();
        let told = told.join(" ");
        let told = told.strip_prefix("error: ").unwrap_or(&told);
        let more = match error.get(ContextKind::Usage) {
            Some(usage) => {
                let usage = usage.to_string();
                let verb = usage
                    .split_whitespace()
                    .skip_while(|word| *word != "settled")
                    .nth(1)
                    .filter(|word| word.bytes().all(|b| b.is_ascii_lowercase()));
                format!(
                    "settled {}--help",
                    verb.map_or(String::new(), |verb| format!("{verb} "))
                )
            }
            None => "settled --help".to_owned(),
        };
        Self::Usage(format!("{told}; see {more}"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}
