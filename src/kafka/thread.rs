//! A thread that owns one librdkafka handle: named, told to stop by a flag, its end awaited with a
//! deadline. Dropping a consumer can hang (rust-rdkafka#509), so nobody ever joins one: a thread that
//! does not end in time is left behind and dies with the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::oneshot;

/// Why a handle's thread did not start, or ended without having been asked.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// The handle is of no more use.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The system gave no thread.
    #[error("no thread: {0}")]
    NoThread(#[from] std::io::Error),
    /// Nobody took what it had to say.
    #[error("nobody takes the changes of ownership")]
    Unheard,
    /// A bug.
    #[error("the thread panicked")]
    Panicked,
}

/// Looked at by the thread in each of its turns.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Whether the thread was told to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A running handle. Dropping it tells the thread to stop and does not wait.
#[derive(Debug)]
pub struct KafkaThread {
    stop: StopFlag,
    /// `None` once the end was told.
    ended: Option<oneshot::Receiver<Result<(), ThreadError>>>,
}

impl KafkaThread {
    /// Starts `run` on a thread of its own.
    pub fn spawn(
        name: &str,
        run: impl FnOnce(&StopFlag) -> Result<(), ThreadError> + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = StopFlag::default();
        let (report, ended) = oneshot::channel();
        let flag = stop.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let outcome = run(&flag);
                // Nobody listens when the owner did not wait.
                drop(report.send(outcome));
            })?;
        Ok(Self {
            stop,
            ended: Some(ended),
        })
    }

    /// Resolves when the thread has ended: with an error, the process should stop. Safe to cancel;
    /// tells the error once.
    pub async fn ended(&mut self) -> Result<(), ThreadError> {
        let Some(ended) = &mut self.ended else {
            return Ok(());
        };
        let outcome = ended.await.unwrap_or(Err(ThreadError::Panicked));
        self.ended = None;
        outcome
    }

    /// Tells the thread to stop and waits for it; false when it is still busy at the deadline (it is
    /// left behind then).
    pub async fn stop(mut self, deadline: Duration) -> bool {
        self.stop.set();
        tokio::time::timeout(deadline, self.ended()).await.is_ok()
    }
}

impl Drop for KafkaThread {
    fn drop(&mut self) {
        self.stop.set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_to_the_owner() {
        let mut thread = KafkaThread::spawn("t", |_| panic!("as the test wants")).unwrap();
        assert!(matches!(thread.ended().await, Err(ThreadError::Panicked)));
        assert!(thread.stop(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn stopping_gives_up_on_a_thread_that_hangs() {
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let hangs = KafkaThread::spawn("t", move |_| {
            blocked.recv().unwrap_or_default();
            Ok(())
        })
        .unwrap();
        assert!(!hangs.stop(Duration::from_millis(10)).await);
        drop(release);
        let obeys = KafkaThread::spawn("t", |stop| {
            while !stop.is_set() {
                std::thread::yield_now();
            }
            Ok(())
        })
        .unwrap();
        assert!(obeys.stop(Duration::from_secs(10)).await);
    }
}
