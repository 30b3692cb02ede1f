//! What the verbs take, as clap reads it. Meaning is given where the verb is carried out.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Secret, duration};
use crate::telemetry::LogFormat;

/// What every verb takes, before or after its name.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Configuration file [default: `SETTLED_CONFIG`, else ./settled.toml where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which log lines go to standard error, like info or settled=debug [default: `SETTLED_LOG`, else info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log_level: Option<String>,
    /// Form of the log lines [default: `SETTLED_LOG_FORMAT`, else text]
    #[arg(long, global = true, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// `settled plan`.
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    /// The order type, as the configuration names it
    #[arg(value_name = "TYPE")]
    pub order_type: String,
    /// Orders a second that become pending
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
}

/// Compares both logs and the view of a running system, order by order: every accepted order is
/// settled, exhausted or pending, once, and nothing else is there.
///
/// It reads both topics from their beginning to the ends that they have now, and Redis, one shard
/// after the other; it writes nothing and joins no group. What differs is looked at twice more before
/// it is told, so that work in flight is no difference; what retention has taken is none either. A
/// difference is exit code 1. It takes 65 to 130 MB per million orders of the largest shard.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Prints one JSON document instead of lines
    #[arg(long)]
    pub json: bool,
    /// How long ago a pending order may have been due
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = read_duration)]
    pub slack: Duration,
}

/// `settled topics create`.
#[derive(clap::Subcommand, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicsCommand {
    /// Makes the topics that are missing, with the partitions and retention that the schedules need
    Create,
}

/// Runs a worker, an embedded broker, a view in memory, a simulated bank and sample orders in one
/// process, and prints how things stand each second.
///
/// At the end (Ctrl-C, or after --for) traffic stops, what is open is waited for (10 s where the bank
/// says «in progress» once, longer while results still come), and a second reader of the topics compares them with the bank's log: each
/// accepted order is settled, exhausted or pending. A difference is exit code 1. No configuration
/// file is read. At most 2,000,000 orders are audited in one run; then traffic stops.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// How long to run; without it, until Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = read_duration)]
    pub run_for: Option<Duration>,
    /// Sample orders a second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Events of your own, one JSON object a line, instead of sample orders; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "rate")]
    pub events: Option<PathBuf>,
    /// Your own query interface instead of the simulated bank
    #[arg(long, value_name = "URL", conflicts_with = "in_progress")]
    pub query_url: Option<String>,
    /// Kafka instead of the embedded broker; topics that are missing are made there, and stay
    #[arg(long, value_name = "BOOTSTRAP")]
    pub kafka: Option<String>,
    /// Redis instead of a view in memory
    #[arg(long, value_name = "URL", value_parser = read_redis_url)]
    pub redis: Option<Secret>,
    /// Makes the sample orders and the bank's answers the same again
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How often the simulated bank says «in progress» before it settles an order
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub in_progress: u32,
    /// Where the API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    pub api_listen: SocketAddr,
    /// Where metrics and health listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    pub admin_listen: SocketAddr,
    /// Where the simulated bank listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    pub bank_listen: SocketAddr,
}

fn read_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration like 500ms, 2s, 5m".to_owned())
}

fn read_redis_url(text: &str) -> Result<Secret, String> {
    Secret::redis_url(text.to_owned())
        .ok_or_else(|| "expected a URL like redis://host:6379/0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches, Subcommand};

    use super::*;

    fn dev(arguments: &[&str]) -> Result<DevArgs, clap::Error> {
        let command = DevArgs::augment_args(Command::new("dev"));
        let arguments = std::iter::once(&"dev").chain(arguments);
        DevArgs::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn the_arguments_of_every_verb_are_well_formed() {
        DevArgs::augment_args(Command::new("dev")).debug_assert();
        PlanArgs::augment_args(Command::new("plan")).debug_assert();
        VerifyArgs::augment_args(Command::new("verify")).debug_assert();
        TopicsCommand::augment_subcommands(Command::new("topics")).debug_assert();
        Common::augment_args(Command::new("settled")).debug_assert();
    }

    #[test]
    fn dev_takes_everything_from_its_options() {
        let args = dev(&[]).unwrap();
        assert_eq!((args.run_for, args.rate, args.in_progress), (None, 200, 1));
        assert!(args.api_listen.ip().is_loopback() && args.api_listen.port() == 0);
        let args = dev(&[
            "--for",
            "30s",
            "--events",
            "-",
            "--query-url",
            "http://h/q",
            "--kafka",
            "k:9092",
            "--redis",
            "redis://:c4nary@h",
            "--seed",
            "7",
        ])
        .unwrap();
        assert_eq!(args.run_for, Some(Duration::from_secs(30)));
        assert_eq!(args.events, Some(PathBuf::from("-")));
        assert_eq!(args.redis.as_ref().unwrap().reveal(), "redis://:c4nary@h");
        assert!(!format!("{args:?}").contains("c4nary"));
    }

    #[test]
    fn dev_refuses_what_cannot_be() {
        for arguments in [
            &["--for", "0s"][..],
            &["--for", "30"],
            &["--rate", "0"],
            &["--rate", "5", "--events", "-"],
            &["--in-progress", "1", "--query-url", "http://h"],
            &["--redis", "h:6379"],
            &["--api-listen", "8080"],
        ] {
            assert!(dev(arguments).is_err(), "{arguments:?}");
        }
    }
}
