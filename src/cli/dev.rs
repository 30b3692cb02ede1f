//! `settled dev` on the screen: what is up and where, a line a second, and the verified count.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use tokio_util::sync::CancellationToken;

use super::Failure;
use super::args::DevArgs;
use super::figures::count;
use super::work::{on_runtime, signalled};
use crate::app::dev::{self, DevOptions, Second, Started, Told};
use crate::dev::audit::Verdict;
use crate::dev::traffic::Ended;

/// What is logged unless the user says otherwise. An empty view, and a step that is tried again, are
/// nothing to worry about here.
pub(super) const LOG_FILTER: &str = "warn,settled::shard::report=error";

/// Differences that are printed in full.
const SHOWN: usize = 20;

/// `settled dev`: until a signal or `--for`, then until the count is verified.
pub(super) fn dev(args: &DevArgs) -> Result<(), Failure> {
    on_runtime(async |stop| {
        let mut screen = Screen {
            gone: CancellationToken::new(),
        };
        let gone = screen.gone.clone();
        let asked_twice = async {
            stop.cancelled().await;
            signalled().await
        };
        let verdict = tokio::select! {
            verdict = dev::run(options(args), stop.clone(), |told| screen.tell(told)) => verdict?,
            () = gone.cancelled() => return Err(failed("standard output is closed; ended without a verified count")),
            signalled = asked_twice => {
                signalled?;
                return Err(failed("stopped twice; ended without a verified count"));
            }
        };
        screen.verdict(&verdict);
        match verdict.differences() {
            _ if screen.gone.is_cancelled() => Err(failed(
                "standard output is closed; the verified count was not printed",
            )),
            0 => Ok(()),
            differences => Err(failed(&format!(
                "{} differences; the count is not verified",
                count(differences)
            ))),
        }
    })
}

fn failed(what: &str) -> Failure {
    Failure::Failed(anyhow::Error::msg(what.to_owned()))
}

fn options(args: &DevArgs) -> DevOptions {
    DevOptions {
        run_for: args.run_for,
        rate: args.rate,
        events: args.events.clone(),
        query_url: args.query_url.clone(),
        kafka: args.kafka.clone(),
        redis: args.redis.clone(),
        seed: args.seed,
        in_progress: args.in_progress,
        api_listen: args.api_listen,
        admin_listen: args.admin_listen,
        bank_listen: args.bank_listen,
        ..DevOptions::default()
    }
}

/// Standard output; when nobody reads it any more, the run has no purpose.
struct Screen {
    gone: CancellationToken,
}

impl Screen {
    fn tell(&mut self, told: Told) {
        let text = match told {
            Told::Started(started) => introduction(&started),
            Told::BadLine(number, why) => {
                format!(
                    "--events line {number}: {why}; published all the same, see its dead letter\n"
                )
            }
            Told::Second(second) => line(&second),
            Told::TrafficEnded(Ended::Full) => {
                "as many orders as one run verifies; traffic ends\n".to_owned()
            }
            Told::TrafficEnded(_) => {
                "all lines are published; what others publish is taken until the end (Ctrl-C)\n"
                    .to_owned()
            }
            Told::Settling(at_most) => {
                let at_most = crate::config::duration::show(at_most);
                format!(
                    "traffic has ended; waiting until its orders are settled, {at_most} at most without a new result\n"
                )
            }
        };
        self.print(&text);
    }

    fn verdict(&mut self, verdict: &Verdict) {
        self.print(&summary(verdict));
    }

    fn print(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        if out
            .write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            self.gone.cancel();
        }
    }
}

