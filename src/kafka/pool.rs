//! The threads on which publishers do what blocks, eight for commits and eight for opening, and the one
//! that destroys the discarded ones. Whoever drives a shard awaits; no shard's commit may hold up the
//! runtime, nor more than an eighth of the others. Opening waits for a coordinator, ten seconds where
//! that is away: shards that recover must not hold up the commits of those that work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// A producer per shard would need a thread per shard; commits wait for brokers, so eight keep the
/// brokers busy.
const THREADS: usize = 8;

/// Twice the greatest number of shards, each with one job at a time.
const QUEUE: usize = 512;

type Job = Box<dyn FnOnce() + Send>;

/// Cloning shares the threads; they end with the last clone.
#[derive(Clone)]
pub(super) struct Pool {
    commits: SyncSender<Job>,
    /// A token for each commit that is queued or runs.
    committing: TaskTracker,
    openings: SyncSender<Job>,
    discarded: SyncSender<Box<dyn Send>>,
}

/// Why a job did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotRun {
    /// The queue is full.
    Busy,
    /// The threads have ended, or the job panicked.
    Ended,
}

impl Pool {
    pub(super) fn start() -> std::io::Result<Self> {
        let (discarded, remains) = sync_channel::<Box<dyn Send>>(QUEUE);
        std::thread::Builder::new()
            .name("kafka-reaper".to_owned())
            .spawn(move || remains.into_iter().for_each(drop))?;
        Ok(Self {
            commits: threads("kafka-publish")?,
            committing: TaskTracker::new(),
            openings: threads("kafka-open")?,
            discarded,
        })
    }

    /// Queues a commit at once; the future is its outcome. When nobody waits any more, the outcome is
    /// dropped on the pool's thread.
    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, NotRun>> + Send + 'static {
        let token = self.committing.token();
        queue(&self.commits, move || {
            let _until_the_end = token;
            job()
        })
    }

    /// Resolves when no commit is queued or runs; cancelled, nothing has changed.
    pub(super) async fn idle(&self) {
        self.committing.close();
        self.committing.wait().await;
    }

    /// As [`Pool::run`], on the threads for opening.
    pub(super) fn open<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, NotRun>> + Send + 'static {
        queue(&self.openings, job)
    }

    /// Drops something whose end can block: a producer flushes for half a second.
    pub(super) fn discard(&self, what: impl Send + 'static) {
        if let Err(error) = self.discarded.try_send(Box::new(what)) {
            tracing::warn!(%error, "a discarded producer is destroyed in place");
        }
    }
}

/// Starts threads that serve one queue.
fn threads(name: &str) -> std::io::Result<SyncSender<Job>> {
    let (jobs, queue) = sync_channel::<Job>(QUEUE);
    let queue = Arc::new(Mutex::new(queue));
    for number in 0..THREADS {
        let queue = Arc::clone(&queue);
        std::thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || {
                while let Some(job) = next(&queue) {
                    // A panic is seen by the one who waits for this job; the thread serves on.
                    drop(catch_unwind(AssertUnwindSafe(job)));
                }
            })?;
    }
    Ok(jobs)
}

fn queue<T: Send + 'static>(
    jobs: &SyncSender<Job>,
    job: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, NotRun>> + Send + 'static {
    let (report, outcome) = oneshot::channel();
    let job = Box::new(move || drop(report.send(job())));
    let queued = jobs.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => NotRun::Busy,
        TrySendError::Disconnected(_) => NotRun::Ended,
    });
    async move {
        queued?;
        outcome.await.map_err(|_| NotRun::Ended)
    }
}

fn next(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_is_reported_and_costs_no_thread() {
        let pool = Pool::start().unwrap();
        for _ in 0..THREADS * 2 {
            let outcome = pool.run(|| panic!("as the test wants")).await;
            assert_eq!(outcome.map(|()| 0), Err(NotRun::Ended));
        }
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let pool = Pool::start().unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let shared = Arc::new(Mutex::new(blocked));
        let mut waiting = Vec::new();
        for _ in 0..THREADS + QUEUE {
            let job = Arc::clone(&shared);
            waiting.push(pool.run(move || job.lock().unwrap().recv().is_ok()));
        }
        let mut refused = 0;
        for _ in 0..=THREADS {
            let outcome = tokio::time::timeout(std::time::Duration::ZERO, pool.run(|| ())).await;
            refused += usize::from(outcome == Ok(Err(NotRun::Busy)));
        }
        assert!(refused > 0);
        drop(release);
    }

    #[tokio::test]
    async fn it_is_idle_when_the_last_commit_has_ended_though_nobody_waits_for_that() {
        let pool = Pool::start().unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        drop(pool.run(move || blocked.recv().is_ok()));
        let looked = tokio::time::timeout(std::time::Duration::ZERO, pool.idle());
        assert!(looked.await.is_err());
        drop(release);
        let looked = tokio::time::timeout(std::time::Duration::from_secs(10), pool.idle());
        assert!(looked.await.is_ok());
    }

    #[tokio::test]
    async fn openings_that_hang_hold_up_no_commit() {
        let pool = Pool::start().unwrap();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let shared = Arc::new(Mutex::new(blocked));
        let mut hanging = Vec::new();
        for _ in 0..THREADS * 2 {
            let job = Arc::clone(&shared);
            hanging.push(pool.open(move || job.lock().unwrap().recv().is_ok()));
        }
        let committed = tokio::time::timeout(std::time::Duration::from_secs(10), pool.run(|| 7));
        assert_eq!(committed.await, Ok(Ok(7)));
        drop(release);
        for opening in hanging {
            assert_eq!(opening.await, Ok(false));
        }
    }
}
