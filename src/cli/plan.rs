//! `settled plan TYPE`: when an order is asked about, and what a rate of such orders costs the owner
//! and Redis. Everything is the worst case: each order gets the same answer, which is not
//! terminal, to every question.

mod costs;
mod picture;

use std::fmt::{self, Write};

use super::Failure;
use super::args::PlanArgs;
use super::figures::{count, time, time_rounded_up};
use crate::config::{Config, OrderTypeConfig};
use crate::domain::order::{Millis, TypeName};
use crate::domain::schedule::{Draw, Schedule, Stand, Step};
use crate::domain::status::Open;
use costs::Costs;
use picture::Picture;

/// More questions than this are not walked.
const MOST_QUESTIONS: usize = 1_000_000;

/// The plan as text.
pub(super) fn plan(config: &Config, args: &PlanArgs) -> Result<String, Failure> {
    let Some(order_type) = config.order_types.get(args.order_type.as_str()) else {
        let known: Vec<&str> = config.order_types.keys().map(TypeName::as_str).collect();
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

fn write_plan(
    out: &mut String,
    config: &Config,
    order_type: &OrderTypeConfig,
    args: &PlanArgs,
) -> fmt::Result {
    let schedule = &order_type.schedule;
    let page = Page {
        name: &args.order_type,
        order_type,
        rate: u64::from(args.rate),
    };
    let walk = |said| {
        schedule
            .steps(said)
            .take(MOST_QUESTIONS)
            .collect::<Vec<_>>()
    };
    let unknown = walk(Open::Unknown);
    let mut questions = count_all(schedule, Open::Unknown, &unknown);
    let is_one = schedule.in_progress == schedule.unknown;
    if is_one {
        page.write(
            out,
            "in progress or unknown (3, 4)",
            Open::Unknown,
            &unknown,
        )?;
    } else {
        let in_progress = walk(Open::InProgress);
        questions = questions.max(count_all(schedule, Open::InProgress, &in_progress));
        page.write(out, "in progress (3)", Open::InProgress, &in_progress)?;
        page.write(out, "unknown (4)", Open::Unknown, &unknown)?;
    }
    page.picture(&unknown).write_caption(out)?;
    if !is_one {
        writeln!(
            out,
            "Each answer goes on with its own ladder where that was left; an owner that says both by\n\
             turns is asked until the age of {} at the latest.",
            time_rounded_up(schedule.longest())
        )?;
    }
    write_bounds(out, schedule)?;
    write!(
        out,
        "After the last question an order is exhausted and raises an alarm"
    )?;
    match schedule.then {
        Some(then) => writeln!(out, "; it is still asked about every {}.\n", time(then))?,
        None => writeln!(out, ".\n")?,
    }
    let costs = Costs {
        rate: page.rate,
        questions,
        open_ms: [Open::InProgress, Open::Unknown]
            .map(|said| schedule.length(said))
            .into_iter()
            .fold(0, Millis::max),
    };
    costs.write(out, config, order_type)
}

/// The questions of an order; those that are not walked are as far apart as the last ones.
fn count_all(schedule: &Schedule, said: Open, steps: &[Step]) -> u64 {
    let unwalked = match steps.last() {
        Some(last) if steps.len() == MOST_QUESTIONS => {
            (schedule.length(said) - last.age).div_ceil(last.delay)
        }
        _ => 0,
    };
    steps.len() as u64 + unwalked
}

fn write_bounds(out: &mut String, schedule: &Schedule) -> fmt::Result {
    let bounds = schedule.bounds;
    if let Some(delay) = bounds.first_delay {
        let age = time(delay);
        writeln!(
            out,
            "The first question comes at {age} and takes no place on a ladder."
        )?;
    }
    if let Some(limit) = bounds.attempt_limit {
        let limit = count(u64::from(limit));
        writeln!(out, "It is over after {limit} answered questions.")?;
    }
    if let Some(age) = bounds.total_age {
        let age = time(age);
        writeln!(
            out,
            "It is over at the age of {age}, with a last question then."
        )?;
    }
    Ok(())
}

/// What stays the same for both ladders of an order type.
struct Page<'a> {
    name: &'a str,
    order_type: &'a OrderTypeConfig,
    /// Orders a second.
    rate: u64,
}

impl Page<'_> {
    /// One ladder as a table and a picture.
    fn write(&self, out: &mut String, last: &str, said: Open, steps: &[Step]) -> fmt::Result {
        let schedule = &self.order_type.schedule;
        let name = self.name;
        writeln!(out, "{name}, {last}: {}", schedule.ladder(said))?;
        writeln!(out, "{:>15}  {:>20}  at age", "question", "after")?;
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
            let after = after(first.delay);
            writeln!(out, "{questions:>15}  {after:>20}  {ages}")?;
            asked += run.len();
        }
        if asked == MOST_QUESTIONS {
            writeln!(out, "{:>15}", "and so on")?;
        } else if let latest = latest(schedule, said)
            && steps.last().is_some_and(|step| step.age < latest)
        {
            let latest = time_rounded_up(latest);
            writeln!(
                out,
                "{:>15}  with all jitter the last question comes at {latest}",
                ""
            )?;
        }
        writeln!(out)?;
        self.picture(steps).write(out)?;
        writeln!(out)
    }

    fn picture<'a>(&self, steps: &'a [Step]) -> Picture<'a> {
        Picture {
            steps,
            rate: self.rate,
            ceiling: self.order_type.ceiling.questions_per_second,
        }
    }
}

/// A delay, and how long it may become by jitter and in a coarse bucket.
fn after(delay: Millis) -> String {
    match Schedule::latest(delay) {
        latest if latest == delay => time(delay),
        latest => format!("{} to {}", time(delay), time_rounded_up(latest)),
    }
}

/// When the last question comes if each delay is as long as it may become.
fn latest(schedule: &Schedule, said: Open) -> Millis {
    let (mut age, mut asked) = (0, 0_u16);
    let mut draw = Some(schedule.first(said));
    while let Some(Draw { delay, position }) = draw {
        age += Schedule::latest(delay);
        asked = asked.saturating_add(1);
        let stand = Stand {
            position,
            age,
            asked,
        };
        draw = schedule.next(said, stand);
    }
    age
}
