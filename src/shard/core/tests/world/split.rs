//! A split of the store: for a while one worker speaks to a master that the others have given up.
//! When it ends, what one of the two has written since is gone.

use super::said::SHARD;
use super::{Happening, World};
use crate::clock::Clock;
use crate::store::memory::MemoryStore;

/// The master on the other side, and who is there with it.
#[derive(Debug)]
pub struct Split {
    pub store: MemoryStore,
    pub worker: usize,
}

impl World {
    /// The store that a worker speaks to.
    pub(super) fn store_of(&self, worker: usize) -> &MemoryStore {
        match &self.split {
            Some(split) if split.worker == worker => &split.store,
            _ => &self.store,
        }
    }

    pub(super) fn split(&mut self) {
        if self.split.is_some() {
            return;
        }
        let store = MemoryStore::new(Clock::start());
        store.restore(SHARD, self.store.snapshot(SHARD));
        let owner = self.owner.unwrap_or(0);
        let worker = self.dice.weighted(&[(3, owner), (1, 1 - owner)]);
        self.split = Some(Split { store, worker });
        let heals = self.dice.between(100, 15_000);
        self.at(heals, Happening::Heal);
    }

    /// One of the two masters wins.
    pub(super) fn heal(&mut self) {
        let Some(split) = self.split.take() else {
            return;
        };
        if self.dice.in_thousand(300) {
            self.store.restore(SHARD, split.store.snapshot(SHARD));
        }
        self.watch.forget_effects();
    }
}
