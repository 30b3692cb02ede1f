//! Looks into the view: one at a time a shard, which takes along all who have come meanwhile. A crowd
//! of callers must not stand before the shards' own scripts, nor before the start times of questions.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::ports::Port;
use crate::domain::order::OrderKey;
use crate::store::StoreError;
use crate::store::script::Found;

/// The most orders in one look.
const LOOK_MAX: usize = 100;

/// The most callers that wait for one shard; with Redis down they would only grow older.
const WAITING_MAX: usize = 4096;

/// The view could not be read, or too many wait to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread;

type Answer = Result<Vec<Found>, Unread>;
type Find = Port<(u16, Vec<OrderKey>), Result<Vec<Found>, StoreError>>;

/// The way to the view.
pub(super) struct Looks {
    find: Find,
    /// Who waits, of each shard that somebody looks into.
    shards: Arc<Mutex<HashMap<u16, VecDeque<Waiting>>>>,
    tracker: TaskTracker,
}

/// A caller's orders.
#[derive(Debug)]
struct Waiting {
    keys: Vec<OrderKey>,
    caller: oneshot::Sender<Answer>,
}

impl Looks {
    pub fn new(find: Find, tracker: TaskTracker) -> Self {
        Self {
            find,
            shards: Arc::default(),
            tracker,
        }
    }

    /// What the view knows of orders of one shard, in their order. Cancelling leaves the look to the
    /// others.
    pub async fn find(&self, shard: u16, keys: Vec<OrderKey>) -> Answer {
        let (caller, answer) = oneshot::channel();
        {
            let mut shards = locked(&self.shards);
            let begins = !shards.contains_key(&shard);
            let waiting = shards.entry(shard).or_default();
            if waiting.len() >= WAITING_MAX {
                return Err(Unread);
            }
            waiting.push_back(Waiting { keys, caller });
            if begins {
                let looking = Looking {
                    find: Arc::clone(&self.find),
                    shards: Arc::clone(&self.shards),
                    shard,
                };
                self.tracker.spawn(looking.run());
            }
        }
        answer.await.unwrap_or(Err(Unread))
    }
}

impl std::fmt::Debug for Looks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Looks")
    }
}

/// The one that looks into a shard. Dropped, also by a panic, it lets the next caller begin anew.
struct Looking {
    find: Find,
    shards: Arc<Mutex<HashMap<u16, VecDeque<Waiting>>>>,
    shard: u16,
}

impl Looking {
    /// Until nobody waits.
    async fn run(self) {
        while let Some(group) = self.next_group() {
            let keys = group.iter().flat_map(|waiting| waiting.keys.clone());
            let found = (self.find)((self.shard, keys.collect())).await;
            if let Err(error) = &found {
                tracing::warn!(
                    shard = self.shard,
                    callers = group.len(),
                    %error,
                    "the view was not read for the API"
                );
            }
            let mut found = found.map(Vec::into_iter).map_err(|_| Unread);
            for Waiting { keys, caller } in group {
                let answer = match &mut found {
                    Ok(found) => Ok(found.by_ref().take(keys.len()).collect()),
                    Err(unread) => Err(*unread),
                };
                if caller.send(answer).is_err() {
                    tracing::debug!("a caller did not wait for the view");
                }
            }
        }
    }

    /// Those who wait longest and have not left; `None`: nobody does, and the shard is given back.
    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut shards = locked(&self.shards);
        let waiting = shards.get_mut(&self.shard)?;
        let (mut group, mut orders) = (Vec::new(), 0);
        while let Some(next) = waiting.front() {
            let left = next.caller.is_closed();
            if !left && orders > 0 && orders + next.keys.len() > LOOK_MAX {
                break;
            }
            if let Some(next) = waiting.pop_front()
                && !left
            {
                orders += next.keys.len();
                group.push(next);
            }
        }
        if group.is_empty() {
            shards.remove(&self.shard);
        }
        (!group.is_empty()).then_some(group)
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        // Of a run to the end there is nothing left, unless another has begun since.
        if std::thread::panicking() {
            locked(&self.shards).remove(&self.shard);
        }
    }
}

