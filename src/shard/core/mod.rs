//! One shard's decisions, without I/O: what was read, answered, replied or came due goes in, commands
//! come out. The actor drives it in production, a simulator in tests. It must never read a clock,
//! draw a random number or wait.
//!
//! The protocol's rules and the accidents that each prevents are in docs/ARCHITECTURE.md.

mod answers;
mod cut;
mod flight;
mod gate;
pub mod input;
mod intake;
pub mod kept;
mod offsets;
pub mod plan;
mod recover;
mod results;
mod scripts;
#[cfg(test)]
mod tests;
mod timer;
mod types;
mod wheel;

use std::collections::BTreeMap;

use crate::domain::order::{Mark, MarkKey, Millis};
use crate::domain::status::Terminal;
use crate::metrics::label::{PauseReason, RecoveryCause as Cause};
use crate::plant::{self, Plant};
use crate::store::script::{Floor, Token};
use cut::Cut;
use gate::Gate;
use input::{Command, Input, Note, Output};
use intake::Intake;
use plan::{Plan, TypePlan};
use results::Results;
use scripts::Outbox;
use types::TypeTable;
use wheel::Wheel;

/// Where a shard stands between being assigned and being revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not ours.
    Idle,
    /// Waits until this monotonic millisecond, then recovers.
    Resting(Millis),
    /// Takes the shard in the store.
    Acquiring,
    /// Reads where to fold a missing view from.
    FindingFloor,
    /// Opens a publisher, which fences the old owner.
    Fencing,
    /// Asks for the real ends of the logs.
    AskingEnds,
    /// Folds results up to this real end.
    FoldingResults(u64),
    /// Folds events up to this end; the publisher may run.
    FoldingEvents(u64),
    /// Ends the leases of dead owners.
    EndingLeases,
    /// The timer runs.
    Open,
}

/// A view that is being folded again.
#[derive(Clone, Debug, Default)]
struct Rebuild {
    /// Settled orders read in this rebuild, whether or not the window still keeps a mark of them.
    join: BTreeMap<Mark, Terminal>,
    /// Events below were known before the wipe.
    known_below: u64,
    /// The rebuild is over with the first script whose `E` reaches this.
    end: Option<u64>,
    /// When its ends were asked for, in shard time. What is judged without the join was appended later.
    asked: Millis,
}

/// What one ownership remembers; dropped whole when a new generation begins.
#[derive(Clone, Debug)]
struct Generation {
    token: Token,
    version: u64,
    mark_key: MarkKey,
    types: TypeTable,
    intake: Intake,
    results: Results,
    gate: Gate,
    wheel: Wheel,
    outbox: Outbox,
    rebuild: Option<Rebuild>,
    /// `E` as the last script wrote it.
    e: u64,
    /// `E` as last committed for lag monitors.
    committed: Option<u64>,
    /// Shard time minus monotonic time: max(store's time, stored clock) at acquire, never stepped.
    time_base: Millis,
    /// When the intake clock was known to be at the end of the log: shard time.
    caught_up: Option<Millis>,
    /// Reader positions (events, results) and shard time when the ends were asked for, until the answer
    /// came: what is read or appended meanwhile may lie past it.
    asked_from: Option<(u64, u64, Millis)>,
    /// Reader positions (events, results) and since when they have been so, in monotonic milliseconds.
    stands_at: ((u64, u64), Millis),
    /// Somebody was told that an open transaction blocks the recovery.
    blocked_told: bool,
    surveyed_at: Millis,
    floored_at: Millis,
}

/// One shard's state machine. Cloning gives an independent copy, for simulators and searches.
#[derive(Clone, Debug)]
pub struct Core {
    plan: Plan,
    phase: Phase,
    generation: u64,
    mono: Millis,
    began: Millis,
    own: Option<Generation>,
    /// Where to fold from, between finding it and making the view.
    floor: Option<input::FloorFound>,
    /// How many more orders of `Plan::types[i]` may be claimed, as last told, less what was claimed since.
    permits: Vec<u32>,
    /// Results below were told already, or are history that a rebuild reads again.
    told: u64,
    /// Of both logs (events, results), where they were seen to end below our position.
    cut: [Cut; 2],
    /// What a planted bug keeps of the old generation.
    #[cfg(test)]
    kept: Wheel,
}

