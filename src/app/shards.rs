//! Follows the member group: a task for each shard or inlet that is ours, none for any other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::kafka::member::{OnRevoke, Ownership as Change};
use crate::shard::core::plan::Plan;
use crate::shard::{Inlet, Ownership, Ports, Shard};
use crate::store::Store;

/// Generations of one assignment: no shard begins so many before it is assigned anew.
const GENERATIONS: u64 = 1 << 32;

/// The assignments that stand, so that a revocation takes effect inside the group's callback.
#[derive(Clone, Default)]
pub(super) struct Owned(Arc<Mutex<HashMap<u16, Ownership>>>);

impl Owned {
    /// Flips the generations of revoked partitions; called on the member's thread.
    pub fn on_revoke(&self) -> OnRevoke {
        let owned = self.clone();
        Box::new(move |partitions| {
            let standing = owned.0.lock().unwrap_or_else(PoisonError::into_inner);
            for ownership in partitions
                .iter()
                .filter_map(|partition| standing.get(partition))
            {
                ownership.revoke();
            }
        })
    }

    fn insert(&self, partition: u16) -> Ownership {
        let ownership = Ownership::default();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(partition, ownership.clone());
        ownership
    }

    fn remove(&self, partition: u16) {
        if let Some(ownership) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&partition)
        {
            ownership.revoke();
        }
    }
}

/// The tasks of this worker's shards and inlets.
pub(super) struct Shards<S> {
    ports: Arc<Ports<S>>,
    owned: Owned,
    tasks: TaskTracker,
    running: HashMap<u16, (CancellationToken, JoinHandle<()>)>,
    generation: u64,
}

impl<S: Store> Shards<S> {
    pub fn new(ports: Arc<Ports<S>>, owned: Owned, tasks: TaskTracker) -> Self {
        Self {
            ports,
            owned,
            tasks,
            running: HashMap::new(),
            generation: 0,
        }
    }

    /// Follows a change, and what has queued up behind it: a partition that came and went again is
    /// not started in between.
    pub fn follow(&mut self, change: Change, changes: &mut mpsc::Receiver<Change>) {
        let mut wanted: HashMap<u16, bool> = HashMap::new();
        let mut next = Some(change);
        while let Some(change) = next {
            let (partitions, ours) = match change {
                Change::Assigned(partitions) => (partitions, true),
                Change::Revoked(partitions) | Change::Lost(partitions) => (partitions, false),
            };
            tracing::info!(?partitions, ours, "ownership changed");
            for partition in partitions {
                // What stood before any revocation has ended, even if the partition came back.
                if !ours {
                    self.end(partition);
                }
                wanted.insert(partition, ours);
            }
            next = changes.try_recv().ok();
        }
        for (partition, _) in wanted.into_iter().filter(|(_, ours)| *ours) {
            self.begin(partition);
        }
    }

    fn begin(&mut self, partition: u16) {
        if self.running.contains_key(&partition) {
            return;
        }
        self.generation += GENERATIONS;
        let ownership = self.owned.insert(partition);
        let stop = CancellationToken::new();
        let ports = Arc::clone(&self.ports);
        let task = if partition < self.ports.shards {
            let types = ports.types.borrow().to_vec();
            let plan = Plan::new(partition, ports.shards, ports.window, types);
            let shard = Shard::new(ports, plan, self.generation, ownership);
            self.tasks.spawn(shard.run(stop.clone()))
        } else {
            let inlet = Inlet::new(ports, partition, self.generation, ownership);
            self.tasks.spawn(inlet.run(stop.clone()))
        };
        self.running.insert(partition, (stop, task));
    }

    fn end(&mut self, partition: u16) {
        self.owned.remove(partition);
        if let Some((stop, _)) = self.running.remove(&partition) {
            stop.cancel();
        }
    }

    /// Resolves when a task has ended that nobody told to: a panic.
    pub async fn panicked(&mut self) -> anyhow::Error {
        let ended = self.running.iter_mut().map(|(partition, (_, task))| {
            Box::pin(async move {
                let outcome = task.await;
                anyhow::anyhow!("the task of partition {partition} has ended: {outcome:?}")
            })
        });
        let ended: Vec<_> = ended.collect();
        if ended.is_empty() {
            return std::future::pending().await;
        }
        futures_util::future::select_all(ended).await.0
    }

    /// Ends everything.
    pub fn stop(&mut self) {
        let partitions: Vec<_> = self.running.keys().copied().collect();
        for partition in partitions {
            self.end(partition);
        }
    }
}

#[cfg(test)]
impl<S: Store> Shards<S> {
    /// A task as if it were a partition's.
    pub fn run(&mut self, partition: u16, task: JoinHandle<()>) {
        self.running
            .insert(partition, (CancellationToken::new(), task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_takes_effect_inside_the_groups_callback_and_on_what_it_names_alone() {
        let owned = Owned::default();
        let revokes = owned.on_revoke();
        let [kept, gone] = [3, 4].map(|partition| owned.insert(partition));
        revokes(&[4, 5]);
        assert!(gone.is_revoked() && !kept.is_revoked());
        let again = owned.insert(4);
        assert!(!again.is_revoked(), "it came back");
        owned.remove(3);
        assert!(kept.is_revoked());
    }
}
