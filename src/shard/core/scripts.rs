//! One script in flight per shard. Which one is next, what its reply changes, and what to do when no
//! reply came: read the meta; version + 1 and our token: it was done; unchanged: the same bytes again;
//! anything else: recover. Nothing else is sent before its fate is known.

use std::collections::VecDeque;
use std::sync::Arc;

use super::input::{Alarm, Command, Note, Output};
use super::intake::second;
use super::results::marks_end;
use super::{Core, Generation, Phase};
use crate::domain::order::{Millis, OrderId, RECORD_HASHES, TypeId};
use crate::domain::record::Record;
use crate::metrics::label::RecoveryCause as Cause;
use crate::store::StoreError;
use crate::store::script::{BATCH, Body, Claimed, Lookup, Meta, Reply, Reschedule, Script};

/// The same bytes are sent again after this, when the store said that they did not run.
const RESEND: Millis = 100;
/// Intake waits this long when the store is full.
const FULL: Millis = 1_000;

/// An order to put back: where it goes is decided when the script is made.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub id: OrderId,
    pub claim: u32,
    pub record: Record,
}

/// What is sent, and what waits to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    flight: Option<Flight>,
    /// Orders to put back after a question.
    pub moves: VecDeque<Move>,
    /// (type, next second, last second) whose leases are to be ended.
    pub leases: Vec<(TypeId, u32, u32)>,
    turn: usize,
    /// By kind.
    sent_at: [Millis; 6],
    pub sweep_at: Millis,
    pub sweep_hash: u16,
    pub drop_marks_at: Millis,
    pub store_full: bool,
    pub fold_after: Millis,
}

#[derive(Clone, Debug)]
struct Flight {
    script: Arc<Script>,
    /// Offsets that a fold gives effect to, sorted.
    offsets: Vec<u64>,
    /// Send the same bytes again at this monotonic time.
    again_at: Option<Millis>,
    /// Read the meta again at this monotonic time.
    meta_at: Option<Millis>,
    /// A reply was lost: an older copy of the same bytes may still be on its way.
    may_arrive: bool,
}

impl Outbox {
    pub fn is_idle(&self) -> bool {
        self.flight.is_none()
    }

    pub fn leases_ended(&self) -> bool {
        self.leases.is_empty() && self.flight.is_none()
    }

    /// When the same bytes are to be sent, or the meta to be read, again.
    pub fn again_at(&self) -> Option<Millis> {
        self.flight
            .as_ref()
            .and_then(|flight| flight.again_at.or(flight.meta_at))
    }
}

/// The kinds of script, in the order of their first turn.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Settle,
    Lookup,
    Reschedule,
    Fold,
    Claim,
    Upkeep,
}

const KINDS: [Kind; 6] = [
    Kind::Settle,
    Kind::Lookup,
    Kind::Reschedule,
    Kind::Fold,
    Kind::Claim,
    Kind::Upkeep,
];

impl Core {
    /// Sends the next script if none is in flight. Kinds take turns, so that none starves.
    pub(super) fn send_next(&mut self, out: &mut Output) {
        let Some(own) = &mut self.own else { return };
        if let Some(flight) = &mut own.outbox.flight {
            if flight.again_at.is_some_and(|at| at <= self.mono) {
                flight.again_at = None;
                out.commands.push(Command::Run(Arc::clone(&flight.script)));
            }
            if flight.meta_at.is_some_and(|at| at <= self.mono) {
                flight.meta_at = None;
                out.commands.push(Command::ReadMeta);
            }
            return;
        }
        let first = own.outbox.turn;
        for turn in (first..first + KINDS.len()).map(|turn| turn % KINDS.len()) {
            if self.kind_at(KINDS[turn]).is_none_or(|at| at > self.mono) {
                continue;
            }
            let body = self.next_body(KINDS[turn]);
            let Some(own) = &mut self.own else { return };
            own.outbox.sent_at[turn] = self.mono;
            if let Some((body, offsets)) = body {
                own.outbox.turn = turn + 1;
                return self.send(body, offsets, out);
            }
        }
    }

    /// When the next script may be sent, in monotonic milliseconds.
    pub(super) fn script_at(&self) -> Millis {
        match &self.own {
            Some(own) if !own.outbox.is_idle() => own.outbox.again_at().unwrap_or(Millis::MAX),
            _ => KINDS
                .iter()
                .filter_map(|kind| self.kind_at(*kind))
                .min()
                .unwrap_or(Millis::MAX),
        }
    }

