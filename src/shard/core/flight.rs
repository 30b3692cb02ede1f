//! One script in flight per shard, what its reply changes, and what to do when no reply came: read the
//! meta; version + 1 and our token: it was done; unchanged: the same bytes again; anything else:
//! recover. Nothing else is sent before its fate is known.

use std::sync::Arc;

use super::input::{Alarm, Command, Note, Output};
use super::{Core, Generation, Phase, Rebuild};
use crate::domain::order::{Millis, OrderId, RECORD_HASHES, TypeId};
use crate::metrics::label::RecoveryCause as Cause;
use crate::plant::{self, Plant};
use crate::store::StoreError;
use crate::store::script::{BATCH, Body, Claimed, Meta, Placement, Reply, Script};

/// The same bytes are sent again after this, when the store said that they did not run.
const RESEND: Millis = 100;
/// Intake waits this long when the store is full.
const FULL: Millis = 1_000;

#[derive(Clone, Debug)]
pub(super) struct Flight {
    script: Arc<Script>,
    /// Offsets that a fold gives effect to, sorted.
    offsets: Vec<u64>,
    /// Send the same bytes again at this monotonic time.
    pub again_at: Option<Millis>,
    /// Read the meta again at this monotonic time.
    pub meta_at: Option<Millis>,
    /// A reply was lost: an older copy of the same bytes may still be on its way.
    may_arrive: bool,
}

impl Flight {
    /// The most orders of a type that it may claim.
    pub fn may_claim(&self, type_id: TypeId) -> u32 {
        let leases = |id: &OrderId, placement: &Placement| {
            id.type_id == type_id && placement.lease_second > 0
        };
        let count = match &self.script.body {
            Body::Claim(claim) if claim.type_id == type_id => return claim.limit.into(),
            Body::Fold(folds) => folds
                .iter()
                .filter(|fold| leases(&fold.id, &fold.placement))
                .count(),
            Body::Reschedule(all) => all
                .iter()
                .filter(|one| leases(&one.id, &one.placement))
                .count(),
            _ => 0,
        };
        count as u32
    }
}

impl Core {
    pub(super) fn send(&mut self, body: Body, offsets: Vec<u64>, out: &mut Output) {
        let clock = self.now();
        let may_end_rebuild = matches!(self.phase, Phase::EndingLeases | Phase::Open);
        let Some(own) = &mut self.own else { return };
        let e = own.intake.offsets.e(&offsets);
        let over = |rebuild: &Rebuild| rebuild.end.is_some_and(|end| e >= end);
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
        let ours = |meta: &Meta| meta.token == own.token || plant::is(Plant::NoToken);
        match answer {
            Ok(Some(meta)) if ours(&meta) && meta.version == own.version + 1 => {
                self.script_done(None, out);
            }
            Ok(Some(meta)) if ours(&meta) && meta.version == own.version => {
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
                    own.wheel.clear(&fold.id);
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
                    // Full, or out of breath on empty seconds: there is more to take at once.
                    let walked = claimed.len() < claim.limit.into() && cursor < claim.to_second;
                    if claimed.len() == BATCH || walked {
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
            (
                Body::Sweep { .. },
                Some(Reply::Swept {
                    repaired,
                    next_hash,
                }),
            ) => {
                own.outbox.sweep_hash = next_hash % RECORD_HASHES;
                out.notes
                    .extend((repaired > 0).then_some(Note::Swept(repaired)));
            }
            (Body::Discard, _) => return self.recover(Cause::Incomplete, out),
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

    /// Sends the script in flight, or the question for its fate, again when it is time.
    pub(super) fn send_again(&mut self, out: &mut Output) {
        let Some(flight) = self.own.as_mut().and_then(|own| own.outbox.flight.as_mut()) else {
            return;
        };
        if flight.again_at.is_some_and(|at| at <= self.mono) {
            flight.again_at = None;
            out.commands.push(Command::Run(Arc::clone(&flight.script)));
        }
        if flight.meta_at.is_some_and(|at| at <= self.mono) {
            flight.meta_at = None;
            out.commands.push(Command::ReadMeta);
        }
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
