//! `settled plan TYPE`: when an order is asked about, and what a rate of such orders costs the owner
//! and Redis. Everything is the worst case: each order gets the same answer, which is not
//! terminal, to every question.

use std::fmt::{self, Write};

use super::Failure;
use super::args::PlanArgs;
use super::figures::{bytes, count, time};
use crate::config::{Config, MAX_SHARDS, OrderTypeConfig};
use crate::domain::order::{Millis, RECORD_HASHES};
use crate::domain::schedule::Ladder;
use crate::store::key::MARK_HOURS;

/// More questions than this are not walked.
const MOST_QUESTIONS: usize = 1_000_000;

/// Measured with 24-character numbers (DESIGN section 5).
const BYTES_PER_PENDING: u64 = 100;
/// The same, in the compact form of hashes; and what a hash of marks takes beside its entries.
const BYTES_PER_MARK: u64 = 26;
const BYTES_PER_MARK_HASH: u64 = 94;

/// Redis keeps a hash in its compact form up to so many entries (`hash-max-listpack-entries`, default).
const LISTPACK_ENTRIES: u64 = 512;
/// Hashes fill unevenly: where a thousand of them hold so many on average, the fullest reach 512.
const AVERAGE_ENTRIES: u64 = 430;

/// Hashes that the marks of [`MARK_HOURS`] are spread over in each shard, as in the view's layout.
const MARK_HASHES: u64 = crate::store::key::MARK_HASHES as u64;

/// The plan as text.
pub(super) fn plan(config: &Config, args: &PlanArgs) -> Result<String, Failure> {
    let Some(order_type) = config.order_types.get(args.order_type.as_str()) else {
        let known: Vec<&str> = config
            .order_types
            .keys()
            .map(super::super::domain::order::TypeName::as_str)
            .collect();
        return Err(Failure::Usage(format!(
            "{:?}: expected an order type of the configuration: {}",
            args.order_type,
            known.join(", ")
        )));
    };
    let mut out = String::new();
    // Writing to a String cannot fail.
    write_plan(&mut out, config, order_type, args).unwrap_or_default();
    Ok(out)
}

/// A question and the delay before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    delay: Millis,
    age: Millis,
}

/// The questions of an order whose every question is asked when due and answered at once.
fn steps(ladder: &Ladder) -> Vec<Step> {
    let (mut position, mut age) = (0, 0);
    let step = || {
        let draw = ladder.draw(position, age)?;
        position = draw.position;
        age += draw.delay;
        Some(Step {
            delay: draw.delay,
            age,
        })
    };
    std::iter::from_fn(step).take(MOST_QUESTIONS).collect()
}

fn write_plan(
    out: &mut String,
    config: &Config,
    order_type: &OrderTypeConfig,
    args: &PlanArgs,
) -> fmt::Result {
    let schedule = &order_type.schedule;
    let name = &args.order_type;
    let (in_progress, unknown) = (steps(&schedule.in_progress), steps(&schedule.unknown));
    if schedule.in_progress == schedule.unknown {
        write_ladder(
            out,
            name,
            "in progress or unknown (3, 4)",
            &schedule.unknown,
        )?;
    } else {
        write_ladder(out, name, "in progress (3)", &schedule.in_progress)?;
        write_ladder(out, name, "unknown (4)", &schedule.unknown)?;
    }
    writeln!(
        out,
        "Jitter and rounding make delays of 4s and more a little longer."
    )?;
    write!(
        out,
        "After the last question an order is exhausted and raises an alarm"
    )?;
    match schedule.then {
        Some(then) => writeln!(out, "; it is still asked about every {}.\n", time(then))?,
        None => writeln!(out, ".\n")?,
    }
    let longest = in_progress.len().max(unknown.len()) as u64;
    let ends = [&in_progress, &unknown].map(|steps| steps.last().map_or(0, |step| step.age));
    let costs = Costs {
        rate: u64::from(args.rate),
        questions: longest,
        open_ms: ends[0].max(ends[1]),
    };
    costs.write(out, config, order_type)
}