    /// When a script of this kind may be sent; `None`: not before something else happens.
    fn kind_at(&self, kind: Kind) -> Option<Millis> {
        let own = self.own.as_ref().filter(|_| self.folds())?;
        let events = matches!(self.phase, Phase::FoldingEvents(_) | Phase::Open);
        let rested = own.outbox.sent_at[kind as usize]
            + if self.phase == Phase::Open {
                self.plan.linger
            } else {
                0
            };
        let queued = |count: usize| match count {
            0 => None,
            BATCH.. => Some(0),
            _ => Some(rested),
        };
        match kind {
            Kind::Settle => queued(own.results.unfolded()),
            Kind::Lookup if events => queued(own.intake.terminal.len()),
            Kind::Reschedule if events => queued(own.outbox.moves.len()),
            Kind::Fold if events => {
                queued(own.intake.unfolded.len()).map(|at| at.max(own.outbox.fold_after))
            }
            Kind::Claim if self.phase == Phase::Open => self.next_claim_at(),
            Kind::Upkeep if self.phase == Phase::EndingLeases => {
                (!own.outbox.leases.is_empty()).then_some(0)
            }
            Kind::Upkeep => Some(own.outbox.sweep_at),
            _ => None,
        }
    }

    fn next_body(&mut self, kind: Kind) -> Option<(Body, Vec<u64>)> {
        let plain = |body| (body, Vec::new());
        match kind {
            Kind::Settle => self.settle_script().map(Body::Settle).map(plain),
            Kind::Lookup => self.lookup_body().map(plain),
            Kind::Reschedule => self.reschedule_body().map(plain),
            Kind::Fold => self.fold_body(),
            Kind::Claim => self.claim_body().map(plain),
            Kind::Upkeep => self.upkeep_body().map(plain),
        }
    }

    /// Whether scripts may be sent: from the recovery's third step on.
    pub(super) fn folds(&self) -> bool {
        matches!(
            self.phase,
            Phase::FoldingResults(_) | Phase::FoldingEvents(_) | Phase::EndingLeases | Phase::Open
        )
    }

    fn lookup_body(&mut self) -> Option<Body> {
        let own = self.own.as_ref()?;
        let batch: Vec<_> = own
            .intake
            .terminal
            .iter()
            .take(BATCH)
            .filter_map(|(id, record)| {
                let event = record.event.as_ref().ok()?;
                let stored = own.types.get(id.type_id).is_some_and(|known| known.stored);
                Some(Lookup {
                    id: stored.then_some(*id),
                    mark: event.key.mark(&own.mark_key),
                })
            })
            .collect();
        (!batch.is_empty()).then_some(Body::Lookup(batch))
    }

    fn reschedule_body(&mut self) -> Option<Body> {
        let mut budget = self.budget();
        let own = self.own.as_mut()?;
        let count = own.outbox.moves.len().min(BATCH);
        let moves: Vec<_> = own.outbox.moves.drain(..count).collect();
        let placed = |Move { id, claim, record }: Move| Reschedule {
            id,
            claim,
            record,
            placement: self.placement(id, record.due, &mut budget),
        };
        (count > 0).then(|| Body::Reschedule(moves.into_iter().map(placed).collect()))
    }

    fn fold_body(&mut self) -> Option<(Body, Vec<u64>)> {
        let own = self.own.as_mut()?;
        own.outbox.store_full = false;
        let count = own.intake.unfolded.len().min(BATCH);
        if count == 0 {
            return None;
        }
        // They stay in the queue until the reply: a full store has folded nothing.
        let mut budget = self.budget();
        let batch = self.own.as_ref()?.intake.unfolded.iter().take(count);
        let mut offsets: Vec<_> = batch.clone().map(|event| event.offset).collect();
        offsets.sort_unstable();
        let folds = batch
            .filter_map(|event| self.fold_of(event, &mut budget))
            .collect();
        Some((Body::Fold(folds), offsets))
    }

