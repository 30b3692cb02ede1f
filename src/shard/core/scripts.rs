//! What waits for a script, which kind is next and when, and what its body carries. `flight` sends it
//! and follows it to its fate; there is one at a time per shard.

use std::collections::VecDeque;

use super::flight::Flight;
use super::input::Output;
use super::intake::second;
use super::results::marks_end;
use super::{Core, Generation, Phase};
use crate::domain::order::{Millis, OrderId, TypeId};
use crate::domain::record::Record;
use crate::plant::{self, Plant};
use crate::store::script::{BATCH, Body, Lookup, Reschedule};

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
    pub flight: Option<Flight>,
    /// Orders to put back after a question.
    pub moves: VecDeque<Move>,
    /// (type, next second, last second) whose leases are to be ended.
    pub leases: Vec<(TypeId, u32, u32)>,
    turn: usize,
    /// By kind.
    sent_at: [Millis; 6],
    pub sweep_at: Millis,
    pub sweep_hash: u16,
    /// The view has lost orders and is given up.
    pub discards: bool,
    pub drop_marks_at: Millis,
    pub store_full: bool,
    pub fold_after: Millis,
}

impl Outbox {
    pub fn is_idle(&self) -> bool {
        self.flight.is_none()
    }

    pub fn leases_ended(&self) -> bool {
        self.leases.is_empty() && self.flight.is_none()
    }

    /// The most orders of a type that the script in flight may claim.
    pub fn may_claim(&self, type_id: TypeId) -> u32 {
        self.flight
            .as_ref()
            .map_or(0, |flight| flight.may_claim(type_id))
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
        if !own.outbox.is_idle() {
            return self.send_again(out);
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
            Kind::Upkeep if plant::is(Plant::IdleNotSwept) && own.is_idle() => None,
            Kind::Upkeep if own.outbox.discards => Some(0),
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
        if own.outbox.discards {
            return Some(Body::Discard);
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
    /// A planted bug's reason to rest: the view lacks nothing of `E`, `R` and the rebuild.
    fn is_idle(&self) -> bool {
        self.rebuild.is_none()
            && self.e == self.intake.offsets.e(&[])
            && self.results.rest().is_none()
    }
}
