//! `recover` is the only way a shard starts: acquire, fence, fold results to the real end, fold
//! events, end leases, open the timer. Whatever goes wrong later leads back here.

use super::input::{Alarm, Command, FloorFound, LogEnds, Note, Output};
use super::intake::Intake;
use super::results::Results;
use super::scripts::Outbox;
use super::types::TypeTable;
use super::{Core, Gate, Generation, Phase, Rebuild, Wheel};
use crate::domain::order::Millis;
use crate::metrics::label::RecoveryCause as Cause;
use crate::plant::{self, Plant};
use crate::store::script::Meta;
use crate::store::{Acquired, StoreError};

/// Pause before another look at something that only a person can mend.
const REST_DAMAGED: Millis = 10_000;

/// The same where a command in Redis mends it at once: whoever gave it sees the shard come back.
const REST_OUT_OF_RANGE: Millis = 3_000;

impl Core {
    /// Begins a new generation; rests first when the last recovery began a moment ago.
    pub(super) fn recover(&mut self, cause: Cause, out: &mut Output) {
        self.end_generation(out);
        out.notes.push(Note::Recovering(cause));
        let rest = match cause {
            Cause::Damaged => self.mono + REST_DAMAGED,
            Cause::OutOfRange => self.mono + REST_OUT_OF_RANGE,
            Cause::Assigned => self.mono,
            _ => self.began + self.plan.rest,
        };
        if rest > self.mono {
            self.phase = Phase::Resting(rest);
        } else {
            self.acquire(out);
        }
    }

    pub(super) fn acquire(&mut self, out: &mut Output) {
        self.began = self.mono;
        self.phase = Phase::Acquiring;
        out.commands.push(Command::Acquire(None));
    }

    pub(super) fn acquired(&mut self, answer: Result<Acquired, StoreError>, out: &mut Output) {
        if self.phase != Phase::Acquiring {
            return;
        }
        match answer {
            Ok(Acquired::Owned(meta)) => {
                let floor = self.floor.take();
                self.own_view(meta, floor, out);
            }
            Ok(Acquired::Absent) => {
                self.phase = Phase::FindingFloor;
                out.commands.push(Command::FindFloor);
            }
            // Whether it took effect does not matter: the next try draws a new token.
            Err(error) => self.step_failed("acquire", error, out),
        }
    }

    fn own_view(&mut self, meta: Meta, floor: Option<FloorFound>, out: &mut Output) {
        let time_base = meta.now.max(meta.clock).saturating_sub(self.mono);
        let rebuild = meta.rebuild.map(|_| Rebuild::default());
        self.own = Some(Generation {
            token: meta.token,
            version: meta.version,
            mark_key: meta.mark_key,
            types: TypeTable::from_view(meta.types, &self.plan),
            intake: Intake::starting_at(meta.e),
            results: Results::starting_at(meta.r),
            gate: Gate::default(),
            wheel: Wheel::default(),
            outbox: Outbox::default(),
            rebuild,
            e: meta.e,
            committed: None,
            time_base,
            caught_up: None,
            stands_at: ((meta.e, meta.r), self.mono),
            blocked_told: false,
            asked_from: Some((meta.e, meta.r, time_base + self.mono)),
            surveyed_at: self.mono,
            floored_at: self.mono,
        });
        #[cfg(test)]
        if let Some(own) = &mut self.own {
            own.wheel = std::mem::take(&mut self.kept);
        }
        match (meta.rebuild, floor) {
            (Some(_), None) => {
                self.phase = Phase::FindingFloor;
                out.commands.push(Command::FindFloor);
            }
            (_, floor) => {
                if let Some(floor) = floor {
                    out.notes.push(Note::Rebuilding {
                        e: meta.e,
                        r: meta.r,
                        known_below: floor.known_below,
                    });
                    self.rebuild_from(floor);
                }
                self.fence(out);
            }
        }
    }

    pub(super) fn floor_found(&mut self, answer: Result<FloorFound, String>, out: &mut Output) {
        if self.phase != Phase::FindingFloor {
            return;
        }
        match answer {
            Ok(found) if self.own.is_some() => {
                // A half rebuilt view: its own E and R stand, the join begins anew.
                if let Some(own) = &self.own {
                    out.notes.push(Note::Rebuilding {
                        e: own.e,
                        r: own.results.folded(),
                        known_below: found.known_below,
                    });
                }
                self.rebuild_from(found);
                self.fence(out);
            }
            Ok(found) => {
                self.floor = Some(found);
                self.phase = Phase::Acquiring;
                out.commands.push(Command::Acquire(Some(found.floor)));
            }
            Err(error) => self.step_failed_with("find the floor", error, out),
        }
    }

    fn rebuild_from(&mut self, found: FloorFound) {
        if let Some(rebuild) = self.own.as_mut().and_then(|own| own.rebuild.as_mut()) {
            rebuild.known_below = found.known_below;
        }
    }

    fn fence(&mut self, out: &mut Output) {
        self.phase = Phase::Fencing;
        out.commands.push(Command::Fence);
    }

