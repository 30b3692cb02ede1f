//! The start times that this worker reserved from an order type's ceiling. Pure: the dispatcher
//! passes the time in, fetches blocks from the store and starts a question only on a slot of one.
//!
//! A block is laid from the moment its reply arrived, so that no slot comes early, and forfeited by
//! the moment it was requested, so that a slow store cannot pile two blocks onto one instant.

use std::collections::VecDeque;

use crate::store::ceiling::{ByShare, Share, Slots};

/// A slot that is this late is lost; the owner must not get a stall's questions all at once.
const FORFEIT_US: u64 = 100_000;

/// The most slots a block, whatever the ceiling.
const BLOCK_MAX: u32 = 250;

/// How far ahead of demand a block reaches, so that a steady trickle of questions costs the store
/// one command per 10 ms rather than one per question.
const AHEAD_US: u64 = 10_000;

/// Reserved start times of one order type.
#[derive(Debug)]
pub(super) struct Ceiling {
    /// The most slots that are asked for at once.
    block_max: u32,
    blocks: VecDeque<Block>,
    /// How many of them each share has a claim on.
    credit: ByShare<u32>,
    used_since_asked: ByShare<u32>,
    asked_at_us: u64,
}

/// A run of slots, `spacing` apart.
#[derive(Clone, Copy, Debug)]
struct Block {
    spacing_ns: u64,
    /// The next slot, by the moment the reply arrived, and by the moment it was requested.
    next_ns: u64,
    next_if_no_delay_ns: u64,
    left: u32,
}

impl Ceiling {
    /// `per_second` is checked by the engine: finite and above 0.
    #[expect(clippy::cast_sign_loss, reason = "positive")]
    pub(super) fn new(per_second: f64) -> Self {
        Self {
            // A tenth of a second's worth: ten workers that all have a backlog get their turn.
            block_max: ((per_second / 10.0) as u32).clamp(1, BLOCK_MAX),
            blocks: VecDeque::with_capacity(2),
            credit: [0; 3],
            used_since_asked: [0; 3],
            asked_at_us: 0,
        }
    }

    /// The next slot in microseconds, which may have passed; those too late are dropped. `None`:
    /// a block must be reserved first.
    pub(super) fn next(&mut self, now_us: u64) -> Option<u64> {
        let oldest_ns = now_us.saturating_sub(FORFEIT_US) * 1000;
        while let Some(block) = self.blocks.front_mut() {
            let late_ns = oldest_ns.saturating_sub(block.next_if_no_delay_ns);
            let lost = late_ns.div_ceil(block.spacing_ns);
            if lost < u64::from(block.left) {
                block.skip(lost as u32);
                let next = block.next_ns.div_ceil(1000);
                self.trim();
                return Some(next);
            }
            self.blocks.pop_front();
        }
        self.trim();
        None
    }

    /// The slot behind `before` others, in microseconds.
    pub(super) fn nth(&self, before: usize) -> Option<u64> {
        let mut before = before as u64;
        for block in &self.blocks {
            if before < u64::from(block.left) {
                return Some((block.next_ns + before * block.spacing_ns).div_ceil(1000));
            }
            before -= u64::from(block.left);
        }
        None
    }

    /// Uses the slot that [`Ceiling::next`] returned for a question of `share`.
    pub(super) fn take(&mut self, share: Share) {
        if let Some(block) = self.blocks.front_mut() {
            block.skip(1);
            if block.left == 0 {
                self.blocks.pop_front();
            }
            let used = &mut self.used_since_asked[share as usize];
            *used = used.saturating_add(1);
            let credit = &mut self.credit[share as usize];
            *credit = credit.saturating_sub(1);
            self.trim();
        }
    }

    /// Gives up all slots at hand.
    pub(super) fn forfeit(&mut self) {
        self.blocks.clear();
        self.trim();
    }

    /// How many slots at hand a share has a claim on.
    pub(super) fn credit(&self, share: Share) -> u32 {
        self.credit[share as usize]
    }

    /// Slots that were lost are lost to the shares that can best do without.
    fn trim(&mut self) {
        let left: u32 = self.blocks.iter().map(|block| block.left).sum();
        let mut over = self.credit.iter().sum::<u32>().saturating_sub(left);
        for credit in self.credit.iter_mut().rev() {
            let lost = over.min(*credit);
            *credit -= lost;
            over -= lost;
        }
    }

    /// How many slots to reserve for `waiting` questions; 0: enough are at hand. Half a block is
    /// kept in hand while more of the shards' questions wait, so that the way to the store costs no
    /// start time.
    pub(super) fn wanted(&self, waiting: ByShare<u32>, now_us: u64) -> ByShare<u32> {
        let since_us = now_us.saturating_sub(self.asked_at_us).max(1000);
        let mut needs = [0; 3];
        for share in Share::ALL {
            let i = share as usize;
            let (waiting, credit) = (waiting[i], self.credit[i]);
            if waiting <= credit {
                continue;
            }
            needs[i] = match share {
                Share::Callers => waiting - credit,
                Share::First | Share::Rest if credit > self.block_max / 2 => 0,
                Share::First | Share::Rest => {
                    let used = u64::from(self.used_since_asked[i]);
                    let ahead = (used * AHEAD_US / since_us).min(u64::from(self.block_max));
                    waiting - credit + ahead as u32
                }
            };
        }
        needs.map(|need| need.min(self.block_max))
    }

    /// The most slots a block.
    pub(super) fn block_max(&self) -> u32 {
        self.block_max
    }

    /// Notes that a block was requested.
    pub(super) fn asked(&mut self, now_us: u64) {
        self.asked_at_us = now_us;
        self.used_since_asked = [0; 3];
    }

    /// Adds a block that was requested at `sent_us` and came at `came_us`.
    pub(super) fn add(&mut self, slots: &Slots, sent_us: u64, came_us: u64) {
        if slots.count() > 0 {
            self.blocks.push_back(Block {
                spacing_ns: slots.spacing_us.max(1) * 1000,
                next_ns: (came_us + slots.first_in_us) * 1000,
                next_if_no_delay_ns: (sent_us + slots.first_in_us) * 1000,
                left: slots.count(),
            });
            for (credit, count) in self.credit.iter_mut().zip(slots.counts) {
                *credit += count;
            }
        }
    }
}

impl Block {
    fn skip(&mut self, count: u32) {
        let by = u64::from(count).saturating_mul(self.spacing_ns);
        self.next_ns = self.next_ns.saturating_add(by);
        self.next_if_no_delay_ns = self.next_if_no_delay_ns.saturating_add(by);
        self.left -= count;
    }
}

#[cfg(test)]
mod tests;
