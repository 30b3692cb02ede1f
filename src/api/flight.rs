//! Single flight: one run of a piece of work for any number of concurrent callers, and what it brought
//! for those who come later. A caller who leaves does not cancel it. What is under way and what is kept
//! are both bounded; whether a kept value is good enough, each caller says.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::order::Millis;

/// Bounds of a [`Flights`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most pieces of work under way.
    pub in_air: usize,
    /// The most values that are kept; the oldest go first.
    pub kept: usize,
    /// The most that the kept ones may weigh together, bytes.
    pub kept_bytes: usize,
}

/// The work that is under way, and what the last of it brought, by key.
#[derive(Debug)]
pub(super) struct Flights<K, T> {
    board: Arc<Mutex<Board<K, T>>>,
    limits: Limits,
    clock: Clock,
    tracker: TaskTracker,
}

/// How a caller gets its value.
#[derive(Debug)]
pub(super) enum Joined<T> {
    /// It was there.
    Kept(T),
    /// The caller's own work brings it.
    Begun(Waiting<T>),
    /// Somebody else's does.
    Shared(Waiting<T>),
}

/// The limit of work under way is reached; nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The work panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What a piece of work brought.
#[derive(Debug)]
pub(super) struct Landed<T> {
    pub value: T,
    /// How long later callers may take it; zero: only those who wait now get it.
    pub keep: Duration,
    /// What keeping it costs, bytes.
    pub bytes: usize,
}

/// A caller's place at a flight. Dropping it leaves the flight alone.
#[derive(Debug)]
pub(super) struct Waiting<T>(watch::Receiver<Air<T>>);

/// Lets a piece of work say what it has while it goes on.
#[derive(Debug)]
pub(super) struct Progress<T>(watch::Sender<Air<T>>);

/// What those who wait see.
#[derive(Debug)]
enum Air<T> {
    Nothing,
    SoFar(T),
    Landed(T),
}

#[derive(Debug)]
struct Board<K, T> {
    air: HashMap<K, watch::Receiver<Air<T>>>,
    kept: HashMap<K, Kept<T>>,
    /// The keys of what is kept, oldest first.
    order: BTreeMap<u64, K>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Kept<T> {
    landed: Landed<T>,
    at: Millis,
    number: u64,
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub fn new(limits: Limits, clock: Clock, tracker: TaskTracker) -> Self {
        let board = Board {
            air: HashMap::new(),
            kept: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            next: 0,
        };
        Self {
            board: Arc::new(Mutex::new(board)),
            limits,
            clock,
            tracker,
        }
    }

    /// A kept value that is `good` enough, given its age.
    pub fn kept(&self, key: &K, good: impl FnOnce(&T, Duration) -> bool) -> Option<T> {
        locked(&self.board).take(key, self.clock.monotonic(), good)
    }

    /// A kept value that is `good` enough, else a place at the flight of `key`; `work` is begun when
    /// there is none. In between nothing can land, so that no caller asks for what just came.
    pub fn join<F>(
        &self,
        key: K,
        good: impl FnOnce(&T, Duration) -> bool,
        work: impl FnOnce(Progress<T>) -> F,
    ) -> Result<Joined<T>, TooMany>
    where
        F: Future<Output = Landed<T>> + Send + 'static,
    {
        let mut board = locked(&self.board);
        if let Some(value) = board.take(&key, self.clock.monotonic(), good) {
            return Ok(Joined::Kept(value));
        }
        if let Some(receiver) = board.air.get(&key) {
            return Ok(Joined::Shared(Waiting(receiver.clone())));
        }
        if board.air.len() >= self.limits.in_air {
            return Err(TooMany);
        }
        let (sender, receiver) = watch::channel(Air::Nothing);
        board.air.insert(key.clone(), receiver.clone());
        let place = Place {
            board: Arc::clone(&self.board),
            key: Some(key),
        };
        let (limits, clock) = (self.limits, self.clock);
        let work = work(Progress(sender.clone()));
        self.tracker.spawn(async move {
            let landed = work.await;
            let value = landed.value.clone();
            place.land(landed, limits, clock.monotonic());
            sender.send_replace(Air::Landed(value));
        });
        Ok(Joined::Begun(Waiting(receiver)))
    }
}

impl<T: Clone> Waiting<T> {
    /// The value, when the work has ended. Safe to cancel and to call again.
    pub async fn landed(&mut self) -> Result<T, Broken> {
        let air = self.0.wait_for(|air| matches!(air, Air::Landed(_))).await;
        match air.as_deref() {
            Ok(Air::Landed(value)) => Ok(value.clone()),
            Ok(Air::Nothing | Air::SoFar(_)) | Err(_) => Err(Broken),
        }
    }

    /// What the work has said until now.
    pub fn so_far(&self) -> Option<T> {
        match &*self.0.borrow() {
            Air::Nothing => None,
            Air::SoFar(value) | Air::Landed(value) => Some(value.clone()),
        }
    }
}

impl<T> Progress<T> {
    /// Tells those whose time is up before the work has ended.
    pub fn say(&self, value: T) {
        self.0.send_replace(Air::SoFar(value));
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Board<K, T> {
    fn take(&self, key: &K, now: Millis, good: impl FnOnce(&T, Duration) -> bool) -> Option<T> {
        let kept = self.kept.get(key)?;
        let (value, age) = (&kept.landed.value, kept.age(now));
        (age < kept.landed.keep && good(value, age)).then(|| value.clone())
    }

    fn keep(&mut self, key: K, landed: Landed<T>, limits: Limits, now: Millis) {
        self.forget(&key);
        if landed.keep.is_zero() || landed.bytes > limits.kept_bytes {
            return;
        }
        self.bytes += landed.bytes;
        let number = self.next;
        self.next += 1;
        self.order.insert(number, key.clone());
        let kept = Kept {
            landed,
            at: now,
            number,
        };
        self.kept.insert(key, kept);
        while let Some(oldest) = self.order.first_entry() {
            let over = self.kept.len() > limits.kept || self.bytes > limits.kept_bytes;
            let old = self.kept.get(oldest.get());
            if !over && old.is_some_and(|kept| kept.age(now) < kept.landed.keep) {
                return;
            }
            let oldest = oldest.get().clone();
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, key: &K) {
        if let Some(kept) = self.kept.remove(key) {
            self.order.remove(&kept.number);
            self.bytes -= kept.landed.bytes;
        }
    }
}

impl<T> Kept<T> {
    fn age(&self, now: Millis) -> Duration {
        Duration::from_millis(now.saturating_sub(self.at))
    }
}

/// A key's place in the air, given back also when the work panicked.
struct Place<K: Clone + Eq + Hash, T: Clone> {
    board: Arc<Mutex<Board<K, T>>>,
    key: Option<K>,
}

impl<K: Clone + Eq + Hash, T: Clone> Place<K, T> {
    fn land(mut self, landed: Landed<T>, limits: Limits, now: Millis) {
        if let Some(key) = self.key.take() {
            let mut board = locked(&self.board);
            board.air.remove(&key);
            board.keep(key, landed, limits, now);
        }
    }
}

impl<K: Clone + Eq + Hash, T: Clone> Drop for Place<K, T> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            locked(&self.board).air.remove(&key);
        }
    }
}

/// After a panic under the lock the worst is a kept value too many or too few.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