impl Core {
    /// A shard that is not ours yet. Generations count on from `generation`.
    pub fn new(plan: Plan, generation: u64) -> Self {
        let permits = vec![0; plan.types.len()];
        Self {
            plan,
            phase: Phase::Idle,
            generation,
            mono: 0,
            began: 0,
            own: None,
            floor: None,
            permits,
            told: 0,
            cut: [Cut::default(); 2],
            #[cfg(test)]
            kept: Wheel::default(),
        }
    }

    /// Takes other order types, from now on. An order that waits keeps its due time and follows the new
    /// schedule from its next step; those of a type that is gone are kept and not asked about.
    pub fn replan(&mut self, types: Vec<TypePlan>) {
        self.permits = vec![0; types.len()];
        self.plan.types = types;
        if let Some(own) = &mut self.own {
            own.types.replan(&self.plan);
        }
    }

    /// Tells how many more orders of the configured type may be claimed; before each step.
    pub fn permit(&mut self, type_index: usize, permits: u32) {
        if let Some(known) = self.permits.get_mut(type_index) {
            *known = permits;
        }
    }

    /// Takes one input that belongs to `generation`, at monotonic time `mono`; fills `out` with what
    /// is to be done. [`Core::flush`] follows. Inputs of an older generation change nothing.
    pub fn step(&mut self, mono: Millis, generation: u64, input: Input, out: &mut Output) {
        self.mono = self.mono.max(mono);
        match input {
            Input::Assigned => self.recover(Cause::Assigned, out),
            Input::Revoked => {
                self.end_generation(out);
                self.phase = Phase::Idle;
            }
            Input::Tick => self.tick(out),
            input if generation == self.generation => self.accept(input, out),
            old @ Input::Answered(_) if plant::is(Plant::OldQuestionsKept) => self.accept(old, out),
            _ => {}
        }
    }

    /// Sends the next script, if it is time for one; call it after one or more steps, so that what
    /// arrived together travels together.
    pub fn flush(&mut self, out: &mut Output) {
        self.send_next(out);
    }

    fn accept(&mut self, input: Input, out: &mut Output) {
        match input {
            Input::Acquired(answer) => self.acquired(answer, out),
            Input::FloorFound(answer) => self.floor_found(answer, out),
            Input::Fenced(answer) => self.fenced(answer, out),
            Input::Ends(answer) => self.ends(answer, out),
            Input::Events(records, position) => self.events(records, position, out),
            Input::Results(records, position) => self.results(records, position, out),
            Input::Replied(answer) => self.replied(answer, out),
            Input::MetaRead(answer) => self.meta_read(answer, out),
            Input::Answered(heard) => self.answered(heard, out),
            Input::Published(answer) => self.published(answer, out),
            Input::NotForwarded(offset, reason) => self.not_forwarded(offset, reason),
            Input::Acknowledged(offset, answer) => self.acknowledged(offset, answer, out),
            Input::Surveyed(Ok(survey)) => self.surveyed(&survey, out),
            Input::Surveyed(Err(_)) | Input::Assigned | Input::Revoked | Input::Tick => {}
        }
        self.advance(out);
    }

    /// The generation whose inputs are accepted.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where the shard stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether more events may be read now: not while the gate is full or much is unfolded.
    pub fn wants_events(&self) -> bool {
        matches!(self.phase, Phase::FoldingEvents(_) | Phase::Open)
            && self
                .own
                .as_ref()
                .is_some_and(|own| self.intake_paused(own).is_none())
    }

    /// Why events wait, if they do.
    pub fn paused(&self) -> Option<PauseReason> {
        self.own.as_ref().and_then(|own| self.intake_paused(own))
    }

