//! Schedules: the checked plan of delays of an order type.
//!
//! Pure and 64-bit: the shard's core draws the next delay with the order's age and position, and
//! stores the position that it gets. Nothing here knows whether a question was answered.

mod bounds;
mod ladder;
mod stage;

pub use bounds::{ATTEMPTS_MAX, Bounds};
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
    /// What holds for both together.
    pub bounds: Bounds,
    /// How slowly an exhausted order is still asked; `None`: not at all.
    pub then: Option<Millis>,
}

/// Where an order stands when an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// On the ladder of what was answered: 0, or what its last draw said.
    pub position: u16,
    /// Since its first event.
    pub age: Millis,
    /// Questions that were answered, this one included.
    pub asked: u16,
}

/// A question of an order whose every question is asked when due and answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the answer before it.
    pub delay: Millis,
    /// Since the event.
    pub age: Millis,
}

impl Schedule {
    /// The ladder that follows `last`.
    pub fn ladder(&self, last: Open) -> &Ladder {
        match last {
            Open::InProgress => &self.in_progress,
            Open::Unknown => &self.unknown,
        }
    }

    /// The first question of an order about which `last` was said. With a first delay it takes no
    /// place on a ladder.
    pub fn first(&self, last: Open) -> Draw {
        let draw = match self.bounds.first_delay {
            Some(delay) => Some(Draw { delay, position: 0 }),
            None => self.ladder(last).draw(0, 0),
        };
        let Draw { delay, position } = draw.unwrap_or(Draw {
            delay: 0,
            position: 0,
        });
        let delay = delay.min(self.bounds.total_age.unwrap_or(Millis::MAX));
        Draw { delay, position }
    }

    /// The next question of an order whose owner has `said` this. `None`: the schedule is over, and
    /// the answer was that to its last question: the total age, as a stage that ends at an age, has a
    /// question exactly then.
    pub fn next(&self, said: Open, stand: Stand) -> Option<Draw> {
        let Bounds {
            attempt_limit,
            total_age,
            ..
        } = self.bounds;
        if attempt_limit.is_some_and(|limit| stand.asked >= limit) {
            return None;
        }
        let left = match total_age {
            Some(total) => total.checked_sub(stand.age).filter(|left| *left > 0)?,
            None => Millis::MAX,
        };
        let draw = self.ladder(said).draw(stand.position, stand.age)?;
        Some(Draw {
            delay: draw.delay.min(left),
            ..draw
        })
    }

    /// Where an order of this age stands when nothing but its age and `last` is known (a rebuilt
    /// view): at its next question; beyond the end at one last question, due now.
    pub fn place(&self, last: Open, age: Millis) -> Place {
        let begin = self.bounds.begin();
        let place = if self.bounds.first_delay.is_some() && age <= begin {
            Place {
                position: 0,
                due_age: begin,
            }
        } else {
            self.ladder(last).place(begin, age)
        };
        let total = self.bounds.total_age.unwrap_or(Millis::MAX);
        Place {
            due_age: place.due_age.min(total).max(age),
            ..place
        }
    }

    /// The ideal course of an order that gets the same answer each time.
    pub fn steps(&self, last: Open) -> impl Iterator<Item = Step> {
        let (mut age, mut asked, mut next) = (0, 0_u16, Some(self.first(last)));
        std::iter::from_fn(move || {
            let Draw { delay, position } = next?;
            age += delay;
            asked = asked.saturating_add(1);
            let stand = Stand {
                position,
                age,
                asked,
            };
            next = self.next(last, stand);
            Some(Step { delay, age })
        })
    }

    /// The ideal age of the last question of an order that gets the same answer each time; an attempt
    /// limit may end it sooner.
    pub fn length(&self, last: Open) -> Millis {
        let length = self.ladder(last).length(self.bounds.begin());
        length.min(self.bounds.total_age.unwrap_or(Millis::MAX))
    }

    /// The greatest age at which an order can still be asked while each question is answered in time,
    /// `then` aside: an owner may say 3 and 4 by turns and so use up both ladders, unless the total
    /// age ends them; jitter (1/16) and rounding (1/32) come on top. The attempt limit does not
    /// shorten it: a rebuilt view counts attempts anew. The retention of `order-events` is computed
    /// from it.
    pub fn longest(&self) -> Millis {
        let begin = self.bounds.begin();
        let ladders = self.in_progress.length(begin) + self.unknown.length(begin) - begin;
        let ideal = ladders.min(self.bounds.total_age.unwrap_or(Millis::MAX));
        ideal + ideal.div_ceil(32) * 3
    }

    /// The longest time from an answer to the next question that is drawn with this delay: with the
    /// most jitter, and in the coarsest bucket.
    pub fn latest(delay: Millis) -> Millis {
        if delay < JITTER_FROM {
            return delay;
        }
        let jittered = delay + delay / 16;
        match granule(jittered) {
            1 => jittered,
            seconds => jittered + Millis::from(seconds) * 1000,
        }
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
mod bounds_tests;
#[cfg(test)]
mod tests;
