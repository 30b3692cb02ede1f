//! Tells logs and metrics what the core noted. Per-order lines at debug; one line an alarm, but of what
//! one fault brings by the thousand, for which the metrics keep one line of all shards.

use std::time::Duration;

use super::core::Phase;
use super::core::input::{Alarm, Note};
use super::core::plan::Plan;
use crate::domain::order::{Millis, OrderKey, TypeId, TypeName};
use crate::kafka::Ends;
use crate::metrics::label::{Alarm as AlarmKind, Label, Phase as Doing, StallReason};
use crate::metrics::{Metrics, ShardMetrics, TypeGauges, ViewGauges};
use crate::store::key::Key;
use crate::store::script::Survey;

/// Where notes go.
pub(super) struct Reporter<'a> {
    pub shard: u16,
    pub plan: &'a Plan,
    pub metrics: &'a Metrics,
    pub gauges: &'a ShardMetrics,
    /// Monotonic.
    pub now: Millis,
    /// The position outside its log that was last told, and when.
    pub outside: &'a mut Option<(u64, Millis)>,
}

/// A shard that stands still looks more often than somebody needs to read of it.
const OUTSIDE_AGAIN: Millis = 60_000;

impl Reporter<'_> {
    pub fn tell(&mut self, note: Note) {
        let shard = self.shard;
        match note {
            Note::Recovering(cause) => {
                tracing::info!(shard, cause = cause.text(), "recovering");
                self.metrics.recovery_began(cause);
            }
            Note::Opened(took) => {
                tracing::info!(shard, took_ms = took, "the timer is open");
                self.metrics.recovered(Duration::from_millis(took));
            }
            Note::Rebuilding { e, r, known_below } => {
                tracing::warn!(shard, "view is empty, rebuilding from E={e}, R={r}");
                // A first start has no view either; nothing was lost.
                if known_below > 0 {
                    self.metrics.alarm(AlarmKind::ViewRebuilt);
                }
            }
            Note::Event(outcome) => self.metrics.event(outcome),
            Note::DeadLetter(reason) => self.metrics.dead_letter(reason),
            Note::Asked {
                type_index,
                answer,
                lateness,
                took,
            } => {
                if let Some(plan) = self.plan.types.get(type_index) {
                    let metrics = self.metrics.order_type(&plan.name);
                    metrics.question(answer, took.map(Duration::from_millis));
                    if let Some(late) = lateness {
                        metrics.lateness(Duration::from_millis(late));
                    }
                }
            }
            Note::Committed(results, took) => {
                tracing::debug!(shard, results, took_ms = took, "results committed");
                self.metrics.commit(Duration::from_millis(took));
            }
            Note::Result(kind) => self.metrics.result(kind),
            Note::Swept(records) => {
                tracing::error!(
                    shard,
                    records,
                    "records had lost their bucket entry and were put back"
                );
                self.metrics.alarm(AlarmKind::Swept);
                self.metrics.swept(u64::from(records));
            }
            Note::Alarm(alarm) => self.alarm(&alarm),
        }
    }

    /// An alarm of its own would tell the same again: the gauge is what raises the alert.
    fn out_of_range(&mut self, log: &str, position: u64, Ends { low, high }: Ends) {
        let shard = self.shard;
        self.gauges.stall(StallReason::OutOfRange);
        if self
            .outside
            .is_some_and(|(told, at)| told == position && self.now < at + OUTSIDE_AGAIN)
        {
            return;
        }
        *self.outside = Some((position, self.now));
        let field = if log == "order-events" { "e" } else { "r" };
        // Behind the prefix, where one is configured.
        let meta = Key::Meta.name("", shard);
        let way_out = format!("HSET {meta} {field} {}", position.max(low).min(high));
        tracing::error!(
            shard,
            log,
            position,
            low,
            high,
            way_out,
            "the position lies outside the log, the shard stands still rather than skip; the way out, \
             once somebody knows what is missing, is this command in Redis"
        );
    }

    fn alarm(&mut self, alarm: &Alarm) {
        let shard = self.shard;
        let kind = match alarm {
            Alarm::OutOfRange {
                log,
                position,
                ends,
            } => return self.out_of_range(log, *position, *ends),
            Alarm::Contradiction(key) => self.of_order(AlarmKind::ContradictedAnswer, key),
            Alarm::Conflict(key) => self.of_order(AlarmKind::Conflict, key),
            Alarm::Violation(key, violation) => {
                tracing::debug!(shard, order = %key, violation, "an answer was outside the contract and counts as unknown");
                self.of_order(AlarmKind::Violation, key)
            }
            Alarm::QueryConfiguration(key) => self.of_order(AlarmKind::QueryConfiguration, key),
            Alarm::OpenTransaction => {
                tracing::error!(
                    shard,
                    "recovery reads no further: somebody else's transaction is open in order-results or order-events"
                );
                AlarmKind::OpenTransaction
            }
            Alarm::UnknownType(name) => {
                let metrics = self.metrics.order_type(name);
                metrics.alarm(AlarmKind::UnconfiguredType, name, self.now);
                AlarmKind::UnconfiguredType
            }
            Alarm::Exhausted(key) => {
                tracing::debug!(shard, order = %key, "the schedule ended without a terminal answer");
                self.of_order(AlarmKind::Exhausted, key)
            }
            Alarm::ForeignResult(offset) => {
                let place = format!("{shard}/{offset}");
                let metrics = self.metrics.no_order_type();
                metrics.alarm(AlarmKind::ForeignResult, &place, self.now);
                AlarmKind::ForeignResult
            }
            Alarm::Unaccounted(orders) => self.unaccounted(*orders),
            Alarm::Damaged(error) => {
                tracing::error!(
                    shard,
                    error,
                    "the view is damaged, the shard stands still; the way out is to mend what the error \
                     names, or to delete the shard's keys in Redis, which are folded anew from the topics"
                );
                return self.gauges.stall(StallReason::ViewCorrupt);
            }
            Alarm::Step(step, error) => {
                return tracing::warn!(shard, step, error, "a step failed and is tried again");
            }
            Alarm::StoreFull(error) => {
                return tracing::error!(
                    shard,
                    error,
                    "the store is full: intake waits, draining goes on"
                );
            }
        };
        self.metrics.alarm(kind);
    }

    fn of_order(&self, kind: AlarmKind, key: &OrderKey) -> AlarmKind {
        let metrics = self.metrics.order_type(&key.order_type);
        metrics.alarm(kind, key, self.now);
        kind
    }

    fn unaccounted(&self, orders: u64) -> AlarmKind {
        tracing::error!(
            shard = self.shard,
            orders,
            "the view has lost orders: keys of it were deleted in Redis; it is given up and folded anew \
             from the topics"
        );
        AlarmKind::Unaccounted
    }
}

