//! Events on their way into the view. Each is judged once: dead letter, forward, fold, look-up, or a
//! place in the gate; its offset is held until it has had its effect.

use std::collections::{BTreeMap, VecDeque};

use super::gate::Planned;
use super::input::{Alarm, Command, Note, Output};
use super::offsets::Offsets;
use super::{Core, Generation};
use crate::domain::event::{Body, Event, Reason, Refusal, TerminalEvent};
use crate::domain::order::{Millis, OrderId, OrderKey, TypeId};
use crate::domain::result::{OrderResult, Outcome};
use crate::kafka::EventRecord;
use crate::metrics::label::{EventOutcome, PauseReason, RecoveryCause as Cause};
use crate::plant::{self, Plant};
use crate::store::script::Found;

/// Events read but not folded, beyond which no more are read.
pub(super) const BACKLOG: usize = 2_000;

/// Dead letters and forwards under way, beyond which no more are read.
pub(super) const LETTERS: usize = 2_000;

/// Bytes of originals that are kept for events without effect (letters and forwards under way, terminal
/// events before their look-up and in the gate), beyond which no more are read.
pub(super) const ORIGINALS_BYTES: usize = 16 << 20;

/// A pending or requeue event, to be folded.
#[derive(Clone, Debug)]
pub(super) struct Unfolded {
    pub offset: u64,
    pub id: OrderId,
    pub event: Event,
    pub appended: Millis,
    pub traceparent: Option<Box<str>>,
}

/// What was read from `order-events` and has had no effect yet.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    pub offsets: Offsets,
    pub unfolded: VecDeque<Unfolded>,
    /// Terminal events, to be looked up.
    pub terminal: VecDeque<(OrderId, EventRecord)>,
    /// Dead letters and forwards that are not acknowledged, by offset; a dead letter with its reason.
    pub letters: BTreeMap<u64, Option<Reason>>,
    /// The end of the log when the recovery asked for it.
    pub end: u64,
}

impl Intake {
    pub fn starting_at(e: u64) -> Self {
        Self {
            offsets: Offsets::starting_at(e),
            unfolded: VecDeque::new(),
            terminal: VecDeque::new(),
            letters: BTreeMap::new(),
            end: 0,
        }
    }

    /// Whether every event below `end` was folded, looked up or sent away; what comes in meanwhile
    /// does not count.
    pub fn judged_below(&self, end: u64) -> bool {
        let mut terminal = self.terminal.iter().map(|(_, record)| record.offset);
        self.unfolded.iter().all(|event| event.offset >= end)
            && terminal.all(|offset| offset >= end)
    }

    /// Why no more may be read for now.
    pub fn full(&self) -> Option<PauseReason> {
        let large = self.offsets.bytes() >= ORIGINALS_BYTES;
        if self.unfolded.len() + self.terminal.len() >= BACKLOG {
            Some(PauseReason::Backlog)
        } else if self.letters.len() >= LETTERS || (large && !self.letters.is_empty()) {
            Some(PauseReason::Unacknowledged)
        } else {
            large.then_some(PauseReason::Backlog)
        }
    }
}

impl Core {
    pub(super) fn events(&mut self, records: Vec<EventRecord>, position: u64, out: &mut Output) {
        for record in records {
            let Some(own) = &mut self.own else { return };
            // A reader that was started again may bring what it had brought before.
            if record.offset < own.intake.offsets.position() {
                continue;
            }
            let bytes = record.original.as_ref().map_or(0, |it| it.bytes());
            let (offset, appended) = (record.offset, record.appended);
            own.intake.offsets.read(offset, appended, bytes);
            self.judge(record, out);
        }
        if let Some(own) = &mut self.own {
            own.intake.offsets.passed(position);
        }
    }

    /// Judges an event that was read, or one that waited for an order in the gate.
    fn judge(&mut self, record: EventRecord, out: &mut Output) {
        let cursor = second(self.now()).saturating_sub(1);
        let Some(own) = &mut self.own else { return };
        let event = match &record.event {
            Ok(event) => event,
            Err(refusal) => {
                let refusal = refusal.clone();
                return own.dead_letter(record, refusal, out);
            }
        };
        let shard = event.key.shard(self.plan.shards);
        if shard != self.plan.shard && !plant::is(Plant::MisplacedKept) {
            return own.forward(record, shard, out);
        }
        let Some(type_id) = own.types.admit(&event.key.order_type, &self.plan, cursor) else {
            if record.original.is_none() {
                // It was read when its type was configured still. Read anew, it can be kept whole.
                return self.recover(Cause::Delivery, out);
            }
            let limit = self.plan.unknown_types;
            let detail = format!("type: more than {limit} types that are not configured");
            return own.dead_letter(record, Refusal::new(Reason::TypeLimit, detail), out);
        };
        if own
            .types
            .get(type_id)
            .is_some_and(|known| known.plan.is_none())
        {
            let alarm = Alarm::UnknownType(event.key.order_type.clone());
            out.notes.push(Note::Alarm(alarm));
        }
        own.admit(type_id, record, out);
    }

