//! The view in memory: the embedded default, and the reference that the Redis store is compared
//! with. Every operation also exists without a runtime, with the time handed in, so that a simulator
//! can drive shards, snapshot them, roll them back and wipe them. It forgets all at its end.

mod ceiling;
mod look;
mod operator;
mod run;
mod shard;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ceiling::{Reserve, Slots};
use super::key::Key;
use super::operator::TypePause;
use super::script::{Found, Meta, Reply, Script, Survey};
use super::{Acquire, Acquired, Dump, Store, StoreError};
use crate::clock::Clock;
use crate::domain::order::{Millis, OrderKey, TypeName};
use ceiling::Ceiling;
use shard::Shard;

/// The view of any number of shards, in this process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    shards: Mutex<BTreeMap<u16, Shard>>,
    ceilings: Mutex<BTreeMap<TypeName, Ceiling>>,
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
    pub fn reserve_now(&self, order_type: &TypeName, reserve: &Reserve, now_us: u64) -> Slots {
        let mut ceilings = self.ceilings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = ceilings.get(order_type).copied();
        let slots = Ceiling::reserve(&mut kept, reserve, now_us);
        if let Some(kept) = kept {
            ceilings.insert(order_type.clone(), kept);
        }
        slots
    }

    /// For tests: a type's ceiling as Redis keeps it.
    pub fn ceiling(&self, order_type: &TypeName) -> Option<String> {
        let ceilings = self.ceilings.lock().unwrap_or_else(PoisonError::into_inner);
        ceilings.get(order_type).map(Ceiling::to_string)
    }

    /// For tests: replaces a type's ceiling; a text that is none forgets it.
    pub fn set_ceiling(&self, order_type: &TypeName, text: &str) {
        let mut ceilings = self.ceilings.lock().unwrap_or_else(PoisonError::into_inner);
        match text.parse() {
            Ok(ceiling) => ceilings.insert(order_type.clone(), ceiling),
            Err(()) => ceilings.remove(order_type),
        };
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

    async fn reserve(&self, order_type: &TypeName, reserve: &Reserve) -> Result<Slots, StoreError> {
        Ok(self.reserve_now(order_type, reserve, self.clock.monotonic_us()))
    }

    async fn dump(&self, shard: u16) -> Result<Dump, StoreError> {
        self.dump_now(shard)
    }
}
