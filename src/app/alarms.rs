//! Tells the log of the alarms that are open, of the whole worker: when one begins, once a minute while
//! it goes on, and when it is over. What each line says stands here, and at which level.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::clock::Clock;
use crate::domain::order::Millis;
use crate::domain::wire_time;
use crate::metrics::label::{Alarm, Label};
use crate::metrics::{AlarmLine, Metrics, Stage};

/// What comes within it is one line: «1,000», instead of «1» and nothing more for a minute. Nobody who
/// is called by an alarm is there a second sooner.
const GATHERED: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(super) async fn follow(metrics: Arc<Metrics>, clock: Clock, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(GATHERED) => {}
        }
        for (order_type, line) in metrics.alarm_lines(Some(clock.monotonic())) {
            tell(&order_type, line, clock);
        }
    }
}

/// The last of it, once nothing runs that could raise an alarm. What is open then goes on elsewhere.
pub(super) fn tell_the_rest(metrics: &Metrics, clock: Clock) {
    for (order_type, line) in metrics.alarm_lines(None) {
        tell(&order_type, line, clock);
    }
}

/// One line. Lines of one alarm have its kind, its type and how it stands in common, so that they can
/// be found and added up.
fn tell(order_type: &str, line: AlarmLine, clock: Clock) {
    let (alarm, count, example) = (line.kind.text(), line.count, line.example);
    let stage = match line.stage {
        Stage::Began => "began",
        Stage::GoesOn => "goes_on",
        Stage::Over { total, from, to } => {
            let ago = |at: Millis| clock.monotonic().saturating_sub(at);
            let wall = |at: Millis| wire_time::format(clock.wall().saturating_sub(ago(at)));
            let (from, to) = (wall(from), wall(to));
            return tracing::info!(
                target: "settled::alarm",
                alarm,
                stage = "over",
                order.type = order_type,
                count,
                total,
                "over: {total} in all, from {from} to {to}"
            );
        }
    };
    let (level, text) = wording(line.kind);
    if level == Level::ERROR {
        tracing::error!(target: "settled::alarm", alarm, stage, order.type = order_type, count, example, "{text}");
    } else {
        tracing::warn!(target: "settled::alarm", alarm, stage, order.type = order_type, count, example, "{text}");
    }
}

fn wording(kind: Alarm) -> (Level, &'static str) {
    match kind {
        Alarm::Exhausted => (
            Level::WARN,
            "a schedule ended without a terminal answer, a person must look",
        ),
        Alarm::Conflict => (
            Level::ERROR,
            "a terminal event contradicts the published status, which stands",
        ),
        Alarm::ContradictedAnswer => (
            Level::ERROR,
            "an owner's answer contradicts the status that is being published",
        ),
        Alarm::UnconfiguredType => (
            Level::WARN,
            "events of a type that is not configured are kept, nobody is asked",
        ),
        Alarm::QueryConfiguration => (
            Level::WARN,
            "a question cannot be asked as it is configured, or its owner refuses it",
        ),
        Alarm::BreakerOpen => (
            Level::ERROR,
            "20 questions in a row got no answer: the owner is asked once a second until it answers; \
             its orders are kept",
        ),
        Alarm::OwnerRefuses => (
            Level::ERROR,
            "the owner refuses every question with 4xx or a redirect: check `query` of this order \
             type; it rests 30 s at a time, its orders are kept",
        ),
        Alarm::OwnerSaidLater => (Level::WARN, "the owner asked to be left alone for a while"),
        Alarm::ManyFailing => (
            Level::WARN,
            "half of the questions or more get no answer; no attempt is spent by that",
        ),
        Alarm::Violation => (
            Level::WARN,
            "an answer was outside the contract and counts as unknown",
        ),
        Alarm::ForeignResult => (
            Level::ERROR,
            "a record of order-results is none of ours; the example is its shard and offset",
        ),
        // None of an order type: told where they are met.
        Alarm::OutOfRange
        | Alarm::Unaccounted
        | Alarm::ViewRebuilt
        | Alarm::OldExhaustion
        | Alarm::OpenTransaction
        | Alarm::Swept => (Level::WARN, "somebody should look"),
    }
}