    /// What keeps the view in order: end leases, sweep each second (an idle shard too: it is what
    /// finds a rollback, a wipe or a foreign acquire, and it carries `E`), drop old marks.
    fn upkeep_body(&mut self) -> Option<Body> {
        let (mono, window_start) = (self.mono, self.window_start());
        let slack_seconds = self.longest_lease_seconds() * 2;
        let own = self.own.as_mut()?;
        if self.phase == Phase::EndingLeases {
            let (type_id, from_second, to_second) = *own.outbox.leases.last()?;
            return Some(Body::EndLeases {
                type_id,
                from_second,
                to_second,
            });
        }
        if self.phase == Phase::Open && mono >= own.outbox.drop_marks_at {
            own.outbox.drop_marks_at = mono + 60_000;
            return Some(Body::DropMarks {
                before_hour: marks_end(window_start),
            });
        }
        if let Some(rest) = own.results.rest() {
            return Some(Body::Settle(rest));
        }
        own.outbox.sweep_at = mono + 1_000;
        let hash = own.outbox.sweep_hash;
        own.outbox.sweep_hash = (hash + 1) % RECORD_HASHES;
        let types = own
            .types
            .iter()
            .filter(|(_, known)| known.plan.is_some() && known.stored)
            .map(|(id, _)| id)
            .collect();
        Some(Body::Sweep {
            hash,
            slack_seconds,
            types,
        })
    }

    fn send(&mut self, body: Body, offsets: Vec<u64>, out: &mut Output) {
        let clock = self.now();
        let may_end_rebuild = matches!(self.phase, Phase::EndingLeases | Phase::Open);
        let Some(own) = &mut self.own else { return };
        let e = own.intake.offsets.e(&offsets);
        let over = |rebuild: &super::Rebuild| rebuild.end.is_some_and(|end| e >= end);
        let script = Arc::new(Script {
            token: own.token,
            version: own.version,
            clock,
            e,
            ends_rebuild: may_end_rebuild
                && !matches!(body, Body::Lookup(_))
                && own.rebuild.as_ref().is_some_and(over),
            // A look-up writes nothing; a type that the view lacks holds no order of it.
            new_types: if matches!(body, Body::Lookup(_)) {
                Vec::new()
            } else {
                own.types.unstored()
            },
            body,
        });
        own.outbox.flight = Some(Flight {
            script: Arc::clone(&script),
            offsets,
            again_at: None,
            meta_at: None,
            may_arrive: false,
        });
        out.commands.push(Command::Run(script));
    }

    pub(super) fn replied(&mut self, answer: Result<Reply, StoreError>, out: &mut Output) {
        let mono = self.mono;
        let Some(own) = &mut self.own else { return };
        let Some(flight) = &mut own.outbox.flight else {
            return;
        };
        match answer {
            Ok(Reply::Mismatch) => self.recover(Cause::Mismatch, out),
            Ok(reply) => self.script_done(Some(reply), out),
            Err(StoreError::Lost(_)) => {
                flight.may_arrive = true;
                out.commands.push(Command::ReadMeta);
            }
            Err(StoreError::Unavailable(_)) => flight.again_at = Some(mono + RESEND),
            Err(StoreError::Full(text)) => {
                out.notes.push(Note::Alarm(Alarm::StoreFull(text)));
                let folds = matches!(flight.script.body, Body::Fold(_));
                if folds && flight.may_arrive {
                    // Another script at this version could be taken for done when the older copy was:
                    // only a new token stops that copy.
                    self.recover(Cause::Unavailable, out);
                } else if folds {
                    // Nothing was folded; what drains the view goes on.
                    own.outbox.flight = None;
                    own.outbox.store_full = true;
                    own.outbox.fold_after = mono + FULL;
                    self.open_early();
                } else {
                    flight.again_at = Some(mono + FULL);
                }
            }
            Err(StoreError::Corrupt(text)) => {
                out.notes.push(Note::Alarm(Alarm::Damaged(text)));
                self.recover(Cause::Damaged, out);
            }
        }
    }

    pub(super) fn meta_read(&mut self, answer: Result<Option<Meta>, StoreError>, out: &mut Output) {
        let mono = self.mono;
        let Some(own) = &mut self.own else { return };
        let Some(flight) = &mut own.outbox.flight else {
            return;
        };
        match answer {
            Ok(Some(meta)) if meta.token == own.token && meta.version == own.version + 1 => {
                self.script_done(None, out);
            }
            Ok(Some(meta)) if meta.token == own.token && meta.version == own.version => {
                flight.again_at = Some(mono);
            }
            Ok(_) => self.recover(Cause::Mismatch, out),
            Err(StoreError::Corrupt(text)) => {
                out.notes.push(Note::Alarm(Alarm::Damaged(text)));
                self.recover(Cause::Damaged, out);
            }
            Err(_) => flight.meta_at = Some(mono + RESEND),
        }
    }