/// Each change of the map is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures_util::future::join_all;

    use super::super::ports::port;
    use super::*;

    fn key(number: usize) -> OrderKey {
        OrderKey::parse(&format!("transfer/TX{number}")).unwrap()
    }

    /// Finds each order settled at the offset that is its number, and counts the looks.
    fn looks(first: impl Fn() + Send + Sync + 'static) -> (Looks, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let find = port(move |(_, keys): (u16, Vec<OrderKey>)| {
            assert!(keys.len() <= LOOK_MAX);
            if counted.fetch_add(1, Relaxed) == 0 {
                first();
            }
            let found = keys.iter().map(|key| Found::Settled {
                status: crate::domain::status::Terminal::Success,
                offset: key.req_no.as_str()[2..].parse().unwrap(),
            });
            let found = found.collect();
            async move { Ok(found) }
        });
        (Looks::new(find, TaskTracker::new()), count)
    }

    fn offsets(answer: Answer) -> Vec<u64> {
        let found = answer.unwrap().into_iter();
        found
            .map(|found| match found {
                Found::Settled { offset, .. } => offset,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn a_crowd_is_looked_up_by_the_hundred_and_each_gets_its_own() {
        let (looks, count) = looks(|| {});
        let crowd = (0..250).map(|n| looks.find(3, vec![key(n)]));
        for (n, answer) in join_all(crowd).await.into_iter().enumerate() {
            assert_eq!(offsets(answer), [n as u64]);
        }
        assert_eq!(count.load(Relaxed), 3);
        let many = (0..100).map(key).collect::<Vec<_>>();
        let (one, other) = tokio::join!(looks.find(3, many), looks.find(3, vec![key(7), key(8)]));
        assert_eq!(offsets(one), (0..100).collect::<Vec<_>>());
        assert_eq!(offsets(other), [7, 8]);
        assert_eq!(count.load(Relaxed), 5);
        assert!(locked(&looks.shards).is_empty(), "nothing stays");
    }

    #[tokio::test]
    async fn shards_do_not_wait_for_each_other() {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let closed = Arc::clone(&gate);
        let find = port(move |(shard, _): (u16, Vec<OrderKey>)| {
            let closed = Arc::clone(&closed);
            async move {
                if shard == 1 {
                    closed.acquire().await.unwrap().forget();
                }
                Ok(vec![Found::Unknown])
            }
        });
        let looks = Looks::new(find, TaskTracker::new());
        let slow = looks.find(1, vec![key(1)]);
        tokio::pin!(slow);
        assert!(futures_util::poll!(&mut slow).is_pending());
        assert_eq!(looks.find(2, vec![key(2)]).await, Ok(vec![Found::Unknown]));
        assert!(futures_util::poll!(&mut slow).is_pending());
        gate.add_permits(1);
        assert_eq!(slow.await, Ok(vec![Found::Unknown]));
    }

    #[tokio::test]
    async fn more_than_the_limit_of_callers_are_turned_away() {
        let (looks, _) = looks(|| {});
        let crowd = (0..=WAITING_MAX).map(|n| looks.find(3, vec![key(n)]));
        let answers = join_all(crowd).await;
        let unread = answers.iter().filter(|answer| answer.is_err());
        assert_eq!(unread.count(), 1);
        assert!(answers[WAITING_MAX].is_err());
    }

    #[tokio::test]
    async fn a_panic_costs_those_who_wait_and_nobody_later() {
        let (looks, _) = looks(|| panic!("on purpose"));
        assert_eq!(looks.find(3, vec![key(1)]).await, Err(Unread));
        assert_eq!(offsets(looks.find(3, vec![key(2)]).await), [2]);
    }
}
