//! The view in memory: the embedded default, and the reference that the Redis store is compared
//! with. Every operation also exists without a runtime, with the time handed in, so that a simulator
//! can drive shards, snapshot them, roll them back and wipe them. It forgets all at its end.

mod look;
mod operator;
mod run;
mod shard;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::key::Key;
use super::operator::TypePause;
use super::script::{Found, Meta, Reply, Script, Survey};
use super::{Acquire, Acquired, Dump, Slots, Store, StoreError};
use crate::clock::Clock;
use crate::domain::order::{Millis, OrderKey, TypeName};
use shard::Shard;

/// How far ahead start times are reserved, microseconds.
const AHEAD_US: u64 = 1_000_000;

/// The view of any number of shards, in this process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: Mutex<BTreeMap<u16, Shard>>,
    ceilings: Mutex<BTreeMap<TypeName, u64>>,
    pauses: Mutex<BTreeMap<TypeName, TypePause>>,
}

/// One shard's view as it was at some moment.
#[derive(Clone, Debug)]
pub struct Snapshot(Shard);

impl MemoryStore {
    /// An empty store; the clock serves the asynchronous operations only.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            shards: Mutex::default(),
            ceilings: Mutex::default(),
            pauses: Mutex::default(),
        }
    }

    /// As [`Store::acquire`], at `now`.
    pub fn acquire_now(&self, acquire: Acquire, now: Millis) -> Result<Acquired, StoreError> {
        self.with(acquire.shard, |shard| shard.acquire(&acquire, now))
    }

    /// As [`Store::run`].
    pub fn apply(&self, shard: u16, script: &Script) -> Result<Reply, StoreError> {
        self.with(shard, |shard| shard.run(script))
    }

    /// As [`Store::meta`], at `now`.
    pub fn meta_now(&self, shard: u16, now: Millis) -> Result<Option<Meta>, StoreError> {
        self.with(shard, |shard| shard.read_meta(now))
    }

    /// As [`Store::survey`].
    pub fn survey_now(&self, shard: u16) -> Result<Survey, StoreError> {
        self.with(shard, |shard| shard.survey())
    }

    /// As [`Store::find`].
    pub fn find_now(&self, shard: u16, order: &OrderKey) -> Result<Found, StoreError> {
        self.with(shard, |shard| shard.find(order))
    }

    /// As [`Store::dump`].
    pub fn dump_now(&self, shard: u16) -> Result<Dump, StoreError> {
        self.with(shard, |shard| shard.dump())
    }

    /// As [`Store::reserve`], at `now_us` microseconds of any clock that does not go back.
    pub fn reserve_now(
        &self,
        order_type: &TypeName,
        count: u32,
        per_second: f64,
        now_us: u64,
    ) -> Slots {
        let Some(spacing) = super::spacing_us(per_second) else {
            return Slots {
                first_in_us: AHEAD_US,
                count: 0,
            };
        };
        let mut ceilings = self.ceilings.lock().unwrap_or_else(PoisonError::into_inner);
        let next = ceilings.entry(order_type.clone()).or_default();
        let first = (*next).max(now_us);
        let room = (now_us + AHEAD_US + spacing).saturating_sub(first) / spacing;
        let count = count.min(u32::try_from(room).unwrap_or(u32::MAX));
        if count > 0 {
            *next = first + u64::from(count) * spacing;
        }
        Slots {
            first_in_us: first - now_us,
            count,
        }
    }

    /// Everything that the shard's view holds now.
    pub fn snapshot(&self, shard: u16) -> Snapshot {
        self.with(shard, |shard| Snapshot(shard.clone()))
    }

    /// Rolls the shard back (or forward) to a snapshot.
    pub fn restore(&self, shard: u16, snapshot: Snapshot) {
        self.with(shard, |shard| *shard = snapshot.0);
    }

    /// Forgets the shard's view.
    pub fn wipe(&self, shard: u16) {
        self.with(shard, |shard| *shard = Shard::default());
    }

    /// For tests: the key answers as if its value were of the wrong type, until [`Self::mend`].
    pub fn damage(&self, shard: u16, key: Key) {
        self.with(shard, |shard| shard.damaged.insert(key));
    }

    /// For tests: ends [`Self::damage`].
    pub fn mend(&self, shard: u16, key: Key) {
        self.with(shard, |shard| shard.damaged.remove(&key));
    }

    /// For tests: loses one key with its content.
    pub fn lose(&self, shard: u16, key: Key) {
        self.with(shard, |shard| shard.lose(key));
    }

    /// For tests: the dump with every bucket, those of stale entries too.
    pub fn dump_with_stale_buckets(&self, shard: u16) -> Dump {
        self.with(shard, |shard| shard.dump_all())
    }

    fn with<T>(&self, shard: u16, act: impl FnOnce(&mut Shard) -> T) -> T {
        let mut shards: MutexGuard<'_, _> =
            self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        act(shards.entry(shard).or_default())
    }
}

impl Store for MemoryStore {
    async fn acquire(&self, acquire: Acquire) -> Result<Acquired, StoreError> {
        self.acquire_now(acquire, self.clock.wall())
    }

    async fn run(&self, shard: u16, script: &Script) -> Result<Reply, StoreError> {
        self.apply(shard, script)
    }

    async fn meta(&self, shard: u16) -> Result<Option<Meta>, StoreError> {
        self.meta_now(shard, self.clock.wall())
    }

    async fn survey(&self, shard: u16) -> Result<Survey, StoreError> {
        self.survey_now(shard)
    }

    async fn find_all(&self, shard: u16, orders: &[OrderKey]) -> Result<Vec<Found>, StoreError> {
        let found = orders.iter().map(|order| self.find_now(shard, order));
        found.collect()
    }

    async fn reserve(
        &self,
        order_type: &TypeName,
        count: u32,
        per_second: f64,
    ) -> Result<Slots, StoreError> {
        Ok(self.reserve_now(order_type, count, per_second, self.clock.monotonic_us()))
    }

    async fn dump(&self, shard: u16) -> Result<Dump, StoreError> {
        self.dump_now(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_are_spaced_and_at_most_a_second_ahead() {
        let store = MemoryStore::new(Clock::start());
        let name = TypeName::new("transfer").unwrap();
        let first = store.reserve_now(&name, 4, 10.0, 5_000_000);
        assert_eq!((first.first_in_us, first.count), (0, 4));
        // 400 ms are taken: seven more fit into the second, both ends included.
        let second = store.reserve_now(&name, 100, 10.0, 5_000_000);
        assert_eq!((second.first_in_us, second.count), (400_000, 7));
        assert_eq!(store.reserve_now(&name, 1, 10.0, 5_000_000).count, 0);
        // A past value begins again at now.
        let later = store.reserve_now(&name, 1, 10.0, 9_000_000);
        assert_eq!((later.first_in_us, later.count), (0, 1));
        assert_eq!(store.reserve_now(&name, 1, 0.0, 9_000_000).count, 0);
    }
}