    /// What the view says of terminal events, in the order of the look-up.
    pub(super) fn looked_up(&mut self, found: Vec<Found>, out: &mut Output) {
        let now = self.now();
        for found in found {
            let Some(own) = &mut self.own else { return };
            let Some((id, record)) = own.intake.terminal.pop_front() else {
                return;
            };
            let Ok(Event {
                key,
                body: Body::Terminal(said),
                ..
            }) = &record.event
            else {
                continue;
            };
            if own.gate.planned(&id).is_some() {
                own.wait(&id, record);
                continue;
            }
            match found {
                Found::Settled { status, .. } => {
                    let agrees = status == said.status;
                    own.settled_already(record, agrees, out);
                }
                found => {
                    let result = resolution(key, said, &record, &found, (self.plan.shard, now));
                    own.gate.enter(id, result, Some(record.offset));
                    out.notes.push(Note::Event(EventOutcome::Terminal));
                }
            }
        }
    }

    /// A result was read back and folded: what waited for it is judged by the view like any other.
    pub(super) fn leave_gate(&mut self, id: &OrderId, read: Planned, out: &mut Output) {
        let Some(own) = &mut self.own else { return };
        let (offset, waiting) = own.gate.leave(id, read);
        if let Some(offset) = offset {
            own.intake.offsets.release(offset);
        }
        for record in waiting {
            self.judge(record, out);
        }
    }

    pub(super) fn not_forwarded(&mut self, offset: u64, reason: Reason) {
        if let Some(letter) = self
            .own
            .as_mut()
            .and_then(|own| own.intake.letters.get_mut(&offset))
        {
            *letter = Some(reason);
        }
    }

    pub(super) fn acknowledged(
        &mut self,
        offset: u64,
        answer: Result<(), String>,
        out: &mut Output,
    ) {
        match (answer, &mut self.own) {
            (Ok(()), Some(own)) => {
                if let Some(letter) = own.intake.letters.remove(&offset) {
                    out.notes.push(
                        letter.map_or(Note::Event(EventOutcome::Forwarded), Note::DeadLetter),
                    );
                }
                own.intake.offsets.release(offset);
            }
            (Ok(()), None) => {}
            (Err(error), _) => {
                out.notes.push(Note::Alarm(Alarm::Step(
                    "deliver a dead letter or forward",
                    error,
                )));
                self.recover(Cause::Delivery, out);
            }
        }
    }
}

impl Generation {
    /// Sends an acceptable event of this shard on its way: fold, look-up, or a place in the gate.
    fn admit(&mut self, type_id: TypeId, record: EventRecord, out: &mut Output) {
        let Ok(event) = &record.event else { return };
        let id = OrderId {
            type_id,
            req_no: event.key.req_no,
        };
        let settled = self
            .rebuild
            .as_ref()
            .and_then(|rebuild| rebuild.join.get(&event.key.mark(&self.mark_key)).copied());
        match &event.body {
            Body::Terminal(said) => {
                if self.gate.planned(&id).is_some() {
                    self.wait(&id, record);
                } else if let Some(status) = settled {
                    let agrees = status == said.status;
                    self.settled_already(record, agrees, out);
                } else {
                    self.intake.terminal.push_back((id, record));
                }
            }
            Body::Requeue { .. } if self.gate.planned(&id).is_some() => self.wait(&id, record),
            // A pending event of a settling order says nothing new: what plans its result holds E
            // below both, or the view has the order pending.
            Body::Pending { .. } if self.gate.planned(&id).is_some() => {
                self.done(record.offset, EventOutcome::Known, out);
            }
            _ if settled.is_some() => self.done(record.offset, EventOutcome::Settled, out),
            _ => {
                let EventRecord {
                    offset,
                    appended,
                    traceparent,
                    event,
                    ..
                } = record;
                if let Ok(event) = event {
                    self.intake.unfolded.push_back(Unfolded {
                        offset,
                        id,
                        event,
                        appended,
                        traceparent,
                    });
                }
            }
        }
    }

