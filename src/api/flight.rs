//! Single flight: one run of a piece of work for any number of concurrent callers, and for those who
//! come shortly after. A caller who leaves does not cancel it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Open<K, T> = Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>;

/// The work that is under way or fresh, by key.
#[derive(Debug)]
pub(super) struct Flights<K, T> {
    open: Open<K, T>,
    limit: usize,
    fresh: Duration,
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// Why a caller got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFlight {
    /// The limit of concurrent flights is reached.
    TooMany,
    /// The work panicked.
    Broken,
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub fn new(
        limit: usize,
        fresh: Duration,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            open: Arc::default(),
            limit,
            fresh,
            tracker,
            stop,
        }
    }

    /// Waits for the flight of `key`; `work` is begun only when there is none.
    pub async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Result<T, NoFlight>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut receiver = self.receiver(key, work)?;
        let landed = receiver.wait_for(Option::is_some).await;
        landed
            .ok()
            .and_then(|value| value.clone())
            .ok_or(NoFlight::Broken)
    }

    fn receiver<F>(
        &self,
        key: K,
        work: impl FnOnce() -> F,
    ) -> Result<watch::Receiver<Option<T>>, NoFlight>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut open = locked(&self.open);
        if let Some(receiver) = open.get(&key) {
            return Ok(receiver.clone());
        }
        if open.len() >= self.limit {
            return Err(NoFlight::TooMany);
        }
        let (sender, receiver) = watch::channel(None);
        open.insert(key.clone(), receiver.clone());
        let place = Place {
            open: Arc::clone(&self.open),
            key,
        };
        let (work, fresh, stop) = (work(), self.fresh, self.stop.clone());
        self.tracker.spawn(async move {
            sender.send_replace(Some(work.await));
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(fresh) => {}
            }
            drop(place);
        });
        Ok(receiver)
    }
}

/// Gives the key's place back, also when the work panicked.
struct Place<K: Eq + Hash, T> {
    open: Open<K, T>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Place<K, T> {
    fn drop(&mut self) {
        locked(&self.open).remove(&self.key);
    }
}

/// The map stays whole after a panic: each change of it is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