fn write_ladder(out: &mut String, name: &str, last: &str, ladder: &Ladder) -> fmt::Result {
    writeln!(out, "{name}, {last}: {}", ladder.to_stages().join(", "))?;
    writeln!(out, "{:>15}  {:>10}  at age", "question", "after")?;
    let steps = steps(ladder);
    let mut asked = 0;
    for run in steps.chunk_by(|one, next| one.delay == next.delay) {
        let (first, last) = (run[0], run[run.len() - 1]);
        let (questions, ages) = match run.len() {
            1 => ((asked + 1).to_string(), time(first.age)),
            many => (
                format!("{} to {}", asked + 1, asked + many),
                format!("{} to {}", time(first.age), time(last.age)),
            ),
        };
        writeln!(out, "{questions:>15}  {:>10}  {ages}", time(first.delay))?;
        asked += run.len();
    }
    if asked == MOST_QUESTIONS {
        writeln!(out, "{:>15}", "and so on")?;
    }
    writeln!(out)
}

/// What orders of one type cost when none of them is settled before its schedule ends.
struct Costs {
    /// Orders a second.
    rate: u64,
    /// Questions an order.
    questions: u64,
    /// Age at the end of the schedule.
    open_ms: Millis,
}

impl Costs {
    fn pending(&self) -> u64 {
        let pending = u128::from(self.rate) * u128::from(self.open_ms) / 1000;
        u64::try_from(pending).unwrap_or(u64::MAX)
    }

    /// Few marks make nearly empty hashes, and hashes cost more than marks.
    fn marks_memory(&self, marks: u64, config: &Config) -> u64 {
        let together = self.rate * 3600 * u64::from(MARK_HOURS);
        let groups = marks.div_ceil(together.max(1));
        let hashes = marks.min(groups * u64::from(config.shards) * MARK_HASHES);
        marks
            .saturating_mul(BYTES_PER_MARK)
            .saturating_add(hashes * BYTES_PER_MARK_HASH)
    }

    fn write(
        &self,
        out: &mut String,
        config: &Config,
        order_type: &OrderTypeConfig,
    ) -> fmt::Result {
        let asked = self.rate * self.questions;
        let pending = self.pending();
        let marks = self.rate * config.dedupe_window.as_secs();
        writeln!(
            out,
            "At {} orders/s, none of which is settled before its schedule ends:",
            count(self.rate)
        )?;
        writeln!(out, "  questions  {}/s", count(asked))?;
        let memory = bytes(pending.saturating_mul(BYTES_PER_PENDING));
        writeln!(
            out,
            "  pending    {} orders, {memory} of Redis",
            count(pending)
        )?;
        let memory = bytes(self.marks_memory(marks, config));
        let window = time(config.dedupe_window.as_millis() as Millis);
        writeln!(
            out,
            "  marks      {} of {window}, {memory} of Redis",
            count(marks)
        )?;
        let ceiling = order_type.ceiling.questions_per_second;
        if asked as f64 > ceiling {
            writeln!(
                out,
                "warning: the ceiling of {ceiling} questions/s is lower: orders are asked about later than planned"
            )?;
        }
        let shards = u64::from(config.shards);
        warn_of_hashes(
            out,
            "pending orders",
            pending,
            u64::from(RECORD_HASHES),
            shards,
        )?;
        let together = marks.min(self.rate * 3600 * u64::from(MARK_HOURS));
        let what = format!("marks of {MARK_HOURS} hours");
        warn_of_hashes(out, &what, together, MARK_HASHES, shards)
    }
}

fn warn_of_hashes(
    out: &mut String,
    what: &str,
    entries: u64,
    hashes: u64,
    shards: u64,
) -> fmt::Result {
    let room = hashes * AVERAGE_ENTRIES;
    if entries <= room * shards {
        return Ok(());
    }
    write!(
        out,
        "warning: {} {what} make {} a hash; beyond {LISTPACK_ENTRIES} Redis gives up the compact form: ",
        count(entries),
        count(entries.div_ceil(hashes * shards)),
    )?;
    match entries.div_ceil(room) {
        enough if enough <= u64::from(MAX_SHARDS) => writeln!(out, "{enough} shards would do"),
        _ => writeln!(out, "even {MAX_SHARDS} shards would not do"),
    }
}
