//! The command line: verbs, help, exit codes, and all that is printed. `main` calls [`run`]; what
//! takes longer than reading the configuration is carried out by `app`.

mod args;
mod completion;
mod dev;
mod exhausted;
mod failure;
mod figures;
mod history;
mod order;
mod plan;
mod reach;
mod table;
mod types;
mod verify;
mod work;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

pub use args::{Common, DevArgs, PlanArgs, TopicsCommand, VerifyArgs};
pub use failure::Failure;

use crate::config::{CONFIG, Config, Environment, LOG, LOG_FORMAT};
use crate::dev::bank::BankArgs;
use crate::telemetry::{self, LogFormat};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "settled.toml";

const ABOUT: &str = "Brings every in-progress order to a settled state.

Business systems publish orders whose outcome they do not know yet to Kafka. settled asks each
order's owner about it, again and again on a widening schedule, until the owner gives a terminal
answer, and publishes that answer, once. An order that cannot be settled within its schedule raises
an alarm for a human; it is never dropped.";

const EXAMPLES: &str = "Examples:
  settled dev --for 30s                     everything in one process, nothing to install
  settled plan transfer --rate 500          when orders of a type are asked about, and what it costs
  settled config --config /etc/settled.toml what is in effect, secrets redacted
  settled verify                            whether every accepted order is settled, exhausted or pending
  settled exhausted list --type transfer    the orders that wait for a person

Configuration: defaults, then the file, then variables SETTLED_<SECTION>__<FIELD>.
settled.example.toml holds every option.

Exit codes:
  0  done
  1  a difference, a failed check or a failed run
  2  bad usage or configuration";

/// What was typed.
#[derive(Parser, Debug)]
#[command(
    name = "settled",
    version,
    about = "Brings every in-progress order to a settled state",
    long_about = ABOUT,
    after_help = EXAMPLES,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Prints when orders of a type are asked about, and what that costs at a rate
    Plan(PlanArgs),
    /// Prints the effective configuration, secrets redacted
    Config,
    /// Runs a worker until SIGTERM
    Run,
    /// Checks configuration, topics and Redis, one line each
    Check,
    /// Compares both logs and the view of a running system, order by order
    Verify(VerifyArgs),
    /// Makes the topics
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Asks about, requeues or settles one order, by hand
    #[command(subcommand)]
    Order(order::OrderCommand),
    /// Lists exhausted orders; requeues or settles many at a time
    #[command(subcommand)]
    Exhausted(exhausted::ExhaustedCommand),
    /// Lists, pauses and resumes order types
    #[command(subcommand)]
    Type(types::TypeCommand),
    /// Prints a shell's completion script
    ///
    /// `settled completion bash > /etc/bash_completion.d/settled`, or in fish
    /// `settled completion fish | source`.
    Completion(completion::CompletionArgs),
    /// Runs a simulated owner of orders
    Bank(BankArgs),
    /// Tries it all in one process: broker, view, bank, sample orders and a verified count
    Dev(DevArgs),
}

/// Carries out what `arguments` (the program's name first) say. Everything that goes wrong is told
/// on standard error, one line a mistake.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let done = Cli::try_parse_from(arguments)
        .map_err(Failure::from)
        .and_then(|cli| carry_out(&cli, environment));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn carry_out(cli: &Cli, environment: &Environment) -> Result<(), Failure> {
    let quiet = matches!(cli.command, Command::Dev(_));
    let default_filter = if quiet {
        dev::LOG_FILTER
    } else {
        telemetry::DEFAULT_FILTER
    };
    start_telemetry(&cli.common, environment, default_filter)?;
    match &cli.command {
        Command::Plan(args) => print(&plan::plan(&load(&cli.common, environment)?, args)?),
        Command::Config => print(&load(&cli.common, environment)?.to_toml()),
        Command::Run => {
            #[cfg(feature = "fault-points")]
            arm(environment)?;
            let (file, environment) = (file(&cli.common, environment), environment.clone());
            let config = load(&cli.common, &environment)?;
            let reread = move || Config::load(file.as_deref(), &environment);
            work::run(&config, Box::new(reread))
        }
        Command::Check => work::check(&load(&cli.common, environment)?),
        Command::Verify(args) => verify::verify(&load(&cli.common, environment)?, args),
        Command::Topics(TopicsCommand::Create) => {
            work::create_topics(&load(&cli.common, environment)?)
        }
        Command::Order(command) => order::order(command, &cli.common, environment),
        Command::Exhausted(command) => exhausted::exhausted(command, &cli.common, environment),
        Command::Type(command) => types::types(command, &cli.common, environment),
        Command::Completion(args) => completion::completion(*args),
        Command::Bank(args) => work::bank(args),
        Command::Dev(args) => dev::dev(args),
    }
}

fn start_telemetry(
    common: &Common,
    environment: &Environment,
    default_filter: &str,
) -> Result<(), Failure> {
    let (filter, said_by) = match (&common.log_level, environment.value(LOG)) {
        (Some(filter), _) => (filter.as_str(), "--log-level"),
        (None, Some(filter)) => (filter, LOG),
        (None, None) => (default_filter, "--log-level"),
    };
    let format = match (common.log_format, environment.value(LOG_FORMAT)) {
        (Some(format), _) => format,
        (None, Some(name)) => LogFormat::from_str(name, false).map_err(|_| {
            Failure::Usage(format!("{LOG_FORMAT}: {name:?}: expected text or json"))
        })?,
        (None, None) => LogFormat::default(),
    };
    telemetry::start(format, filter).map_err(|error| Failure::Usage(format!("{said_by}: {error}")))
}

/// Arms the fault point that the environment names.
#[cfg(feature = "fault-points")]
fn arm(environment: &Environment) -> Result<(), Failure> {
    use crate::config::FAULT;
    let fault = environment.value(FAULT);
    fault
        .map_or(Ok(()), crate::fault::arm)
        .map_err(|error| Failure::Usage(format!("{FAULT}: {error}")))
}

/// The configuration that `--config`, the environment and the working directory name.
fn load(common: &Common, environment: &Environment) -> Result<Config, Failure> {
    let file = file(common, environment);
    Config::load(file.as_deref(), environment).map_err(|error| Failure::Config {
        error,
        without_file: file.is_none(),
    })
}

fn file(common: &Common, environment: &Environment) -> Option<PathBuf> {
    let named = common.config.clone();
    named
        .or_else(|| environment.value(CONFIG).map(PathBuf::from))
        .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()))
}

/// Prints the product of a verb. A reader that has seen enough is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Failed(
            anyhow::Error::from(error).context("standard output"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
