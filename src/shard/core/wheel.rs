//! The wheel: orders claimed for this second, each started at its own millisecond, and the table of
//! open questions. The table holds one claim an order, the newest; an answer that does not find its
//! own claim there is dropped.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::domain::order::{Millis, OrderId, TypeId};
use crate::plant::{self, Plant};
use crate::store::script::Claimed;

#[derive(Clone, Debug)]
struct Open {
    claimed: Claimed,
    asked: bool,
}

/// Claimed orders, waiting for their millisecond or for an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Wheel {
    open: BTreeMap<OrderId, Open>,
    /// Due, order, claim; entries whose claim is no longer the table's are skipped.
    due: BinaryHeap<Reverse<(Millis, OrderId, u32)>>,
    by_type: BTreeMap<TypeId, u32>,
}

impl Wheel {
    /// Takes a claimed order; it replaces an older claim of the same order.
    pub fn insert(&mut self, claimed: Claimed) {
        self.due.push(Reverse((
            claimed.record.due,
            claimed.id,
            claimed.record.claim,
        )));
        let type_id = claimed.id.type_id;
        if self
            .open
            .insert(
                claimed.id,
                Open {
                    claimed,
                    asked: false,
                },
            )
            .is_none()
        {
            *self.by_type.entry(type_id).or_default() += 1;
        }
    }

    /// The next order that is due at `now` and not yet asked about. Its claim stays in the table.
    pub fn next_due(&mut self, now: Millis) -> Option<Claimed> {
        while let Some(Reverse((due, ..))) = self.due.peek() {
            if *due > now {
                return None;
            }
            let Reverse((_, id, claim)) = self.due.pop()?;
            if let Some(open) = self.open.get_mut(&id)
                && open.claimed.record.claim == claim
                && !open.asked
            {
                open.asked = true;
                return Some(open.claimed.clone());
            }
        }
        None
    }

    /// When the next order is due; perhaps one that was dropped meanwhile.
    pub fn next_at(&self) -> Option<Millis> {
        self.due.peek().map(|Reverse((due, ..))| *due)
    }

    /// Takes an order out if `claim` is its newest.
    pub fn take(&mut self, id: &OrderId, claim: u32) -> Option<Claimed> {
        let newest = self.open.get(id)?.claimed.record.claim;
        if newest != claim && !plant::is(Plant::ClaimNotCompared) {
            return None;
        }
        self.remove(id)
    }

    /// Takes an order out whatever its claim: its result was read back, or a requeue began a phase.
    pub fn clear(&mut self, id: &OrderId) {
        if !plant::is(Plant::ClaimNotCompared) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: &OrderId) -> Option<Claimed> {
        let open = self.open.remove(id)?;
        if let Some(count) = self.by_type.get_mut(&id.type_id) {
            *count -= 1;
        }
        Some(open.claimed)
    }

    /// What a planted bug keeps of a generation that is over: the orders that were asked about.
    #[cfg(test)]
    pub fn asked(mut self) -> Self {
        let waits = |(id, open): (&OrderId, &Open)| (!open.asked).then_some(*id);
        for id in self.open.iter().filter_map(waits).collect::<Vec<_>>() {
            self.remove(&id);
        }
        self
    }

    /// Claimed orders of a type, asked about or not.
    pub fn claimed(&self, type_id: TypeId) -> u32 {
        self.by_type.get(&type_id).copied().unwrap_or(0)
    }
}
