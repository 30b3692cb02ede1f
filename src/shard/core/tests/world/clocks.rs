//! The clocks of others: the store's, from which shard time begins at an acquire, and the brokers',
//! which date every record. Both may step.

use super::World;
use crate::domain::order::Millis;

/// How far the store's clock may stray, either way.
const STORE_MAX: Millis = 300_000;

/// How far the brokers' clocks may stray: two of them differ by less than a floor allows for.
const BROKERS_MAX: Millis = 25_000;

/// A repetition so near to the end of the window is promised nothing: the clocks may have strayed.
pub const STRAYED_MAX: Millis = 2 * (STORE_MAX + BROKERS_MAX);

/// How far each is ahead of the world's time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    store: i64,
    brokers: i64,
    /// One of them has stepped.
    pub stepped: bool,
}

impl World {
    pub(super) fn store_now(&self) -> Millis {
        self.now.saturating_add_signed(self.clocks.store)
    }

    pub(super) fn brokers_now(&self) -> Millis {
        self.now.saturating_add_signed(self.clocks.brokers)
    }

    pub(super) fn step_a_clock(&mut self) {
        self.clocks.stepped = true;
        if self.dice.in_thousand(500) {
            self.clocks.store = self.stray(STORE_MAX);
        } else {
            self.clocks.brokers = self.stray(BROKERS_MAX);
        }
    }

    fn stray(&mut self, most: Millis) -> i64 {
        let far = self.dice.below(most).cast_signed();
        if self.dice.in_thousand(500) {
            far
        } else {
            -far
        }
    }
}
