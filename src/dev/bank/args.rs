//! The options of `settled bank`, as the command line reads them.

use std::net::SocketAddr;
use std::time::Duration;

use super::BankOptions;

/// A simulated owner of orders on a port: 3 for a while, then 1 or 2. `GET /questions` is its log
/// (NDJSON), `GET /questions?summary=1` its counts.
#[derive(Clone, Debug, clap::Args)]
pub struct BankArgs {
    /// Where it listens; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:9100", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// How often an order is «in progress» (3) before its terminal answer
    #[arg(long, default_value_t = 2, value_name = "TIMES")]
    pub in_progress: u32,
    /// Share of the orders that end in failure (2), 0 to 1
    #[arg(long, default_value_t = 0.1, value_parser = share, value_name = "SHARE")]
    pub failures: f64,
    /// Share of the answers «in progress» that are «unknown» (4) instead, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    pub unknown: f64,
    /// Mean time until an answer
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub latency: Duration,
    /// Share of the questions answered with 500, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    pub server_errors: f64,
    /// Share of the questions that never get an answer, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    pub hangs: f64,
    /// Decides which orders fail and which questions go wrong; the same seed, the same orders
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep counts only, no log of questions
    #[arg(long)]
    pub counters_only: bool,
}

impl BankArgs {
    /// How the bank behaves.
    pub fn options(&self) -> BankOptions {
        BankOptions {
            in_progress: self.in_progress,
            failure_share: self.failures,
            unknown_share: self.unknown,
            latency: self.latency,
            server_error_share: self.server_errors,
            hang_share: self.hangs,
            seed: self.seed,
            counters_only: self.counters_only,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn read(line: &[&str]) -> Result<BankArgs, clap::Error> {
        let command = BankArgs::augment_args(clap::Command::new("bank").no_binary_name(true));
        BankArgs::from_arg_matches(&command.try_get_matches_from(line)?)
    }

    #[test]
    fn without_options_the_bank_behaves_as_its_default() {
        assert_eq!(read(&[]).unwrap().options(), BankOptions::default());
    }

    #[test]
    fn every_option_reaches_the_bank() {
        let line = "--in-progress 5 --failures 0.25 --unknown 0.5 --latency 20ms \
                    --server-errors 0.01 --hangs 0.002 --seed 9 --counters-only";
        let line: Vec<_> = line.split_whitespace().collect();
        let expected = BankOptions {
            in_progress: 5,
            failure_share: 0.25,
            unknown_share: 0.5,
            latency: Duration::from_millis(20),
            server_error_share: 0.01,
            hang_share: 0.002,
            seed: 9,
            counters_only: true,
        };
        assert_eq!(read(&line).unwrap().options(), expected);
    }

    #[test]
    fn a_share_above_one_is_refused_with_the_expected_form() {
        let error = read(&["--failures", "10"]).unwrap_err().to_string();
        assert!(error.contains("expected a number from 0 to 1"), "{error}");
    }
}