    /// The event is judged after its order's result was read back; until then it holds `E`.
    fn wait(&mut self, id: &OrderId, record: EventRecord) {
        if plant::is(Plant::WaitingDropped) {
            return self.intake.offsets.release(record.offset);
        }
        self.gate.wait(id, record);
    }

    fn done(&mut self, offset: u64, outcome: EventOutcome, out: &mut Output) {
        self.intake.offsets.release(offset);
        out.notes.push(Note::Event(outcome));
    }

    /// Whether this event was dealt with before the view was wiped.
    fn was_dealt_with(&self, offset: u64) -> bool {
        self.rebuild
            .as_ref()
            .is_some_and(|rebuild| offset < rebuild.known_below)
    }

    fn dead_letter(&mut self, record: EventRecord, refusal: Refusal, out: &mut Output) {
        if self.was_dealt_with(record.offset) {
            return self.done(record.offset, EventOutcome::Repeated, out);
        }
        self.intake
            .letters
            .insert(record.offset, Some(refusal.reason));
        let EventRecord {
            offset,
            appended,
            original,
            ..
        } = record;
        out.commands.push(Command::DeadLetter {
            offset,
            appended,
            refusal,
            original: original.unwrap_or_default(),
        });
    }

    fn forward(&mut self, record: EventRecord, shard: u16, out: &mut Output) {
        if record.forwarded {
            let detail = format!(
                "partition: forwarded once and still not in partition {shard} of its order"
            );
            return self.dead_letter(
                record,
                Refusal {
                    reason: Reason::Misrouted,
                    detail,
                },
                out,
            );
        }
        if self.was_dealt_with(record.offset) {
            return self.done(record.offset, EventOutcome::Repeated, out);
        }
        self.intake.letters.insert(record.offset, None);
        let EventRecord {
            offset,
            appended,
            original,
            ..
        } = record;
        out.commands.push(Command::Forward {
            offset,
            original: original.unwrap_or_default(),
            to: shard,
            appended,
        });
    }

    /// A terminal event of a settled order: a repetition, or a contradiction that is kept.
    fn settled_already(&mut self, record: EventRecord, agrees: bool, out: &mut Output) {
        if agrees {
            return self.done(record.offset, EventOutcome::Settled, out);
        }
        if let Ok(event) = &record.event
            && !self.was_dealt_with(record.offset)
        {
            out.notes
                .push(Note::Alarm(Alarm::Conflict(event.key.clone())));
        }
        let detail =
            "status: contradicts the published resolution of this order, which stands".to_owned();
        self.dead_letter(
            record,
            Refusal {
                reason: Reason::Conflict,
                detail,
            },
            out,
        );
    }
}

fn resolution(
    key: &OrderKey,
    said: &TerminalEvent,
    record: &EventRecord,
    found: &Found,
    (shard, now): (u16, Millis),
) -> OrderResult {
    let known = match found {
        Found::Open { record, .. } => Some(*record),
        _ => None,
    };
    OrderResult {
        key: key.clone(),
        phase: known.map_or(0, |known| known.phase),
        outcome: Outcome::Settled {
            status: said.status,
            source: said.source.clone(),
            rsp_no: said.rsp_no.clone(),
            ret_cd: said.ret_cd.clone(),
            ret_msg: said.ret_msg.clone(),
        },
        asked: known.map_or(0, |known| known.asked),
        first_seen: known.map_or(record.appended, |known| known.first_seen),
        at: now,
        event: (
            shard,
            known.map_or(record.offset, |known| known.event_offset),
        ),
        traceparent: record.traceparent.clone(),
    }
}

/// The unix second of a time.
pub(super) fn second(at: Millis) -> u32 {
    (at / 1000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_large_originals_pause_intake_as_many_small_ones_do() {
        let mut intake = Intake::starting_at(0);
        intake.offsets.read(0, 1, ORIGINALS_BYTES - 1);
        assert_eq!(intake.full(), None);
        intake.offsets.read(1, 1, 1);
        assert_eq!(intake.full(), Some(PauseReason::Backlog));
        intake.letters.insert(1, None);
        assert_eq!(intake.full(), Some(PauseReason::Unacknowledged));
        intake.letters.remove(&1);
        intake.offsets.release(1);
        assert_eq!(intake.full(), None);
    }
}