    /// The script in flight took effect. Without its reply, what it claimed is not known: those
    /// orders come due again when their lease ends.
    fn script_done(&mut self, reply: Option<Reply>, out: &mut Output) {
        let Some(own) = &mut self.own else { return };
        let Some(flight) = own.outbox.flight.take() else {
            return;
        };
        let script = flight.script;
        if !matches!(script.body, Body::Lookup(_)) {
            own.version += 1;
            own.e = script.e;
            own.types.stored(&script.new_types);
            if script.ends_rebuild {
                own.rebuild = None;
            }
        }
        match (&script.body, reply) {
            (Body::Fold(folds), reply) => {
                // A question of the phase before must not end the phase that was opened.
                for fold in folds.iter().filter(|fold| fold.requeue.is_some()) {
                    own.wheel.remove(&fold.id);
                }
                own.folded(&flight.offsets, reply.as_ref(), out);
                if let Some(Reply::Folded { claimed, .. }) = reply {
                    self.keep(claimed);
                }
            }
            (Body::Lookup(_), Some(Reply::Found(found))) => self.looked_up(found, out),
            (
                Body::Claim(claim),
                Some(Reply::Claimed {
                    claimed, cursor, ..
                }),
            ) => {
                if let Some(known) = own.types.get_mut(claim.type_id) {
                    known.cursor = cursor;
                    if claimed.len() == BATCH {
                        known.rests_until = 0;
                    }
                }
                self.keep(claimed);
            }
            (Body::Reschedule(_), Some(Reply::Rescheduled { claimed, .. })) => self.keep(claimed),
            (Body::Settle(settle), _) => self.settled(settle, out),
            (Body::EndLeases { .. }, reply) => match reply {
                Some(Reply::LeasesEnded {
                    next_second: Some(next),
                    ..
                }) => {
                    if let Some(last) = own.outbox.leases.last_mut() {
                        last.1 = next;
                    }
                }
                _ => drop(own.outbox.leases.pop()),
            },
            (Body::Sweep { .. }, Some(Reply::Swept { repaired })) if repaired > 0 => {
                out.notes.push(Note::Swept(repaired));
            }
            (Body::DropMarks { .. }, Some(Reply::MarksDropped { more: true })) => {
                own.outbox.drop_marks_at = 0;
            }
            _ => {}
        }
        self.advance(out);
    }

    /// Takes claimed orders into the wheel, but for those that are settling.
    fn keep(&mut self, claimed: Vec<Claimed>) {
        let Some(own) = &mut self.own else { return };
        for order in claimed {
            if let Some(index) = own.types.get(order.id.type_id).and_then(|known| known.plan)
                && let Some(permits) = self.permits.get_mut(index)
            {
                *permits = permits.saturating_sub(1);
            }
            if own.gate.planned(&order.id).is_none() {
                own.wheel.insert(order);
            }
        }
    }

    /// Leases found after an acquire are a dead owner's: each configured type's buckets are walked
    /// from now to the longest lease's end.
    pub(super) fn plan_end_of_leases(&mut self) {
        let now = second(self.now());
        let to = now + self.longest_lease_seconds() + 2;
        if let Some(own) = &mut self.own {
            own.outbox.leases = own
                .types
                .iter()
                .filter(|(_, known)| known.stored && known.plan.is_some())
                .map(|(id, _)| (id, now, to))
                .collect();
        }
    }

    fn longest_lease_seconds(&self) -> u32 {
        let longest = self
            .plan
            .types
            .iter()
            .map(super::plan::TypePlan::lease)
            .max()
            .unwrap_or(super::plan::LEASE_SLACK);
        (longest / 1000) as u32 + 2
    }
}

impl Generation {
    fn folded(&mut self, offsets: &[u64], reply: Option<&Reply>, out: &mut Output) {
        self.intake
            .unfolded
            .drain(..offsets.len().min(self.intake.unfolded.len()));
        for offset in offsets {
            self.intake.offsets.release(*offset);
        }
        if let Some(Reply::Folded { outcomes, .. }) = reply {
            out.notes.extend(
                outcomes
                    .iter()
                    .map(|outcome| Note::Event((*outcome).into())),
            );
        }
    }
}