    fn intake_paused(&self, own: &Generation) -> Option<PauseReason> {
        if own.gate.len() >= self.plan.gate_limit {
            Some(PauseReason::GateFull)
        } else if own.outbox.store_full {
            Some(PauseReason::StoreFull)
        } else {
            own.intake.full()
        }
    }

    /// How many orders of a configured type are claimed, or may be by the script that is on its way,
    /// for the engine's permits.
    pub fn claimed(&self, type_index: usize) -> u32 {
        let Some(own) = &self.own else { return 0 };
        own.types
            .iter()
            .filter(|(_, known)| known.plan == Some(type_index))
            .map(|(id, _)| own.wheel.claimed(id) + own.outbox.may_claim(id))
            .sum()
    }

    /// `E` as the view has it, and up to where results were read, when there is an ownership.
    pub fn folded(&self) -> Option<(u64, u64)> {
        self.own.as_ref().map(|own| (own.e, own.results.position()))
    }

    /// Append time of the oldest event that was read and has had no effect yet.
    pub fn oldest_unfolded(&self) -> Option<Millis> {
        self.own
            .as_ref()
            .and_then(|own| own.intake.offsets.oldest())
    }

    /// Until when, in monotonic milliseconds, nothing but an input is needed.
    pub fn next_wakeup(&self) -> Millis {
        self.wakeup()
    }

    /// Shard time: the store's at acquire plus the monotonic time since, in ms; 0 without an ownership.
    pub fn shard_time(&self) -> Millis {
        self.now()
    }

    fn now(&self) -> Millis {
        self.own.as_ref().map_or(0, |own| own.time_base + self.mono)
    }

    /// A new generation begins: everything of the old one is dropped, nothing of it may start.
    fn end_generation(&mut self, out: &mut Output) {
        self.generation += 1;
        out.commands.clear();
        self.floor = None;
        let old = self.own.take();
        if old.is_some() || !matches!(self.phase, Phase::Idle | Phase::Resting(_)) {
            out.commands.push(Command::Release);
        }
        #[cfg(test)]
        if plant::is(Plant::OldQuestionsKept) {
            self.kept = old.map(|own| own.wheel.asked()).unwrap_or_default();
        }
    }

    fn surveyed(&mut self, survey: &crate::store::script::Survey, out: &mut Output) {
        let (mono, every) = (self.mono, self.plan.floor_every);
        let Some(own) = &mut self.own else { return };
        if self.phase != Phase::Open || survey.token != own.token.0 {
            return;
        }
        if survey.unaccounted() > 0 && !own.outbox.discards {
            own.outbox.discards = true;
            out.notes
                .push(Note::Alarm(input::Alarm::Unaccounted(survey.unaccounted())));
        }
        // A floor of a view that is not whole may lie above what it lost.
        if survey.rebuilding || own.outbox.discards || mono < own.floored_at + every {
            return;
        }
        own.floored_at = mono;
        let e = survey
            .slots
            .iter()
            .map(|slot| slot.e)
            .fold(survey.e, u64::min);
        let r = survey
            .oldest_exhaustion
            .filter(|_| !plant::is(Plant::FloorIgnoresExhausted))
            .map_or(survey.r, |offset| offset.min(survey.r));
        out.commands.push(Command::CommitFloor(Floor { e, r }));
    }

    fn published(&mut self, answer: Result<(), String>, out: &mut Output) {
        match answer {
            Ok(()) => {
                let mono = self.mono;
                if let Some((count, took)) =
                    self.own.as_mut().and_then(|own| own.gate.committed(mono))
                {
                    out.notes.push(Note::Committed(count, took));
                }
            }
            Err(_) if plant::is(Plant::PublisherReused) =>
            {
                #[cfg(test)]
                if let Some(own) = &mut self.own {
                    own.gate.publish_again(self.mono);
                }
            }
            Err(error) => {
                out.notes
                    .push(Note::Alarm(input::Alarm::Step("publish", error)));
                self.recover(Cause::Commit, out);
            }
        }
    }
}