/// What to tell of a shard in this phase; `None`: what was told stands. A shard that stands still does
/// so until its view and its logs were looked at again and found good: a gauge that fell for each look
/// would end the alert and raise it anew.
pub(super) fn doing(phase: Phase, stalled: bool) -> Option<Doing> {
    match phase {
        Phase::Idle => Some(Doing::Assigned),
        Phase::Resting(_)
        | Phase::Acquiring
        | Phase::FindingFloor
        | Phase::Fencing
        | Phase::AskingEnds
            if stalled =>
        {
            None
        }
        Phase::Open => Some(Doing::Open),
        _ => Some(Doing::Recovering),
    }
}

/// What a survey says about each type, for the gauges. `now` is shard time.
pub(super) fn gauges(survey: &Survey, plan: &Plan, now: Millis) -> ViewGauges {
    let configured = |name: &TypeName| plan.types.iter().any(|known| known.name == *name);
    let of = |id: TypeId, name: &TypeName, cursor: u32| {
        let slots = survey.slots.iter().filter(|slot| slot.type_id == id);
        let pending = slots.clone().map(|slot| slot.count).sum();
        let waiting_since = (u64::from(cursor) + 1) * 1000;
        let gauges = TypeGauges {
            pending,
            oldest_first_seen: slots.map(|slot| slot.first_seen).min(),
            exhausted: survey
                .exhausted
                .iter()
                .filter(|(exhausted, _)| *exhausted == id)
                .map(|(_, count)| count)
                .sum(),
            // The cursor stands before a bucket that is not empty; otherwise it is ahead of now.
            overdue_since: (pending > 0 && configured(name) && waiting_since + 1_000 < now)
                .then_some(waiting_since),
        };
        (name.clone(), gauges)
    };
    ViewGauges {
        types: survey
            .types
            .iter()
            .map(|(id, name, cursor)| of(*id, name, *cursor))
            .collect(),
        unaccounted: survey.unaccounted(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_stands_still_until_it_was_looked_at_again_and_found_good() {
        let looks = [
            Phase::Resting(7),
            Phase::Acquiring,
            Phase::FindingFloor,
            Phase::Fencing,
            Phase::AskingEnds,
        ];
        for phase in looks {
            assert_eq!(doing(phase, true), None, "{phase:?}");
            assert_eq!(doing(phase, false), Some(Doing::Recovering), "{phase:?}");
        }
        for stalled in [true, false] {
            assert_eq!(
                doing(Phase::FoldingResults(7), stalled),
                Some(Doing::Recovering)
            );
            assert_eq!(doing(Phase::Open, stalled), Some(Doing::Open));
            assert_eq!(doing(Phase::Idle, stalled), Some(Doing::Assigned));
        }
    }
}
