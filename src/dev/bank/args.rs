//! The options of `settled bank`, as the command line reads them.

use std::net::SocketAddr;
use std::time::Duration;

use super::trick::{share, with_share};
use super::{BankOptions, Change, Latency, OverLimit, Trick, Tricks};

/// What `--help` ends with.
const LONG_HELP: &str = "\
Any path takes questions: POST {\"type\":..,\"reqNO\":..}, or GET /TYPE/REQNO. Beside them:

  GET /questions          its log (NDJSON): order, attempt, when it arrived, what it was given
  GET /questions/summary  counts, the busiest sliding second, the fullest slot of 100 ms, the mean
  GET /behaviour          what it was started with, then what was said since
  PATCH /behaviour        changes it while it runs; what the body leaves out stays as said before
  PUT /behaviour          the same, but what the body leaves out is forgotten; {} undoes all

The body is a JSON object of the options above, with _ for -: in_progress, failures, unknown, flips,
latency, tricks, trick_times, retry_after, redirect, max_per_second, over_limit. \"orders\" is how the
orders (type/reqNO) begin that are meant; the longest beginning decides. With \"for\" it ends by itself.
An outage of half a minute, and a type that gets HTML for every tenth question:

  curl -X PATCH -d '{\"for\":\"30s\",\"tricks\":{\"503\":1}}' http://127.0.0.1:9100/behaviour
  curl -X PATCH -d '{\"orders\":\"transfer/\",\"tricks\":{\"html\":0.1}}' http://127.0.0.1:9100/behaviour";

/// A simulated owner of orders on a port: 3 for a while, then 1 or 2, and whatever goes wrong with
/// owners. `GET /questions` is its log, `GET /questions/summary` its counts; `PATCH /behaviour` changes
/// it while it runs.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = LONG_HELP)]
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
    /// Share of the orders whose terminal answer is another one each time, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    pub flips: f64,
    /// Time until an answer: a mean (exponential), "fixed 20ms", "10ms..50ms" or "p50 20ms p99 500ms"
    #[arg(long, default_value = "0ms", value_name = "TIMES")]
    pub latency: Latency,
    /// Share of the questions answered with 500, 0 to 1; the same as --trick 500=SHARE
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    pub server_errors: f64,
    /// Share of the questions that never get an answer, 0 to 1; the same as --trick hang=SHARE
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    pub hangs: f64,
    /// What a share of the questions gets instead of an answer, all when there is no share. May be
    /// repeated. A status (301, 302, 303, 307, 308, 400, 401, 403, 404, 429, 500, 502, 503, 504) or
    /// hang, close, reset (in mid-body), drip (a byte a second), zip-bomb, huge-header, huge-body
    /// (10 MB), html, empty, other-number, no-number, other-status
    #[arg(long = "trick", value_parser = with_share, value_name = "NAME[=SHARE]")]
    pub tricks: Vec<(Trick, f64)>,
    /// Tricks only with the first so many questions of each order; 0: with all
    #[arg(long, default_value_t = 0, value_name = "TIMES")]
    pub trick_times: u32,
    /// The Retry-After of 429 and 503, in whole seconds; below one, none
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub retry_after: Duration,
    /// Where the Location of a 3xx leads
    #[arg(long, default_value = "169.254.169.254:80", value_name = "ADDRESS")]
    pub redirect: SocketAddr,
    /// Questions that are taken in any sliding second; 0: all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub max_per_second: u32,
    /// What becomes of the others: 429, or they queue, evenly and for ten seconds at most
    #[arg(long, value_enum, default_value_t = OverLimit::Refuse, value_name = "WHAT")]
    pub over_limit: OverLimit,
    /// A change as PATCH /behaviour takes it, counted from the start. May be repeated
    #[arg(long, value_name = "JSON")]
    pub behave: Vec<Change>,
    /// Decides which orders fail and which questions go wrong; the same seed, the same orders
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep counts only, no log of questions
    #[arg(long)]
    pub counters_only: bool,
}

impl BankArgs {
    /// How the bank behaves, but for `behave`.
    ///
    /// # Errors
    /// One line: the shares of the tricks sum up to more than 1.
    pub fn options(&self) -> Result<BankOptions, String> {
        let flags = [
            (Trick::Code(500), self.server_errors),
            (Trick::Hang, self.hangs),
        ];
        let given = flags.iter().filter(|(_, share)| *share > 0.0);
        let tricks = given
            .chain(&self.tricks)
            .try_fold(Tricks::default(), |tricks, (trick, share)| {
                tricks.with(*trick, *share)
            })
            .map_err(|error| format!("--trick, --server-errors, --hangs: {error}"))?;
        Ok(BankOptions {
            in_progress: self.in_progress,
            failure_share: self.failures,
            unknown_share: self.unknown,
            flip_share: self.flips,
            latency: self.latency,
            tricks,
            trick_times: self.trick_times,
            retry_after: self.retry_after,
            redirect: self.redirect,
            max_per_second: self.max_per_second,
            over_limit: self.over_limit,
            seed: self.seed,
            counters_only: self.counters_only,
        })
    }
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
        assert_eq!(
            read(&[]).unwrap().options().unwrap(),
            BankOptions::default()
        );
    }

    #[test]
    fn every_option_reaches_the_bank() {
        let line = "--in-progress 5 --failures 0.25 --unknown 0.5 --flips 0.125 --latency 20ms \
                    --server-errors 0.01 --hangs 0.002 --trick html=0.5 --trick drip=0.25 \
                    --trick-times 3 --retry-after 7s --redirect 127.0.0.1:9 --max-per-second 100 \
                    --over-limit queue --seed 9 --counters-only";
        let line: Vec<_> = line.split_whitespace().collect();
        let tricks = [
            (Trick::Code(500), 0.01),
            (Trick::Hang, 0.002),
            (Trick::Html, 0.5),
            (Trick::Drip, 0.25),
        ];
        let tricks = tricks
            .into_iter()
            .try_fold(Tricks::default(), |all, (trick, share)| {
                all.with(trick, share)
            });
        let expected = BankOptions {
            in_progress: 5,
            failure_share: 0.25,
            unknown_share: 0.5,
            flip_share: 0.125,
            latency: Latency::Mean(Duration::from_millis(20)),
            tricks: tricks.unwrap(),
            trick_times: 3,
            retry_after: Duration::from_secs(7),
            redirect: "127.0.0.1:9".parse().unwrap(),
            max_per_second: 100,
            over_limit: OverLimit::Queue,
            seed: 9,
            counters_only: true,
        };
        assert_eq!(read(&line).unwrap().options().unwrap(), expected);
        let behave = read(&["--behave", r#"{"orders":"a/"}"#]).unwrap().behave;
        assert_eq!(behave[0].orders, "a/");
    }

    #[test]
    fn a_mistake_is_told_with_the_expected_form() {
        for (line, told) in [
            (
                ["--failures", "10"],
                "\"10\": expected a number from 0 to 1",
            ),
            (
                ["--trick", "htlm"],
                "\"htlm\": no such trick, expected one of",
            ),
            (["--latency", "soon"], "\"soon\": expected a mean like 20ms"),
            (
                ["--behave", "{\"failures\":2}"],
                "failures: \"2\": expected a number",
            ),
        ] {
            let error = read(&line).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let line = ["--trick", "html=0.7", "--hangs", "0.7"];
        let error = read(&line).unwrap().options().unwrap_err();
        assert_eq!(
            error,
            "--trick, --server-errors, --hangs: the shares sum up to 1.4, expected 1 at most"
        );
    }
}