fn introduction(started: &Started) -> String {
    let (bootstrap, worker) = (&started.bootstrap, &started.worker);
    let types: Vec<_> = started
        .order_types
        .iter()
        .map(ToString::to_string)
        .collect();
    let broker = if started.embedded {
        "   embedded broker: in memory, transactions are not isolated"
    } else {
        ""
    };
    let view = if started.redis {
        "in Redis"
    } else {
        "in memory, forgotten at the end"
    };
    let bank = started.bank.map_or_else(
        || {
            "none: your own endpoint, asked 100 times a second at most per order type; without the \
             bank's log a part of the count cannot be verified"
                .to_owned()
        },
        |bank| format!("http://{bank}/questions   simulated; its log"),
    );
    let rows = [
        ("kafka", format!("{bootstrap}{broker}")),
        ("view", view.to_owned()),
        (
            "api",
            format!("http://{}/v1/orders/TYPE/NUMBER", worker.api),
        ),
        (
            "admin",
            format!("http://{0}/metrics   http://{0}/readyz", worker.admin),
        ),
        ("bank", bank),
        ("topics", started.topics.join(", ")),
        ("types", types.join(", ")),
        ("seed", started.seed.to_string()),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        writeln!(text, "{name:<7} {value}").unwrap_or_default();
    }
    text + &example(started)
}

/// A command line with which anybody joins in.
fn example(started: &Started) -> String {
    let [events, results, _] = &started.topics;
    let bootstrap = &started.bootstrap;
    let order_type = started
        .order_types
        .first()
        .map_or("transfer", |name| name.as_str());
    format!(
        "\npublish an order of your own, and read what became of the orders:\n  \
         echo '{{\"type\":\"{order_type}\",\"reqNO\":\"MINE1\",\"status\":\"3\",\"at\":\"'$(date -u +%FT%TZ)'\",\"source\":\"me\"}}' | kcat -P -b {bootstrap} -t {events}\n  \
         kcat -C -b {bootstrap} -t {results} -X isolation.level=read_committed\n\n"
    )
}

fn line(second: &Second) -> String {
    let standing = &second.standing;
    let due = if second.has_log {
        count(standing.due)
    } else {
        "-".to_owned()
    };
    let lateness = match second.lateness_p99_seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds.is_infinite() => "over 60 s".to_owned(),
        Some(seconds) => format!("{} ms", (seconds * 10_000.0).round() / 10.0),
    };
    let exhausted = match standing.exhausted {
        0 => String::new(),
        exhausted => format!("   exhausted {}", count(exhausted)),
    };
    format!(
        "{:>4} s   accepted {}   pending {}   due {due}   asked {}   settled {}{exhausted}   lateness p99 {lateness}\n",
        second.seconds,
        count(standing.accepted),
        count(standing.pending),
        count(second.asked),
        count(standing.settled),
    )
}

fn summary(verdict: &Verdict) -> String {
    let (counts, standing) = (&verdict.counts, &verdict.standing);
    let mut text = format!(
        "\na second reader of the topics{}, which share nothing with the worker, found:\n  \
         events        {}   of them {} terminal, {} in a foreign partition ({} forwarded), {} no events ({} dead letters)\n  \
         questions     {}\n  \
         results       {}\n",
        if verdict.by_the_banks_log {
            " and the bank's log"
        } else {
            ""
        },
        count(counts.events),
        count(counts.terminal),
        count(counts.misplaced),
        count(counts.forwarded),
        count(counts.refused),
        count(counts.dead_letters),
        if verdict.by_the_banks_log {
            count(counts.questions)
        } else {
            "not verified: there is no complete log of them".to_owned()
        },
        count(counts.results),
    );
    for difference in verdict.wrong.iter().chain(&verdict.missing).take(SHOWN) {
        writeln!(text, "difference: {difference}").unwrap_or_default();
    }
    let hidden = verdict.differences().saturating_sub(SHOWN as u64);
    if hidden > 0 {
        writeln!(text, "and {} differences more", count(hidden)).unwrap_or_default();
    }
    let outcome = match verdict.differences() {
        0 => "verified",
        _ => "NOT verified",
    };
    writeln!(
        text,
        "{outcome}: {} orders accepted = {} settled + {} exhausted + {} pending",
        count(standing.accepted),
        count(standing.settled),
        count(standing.exhausted),
        count(standing.pending),
    )
    .unwrap_or_default();
    text
}
