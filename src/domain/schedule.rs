//! Schedules: the checked plan of delays of an order type.
//!
//! Pure and 64-bit: the shard's core draws the next delay with the order's age and position, and
//! stores the position that it gets. Nothing here knows whether a question was answered.

mod ladder;
mod stage;

pub use ladder::{Draw, Ladder, Place};
pub use stage::{SCHEDULE_MAX, StageError};

use super::order::Millis;
use super::status::Open;

/// From this delay on, orders that came together are spread by jitter; shorter ones stay as they
/// came.
pub const JITTER_FROM: Millis = 4_000;

/// No bucket is coarser than 2^20 s: the stores take no more.
const GRANULE_MAX_LOG2: u32 = 20;

/// The whole plan of one order type. By default [`Ladder::default`] for both, and then silence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// After a 3.
    pub in_progress: Ladder,
    /// After a 4.
    pub unknown: Ladder,
    /// How slowly an exhausted order is still asked; `None`: not at all.
    pub then: Option<Millis>,
}

impl Schedule {
    /// The ladder that follows `last`.
    pub fn ladder(&self, last: Open) -> &Ladder {
        match last {
            Open::InProgress => &self.in_progress,
            Open::Unknown => &self.unknown,
        }
    }

    /// The greatest age at which an order can still be asked while each question is answered in time,
    /// `then` aside: an owner may say 3 and 4 by turns and so use up both ladders; jitter (1/16) and
    /// rounding (1/32) come on top. The retention of `order-events` is computed from it.
    pub fn longest(&self) -> Millis {
        let ideal = self.in_progress.length() + self.unknown.length();
        ideal + ideal.div_ceil(32) * 3
    }

    /// What is added to `delay`: 0 to 1/16 of it from 4 s on. The same order and attempt get the same
    /// jitter, so that a repeated script writes the same due time.
    pub fn jitter(delay: Millis, order_hash: u32, attempt: u16) -> Millis {
        if delay < JITTER_FROM {
            return 0;
        }
        let hash = mix(u64::from(order_hash) << 16 | u64::from(attempt));
        let range = u128::from(delay / 16 + 1);
        ((u128::from(hash) * range) >> 64) as Millis
    }
}

/// To how many seconds the bucket of an order with this delay may be rounded up: 1 below 32 s, else
/// the largest power of two that is at most 1/32 of the delay. Keeps the lists of long delays from
/// holding one order each.
pub fn granule(delay: Millis) -> u32 {
    let most = u32::try_from(delay / 32_000).unwrap_or(u32::MAX);
    most.checked_ilog2()
        .map_or(1, |log| 1 << log.min(GRANULE_MAX_LOG2))
}

/// The finisher of splitmix64: every bit of the input moves every bit of the output.
fn mix(seed: u64) -> u64 {
    let mut hash = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
