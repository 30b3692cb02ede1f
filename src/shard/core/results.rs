//! The reader settles: results read back are folded into the view in the order of the log, and only
//! that removes orders from it.

use std::collections::VecDeque;

use super::answers::UNPLANNED;
use super::gate::Planned;
use super::input::{Alarm, Note, Output};
use super::intake::second;
use super::{Core, kept};
use crate::domain::order::{Millis, OrderId};
use crate::domain::record::Record;
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::schedule::granule;
use crate::kafka::ResultRecord;
use crate::plant::{self, Plant};
use crate::store::key::MARK_HOURS;
use crate::store::script::{BATCH, Settle, SettleOne, SettleOutcome};

/// What was read from `order-results` and is not folded yet.
#[derive(Clone, Debug)]
pub(super) struct Results {
    unfolded: VecDeque<ResultRecord>,
    /// Up to where it was read.
    position: u64,
    /// The view's `R`.
    folded: u64,
}

impl Results {
    pub fn starting_at(r: u64) -> Self {
        Self {
            unfolded: VecDeque::new(),
            position: r,
            folded: r,
        }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn folded(&self) -> u64 {
        self.folded
    }

    pub fn unfolded(&self) -> usize {
        self.unfolded.len()
    }

    /// Moves `R` past what is no result: the marker behind the last transaction. A log that retention
    /// has emptied begins there, and an `R` below it would be out of range.
    pub fn rest(&self) -> Option<Settle> {
        let passed = self.unfolded.is_empty() && self.position > self.folded;
        passed.then(|| Settle {
            from_r: self.folded,
            to_r: self.position,
            results: Vec::new(),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.unfolded.is_empty()
    }

    /// Reads nothing below this offset: it is gone.
    pub fn begin_at(&mut self, low: u64) {
        self.position = self.position.max(low);
    }
}

const HOUR: Millis = 3_600_000;

/// The hour under which the mark of a result of this append time is kept.
fn mark_hour(appended: Millis) -> u32 {
    let hour = (appended / HOUR) as u32;
    hour - hour % MARK_HOURS
}

/// Marks below this hour are all older than the window's start.
pub(super) fn marks_end(window_start: Millis) -> u32 {
    // A group that still has an hour of the window stays.
    ((window_start / HOUR) as u32 + 1).saturating_sub(MARK_HOURS)
}

impl Core {
    pub(super) fn results(&mut self, records: Vec<ResultRecord>, position: u64, out: &mut Output) {
        let Some(own) = &mut self.own else { return };
        for record in records {
            if record.offset < own.results.position {
                continue;
            }
            own.results.position = record.offset + 1;
            if record.result.is_none() {
                out.notes
                    .push(Note::Alarm(Alarm::ForeignResult(record.offset)));
            }
            own.results.unfolded.push_back(record);
        }
        own.results.position = own.results.position.max(position);
    }

    /// A planted bug: what goes to the publisher counts as read back.
    pub(super) fn settle_unread(&mut self, group: &[OrderResult], out: &mut Output) {
        let (appended, Some(own)) = (self.now(), &self.own) else {
            return;
        };
        let offsets = own.results.position..;
        let records = offsets.zip(group).map(|(offset, result)| ResultRecord {
            offset,
            appended,
            result: Some(result.clone()),
        });
        self.results(records.collect(), 0, out);
    }

    /// The oldest append time of a result whose order must still be remembered. Marks follow the
    /// intake clock, not the wall clock: an event that waited in the log for longer than the window
    /// must still find the mark that was there when it was appended. While a view is rebuilt its
    /// join remembers every order; marks are for what is judged later.
    pub(super) fn window_start(&self) -> Millis {
        let Some(own) = &self.own else { return 0 };
        let clock = match (&own.rebuild, own.caught_up) {
            _ if plant::is(Plant::MarksByWallClock) => Some(self.now()),
            (Some(rebuild), _) => Some(rebuild.asked),
            (None, Some(at)) if own.intake.offsets.is_empty() => Some(at),
            _ => own.intake.offsets.intake_clock(),
        };
        clock.map_or(0, |clock| clock.saturating_sub(self.plan.window))
    }

    /// The next run of results for one script. Types are admitted here, so that an exhausted order of
    /// a rebuilt view has one.
    pub(super) fn settle_script(&mut self) -> Option<Settle> {
        let window_start = self.window_start();
        let cursor = second(self.now()).saturating_sub(1);
        let (plan, own) = (&self.plan, self.own.as_mut()?);
        let count = own.results.unfolded.len().min(BATCH);
        let last = own.results.unfolded.get(count.checked_sub(1)?)?.offset;
        let mut results = Vec::with_capacity(count);
        for record in own.results.unfolded.iter().take(count) {
            let Some(result) = &record.result else {
                continue;
            };
            let id = own
                .types
                .admit(&result.key.order_type, plan, cursor)
                .map(|type_id| OrderId {
                    type_id,
                    req_no: result.key.req_no,
                });
            let mark = result.key.mark(&own.mark_key);
            let outcome = match &result.outcome {
                Outcome::Settled { status, .. } => SettleOutcome::Settled {
                    status: *status,
                    mark_hour: Some(mark_hour(record.appended))
                        .filter(|hour| *hour >= marks_end(window_start)),
                },
                // Too many types that nobody configured: the order stays in the log alone.
                Outcome::Exhausted { .. } if id.is_none() => continue,
                Outcome::Exhausted { query, .. } => {
                    let known = id.and_then(|id| own.types.get(id.type_id));
                    let then = match known.and_then(|known| known.plan) {
                        Some(index) => plan.types.get(index).and_then(|known| known.schedule.then),
                        // Its bucket waits for the type to be configured again, as it may have a `then`.
                        None => Some(UNPLANNED),
                    };
                    let query = kept::join(query.as_deref(), result.traceparent.as_deref());
                    SettleOutcome::Exhausted {
                        record: exhausted(result, record.appended, then, query.is_some()),
                        query,
                        granule: then.map(granule),
                    }
                }
            };
            results.push(SettleOne {
                id,
                mark,
                outcome,
                offset: record.offset,
            });
        }
        let all = count == own.results.unfolded.len();
        let to_r = if all { own.results.position } else { last + 1 };
        Some(Settle {
            from_r: own.results.folded,
            to_r,
            results,
        })
    }

    /// The script is done: what it folded leaves the gate, the wheel and the table of open questions.
    pub(super) fn settled(&mut self, script: &Settle, out: &mut Output) {
        if let Some(own) = &mut self.own {
            own.results.folded = script.to_r;
        }
        while let Some(own) = &mut self.own
            && own
                .results
                .unfolded
                .front()
                .is_some_and(|record| record.offset < script.to_r)
        {
            let Some(record) = own.results.unfolded.pop_front() else {
                return;
            };
            let Some(result) = record.result else {
                continue;
            };
            let read = Planned::of(&result);
            if let (Planned::Settled(status), Some(rebuild)) = (read, &mut own.rebuild) {
                rebuild.join.insert(result.key.mark(&own.mark_key), status);
            }
            if let Some(type_id) = own.types.find(&result.key.order_type) {
                let id = OrderId {
                    type_id,
                    req_no: result.key.req_no,
                };
                own.wheel.clear(&id);
                self.leave_gate(&id, read, out);
            }
            if record.offset >= self.told {
                note(&result, out);
            }
        }
        self.told = self.told.max(script.to_r);
    }
}

fn exhausted(
    result: &OrderResult,
    appended: Millis,
    then: Option<Millis>,
    has_query: bool,
) -> Record {
    let Outcome::Exhausted { status, .. } = &result.outcome else {
        return Record::default();
    };
    Record {
        exhausted: true,
        has_query,
        last: *status,
        due: then.map_or(appended, |then| appended + then),
        phase: result.phase,
        asked: result.asked,
        first_seen: result.first_seen,
        event_offset: result.event.1,
        ..Record::default()
    }
}

fn note(result: &OrderResult, out: &mut Output) {
    if matches!(result.outcome, Outcome::Exhausted { .. }) {
        out.notes
            .push(Note::Alarm(Alarm::Exhausted(result.key.clone())));
    }
    out.notes.push(Note::Result((&result.outcome).into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_of_the_window_is_dropped() {
        for appended in (0..50 * HOUR).step_by(600_000) {
            for window_start in (appended..appended + 10 * HOUR).step_by(600_000) {
                let dropped = mark_hour(appended) < marks_end(window_start);
                assert!(!dropped || appended < window_start);
                let old = window_start - appended >= HOUR * u64::from(MARK_HOURS);
                assert!(dropped || !old, "{appended} {window_start}");
            }
        }
    }
}
