//! A store that keeps nothing but the ceiling, for the engine's tests.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use settled::clock::Clock;
use settled::domain::order::{OrderKey, TypeName};
use settled::store::script::{Found, Meta, Reply, Script, Survey};
use settled::store::{Acquire, Acquired, Dump, Slots, Store, StoreError};

/// Start times by order type, in microseconds of `clock`.
#[derive(Debug)]
pub struct CeilingStore {
    clock: Clock,
    next_free_us: Mutex<HashMap<TypeName, u64>>,
    granted_us: Mutex<Vec<u64>>,
    down: AtomicBool,
}

impl CeilingStore {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            next_free_us: Mutex::default(),
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

    async fn reserve(
        &self,
        order_type: &TypeName,
        count: u32,
        per_second: f64,
    ) -> Result<Slots, StoreError> {
        tokio::task::yield_now().await;
        if self.down.load(SeqCst) {
            return only_a_ceiling();
        }
        let now = self.clock.monotonic_us();
        #[expect(clippy::cast_sign_loss, reason = "a rate is positive")]
        let spacing = (1e6 / per_second) as u64;
        let mut next_free = self.next_free_us.lock().unwrap();
        let free = next_free.entry(order_type.clone()).or_default();
        let first = now.max(*free);
        let count = u64::from(count).min((now + 1_000_000 - first) / spacing);
        *free = first + count * spacing;
        let mut granted = self.granted_us.lock().unwrap();
        granted.extend((0..count).map(|i| first + i * spacing));
        Ok(Slots {
            first_in_us: first - now,
            count: count as u32,
        })
    }

    async fn dump(&self, _: u16) -> Result<Dump, StoreError> {
        only_a_ceiling()
    }
}
