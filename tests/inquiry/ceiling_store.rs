//! A store that keeps nothing but the ceiling, for the engine's tests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use settled::clock::Clock;
use settled::domain::order::{OrderKey, TypeName};
use settled::store::ceiling::{Reserve, Slots};
use settled::store::memory::MemoryStore;
use settled::store::script::{Found, Meta, Reply, Script, Survey};
use settled::store::{Acquire, Acquired, Dump, Store, StoreError};

/// Start times by order type, in microseconds of `clock`.
#[derive(Debug)]
pub struct CeilingStore {
    clock: Clock,
    ceilings: MemoryStore,
    granted_us: Mutex<Vec<u64>>,
    down: AtomicBool,
}

impl CeilingStore {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            ceilings: MemoryStore::new(clock),
            granted_us: Mutex::default(),
            down: AtomicBool::new(false),
        }
    }

    /// From now on no start time can be had.
    pub fn go_down(&self) {
        self.down.store(true, SeqCst);
    }

    /// All start times that were given away, in order.
    pub fn granted_us(&self) -> Vec<u64> {
        self.granted_us.lock().unwrap().clone()
    }
}

fn only_a_ceiling<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "this store only has a ceiling".into(),
    ))
}

impl Store for CeilingStore {
    async fn acquire(&self, _: Acquire) -> Result<Acquired, StoreError> {
        only_a_ceiling()
    }

    async fn run(&self, _: u16, _: &Script) -> Result<Reply, StoreError> {
        only_a_ceiling()
    }

    async fn meta(&self, _: u16) -> Result<Option<Meta>, StoreError> {
        only_a_ceiling()
    }

    async fn survey(&self, _: u16) -> Result<Survey, StoreError> {
        only_a_ceiling()
    }

    async fn find(&self, _: u16, _: &OrderKey) -> Result<Found, StoreError> {
        only_a_ceiling()
    }

    async fn find_all(&self, _: u16, _: &[OrderKey]) -> Result<Vec<Found>, StoreError> {
        only_a_ceiling()
    }

    async fn reserve(&self, order_type: &TypeName, reserve: &Reserve) -> Result<Slots, StoreError> {
        tokio::task::yield_now().await;
        if self.down.load(SeqCst) {
            return only_a_ceiling();
        }
        let now = self.clock.monotonic_us();
        let slots = self.ceilings.reserve_now(order_type, reserve, now);
        let first = now + slots.first_in_us;
        let mut granted = self.granted_us.lock().unwrap();
        let all = 0..u64::from(slots.count());
        granted.extend(all.map(|i| first + i * slots.spacing_us));
        Ok(slots)
    }

    async fn dump(&self, _: u16) -> Result<Dump, StoreError> {
        only_a_ceiling()
    }
}