    pub(super) fn fenced(&mut self, answer: Result<(), String>, out: &mut Output) {
        match answer {
            Ok(()) if self.phase == Phase::Fencing => {
                self.phase = Phase::AskingEnds;
                out.commands.push(Command::AskEnds);
            }
            Ok(()) => {}
            Err(error) => self.step_failed_with("open the publisher", error, out),
        }
    }

    /// The real ends: of the recovery's third step, later of the survey.
    pub(super) fn ends(&mut self, answer: Result<LogEnds, String>, out: &mut Output) {
        let asked_from = self.own.as_mut().and_then(|own| own.asked_from.take());
        let ends = match answer {
            Ok(ends) => ends,
            Err(error) if self.phase == Phase::AskingEnds => {
                return self.step_failed_with("ask for the ends", error, out);
            }
            Err(_) => return,
        };
        let (Some(own), Some((events, mut results, asked_at))) = (&mut self.own, asked_from) else {
            return;
        };
        if self.phase == Phase::AskingEnds && own.rebuild.is_some() {
            // Retention went on since the rebuild began: what is left is all that a new one would read,
            // and no command could move this `R`, which each acquire takes from the mark.
            own.results.begin_at(ends.results.low);
            results = own.results.position();
        }
        let [events_cut, results_cut] = &mut self.cut;
        let outside = [
            ("order-events", events, ends.events, events_cut),
            ("order-results", results, ends.results, results_cut),
        ]
        .into_iter()
        .find_map(|(log, position, ends, cut)| Some((log, position, cut.outside(position, ends)?)));
        if let Some((log, position, ends)) = outside {
            out.notes.push(Note::Alarm(Alarm::OutOfRange {
                log,
                position,
                ends,
            }));
            return self.recover(Cause::OutOfRange, out);
        }
        if own.e >= ends.events.high {
            // What was appended while the answer was on its way is not in it.
            own.caught_up = Some(asked_at);
        }
        if self.phase == Phase::AskingEnds {
            if let Some(rebuild) = &mut own.rebuild {
                rebuild.asked = asked_at;
                self.told = self.told.max(ends.results.high);
            }
            own.intake.end = ends.events.high;
            if plant::is(Plant::ResultsUnread) {
                self.results(Vec::new(), ends.results.high, out);
            }
            self.phase = Phase::FoldingResults(ends.results.high);
            let from = self.own.as_ref().map_or(0, |own| own.results.position());
            out.commands.push(Command::ReadResults(from));
        }
    }

    /// Goes on to the next step when the present one has reached its end.
    pub(super) fn advance(&mut self, out: &mut Output) {
        if let Phase::FoldingResults(end) = self.phase
            && let Some(own) = &mut self.own
            && (own.results.position() >= end || plant::is(Plant::EventsBeforeResults))
            && own.results.is_empty()
            && own.outbox.is_idle()
        {
            self.phase = Phase::FoldingEvents(own.intake.end);
            out.commands
                .push(Command::ReadEvents(own.intake.offsets.position()));
        }
        if let Phase::FoldingEvents(end) = self.phase
            && let Some(own) = &mut self.own
            && own.intake.offsets.position() >= end
            && own.intake.judged_below(end)
            && own.outbox.is_idle()
        {
            if let Some(rebuild) = &mut own.rebuild {
                rebuild.end = Some(end);
            }
            self.end_leases();
        }
        if self.phase == Phase::EndingLeases
            && self
                .own
                .as_ref()
                .is_some_and(|own| own.outbox.leases_ended())
        {
            self.phase = Phase::Open;
            // Until the view was surveyed, a takeover looks as if nothing were pending or exhausted.
            out.commands.push(Command::Survey);
            out.notes
                .push(Note::Opened(self.mono.saturating_sub(self.began)));
        }
    }

    /// Goes on without the events that are left: a full store has no room for them before the open
    /// timer settles some, or another's open transaction hides them. They come late, as they may at any
    /// time. A view that is being rebuilt must be whole.
    pub(super) fn open_early(&mut self) {
        let rebuilds = self.own.as_ref().is_some_and(|own| own.rebuild.is_some());
        if matches!(self.phase, Phase::FoldingEvents(_)) && !rebuilds {
            self.end_leases();
        }
    }

    fn end_leases(&mut self) {
        self.phase = Phase::EndingLeases;
        self.plan_end_of_leases();
    }

    fn step_failed(&mut self, step: &'static str, error: StoreError, out: &mut Output) {
        let cause = if matches!(error, StoreError::Corrupt(_)) {
            Cause::Damaged
        } else {
            Cause::Unavailable
        };
        out.notes.push(Note::Alarm(match error {
            StoreError::Corrupt(text) => Alarm::Damaged(text),
            error => Alarm::Step(step, error.to_string()),
        }));
        self.recover(cause, out);
    }

    fn step_failed_with(&mut self, step: &'static str, error: String, out: &mut Output) {
        out.notes.push(Note::Alarm(Alarm::Step(step, error)));
        self.recover(Cause::Unavailable, out);
    }
}

#[cfg(test)]
mod tests;
