//! A shard's transactional publisher: the only writer of `order-results[p]`. Its transactional id
//! names the shard, so opening one fences the one before. It is used up by any error: an unknown
//! outcome is only made out by recovering, which reads the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

use super::Publication;
use super::pool::{NotRun, Pool};
use super::settings::Settings;
use crate::fault;

/// Opening waits for a transaction of the former owner to be aborted: 1.06 s at worst when measured.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// `commit_transaction` of the library flushes in steps of 100 ms; reports are drained in steps of
/// one first, so that it has nothing left to wait for.
const DRAIN_STEP: Duration = Duration::from_millis(1);

/// Half the transaction's timeout: later the broker would abort it anyway.
const DRAIN_STEPS: u32 = 5_000;

/// The library applies it twice, to its flush and to the commit itself.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Of a transaction that nobody wants any more.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the ownership that the publisher belongs to still stands; asked on a pool thread right
/// before anything is sent, so it must not block.
pub type Standing = Arc<dyn Fn() -> bool + Send + Sync>;

/// Why nothing, or not certainly anything, was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The generation was revoked; nothing was begun, or what was is never committed.
    #[error("the shard is not ours any more")]
    Revoked,
    /// The pool's queue is full, or its threads ended; nothing was begun.
    #[error("no thread to publish on")]
    NoThread,
    /// A newer owner has opened this shard's publisher: nothing of this group is ever committed.
    #[error("fenced by a newer owner: {0}")]
    Fenced(KafkaError),
    /// The producer could not be made, or could not fence its predecessor.
    #[error("opening the publisher: {0}")]
    Open(KafkaError),
    /// Nothing was sent.
    #[error("beginning a transaction: {0}")]
    Begin(KafkaError),
    /// The transaction stays open until it is fenced or times out.
    #[error("sending results: {0}")]
    Send(KafkaError),
    /// As [`PublishError::Send`].
    #[error("results were not acknowledged: {0}")]
    Delivery(KafkaError),
    /// The transaction may have been committed.
    #[error("committing: {0}")]
    Commit(KafkaError),
}

impl From<NotRun> for PublishError {
    fn from(_: NotRun) -> Self {
        Self::NoThread
    }
}

/// Opens publishers, on threads of its own. Cloning shares the threads.
#[derive(Clone)]
pub struct PublisherPool {
    pool: Pool,
    settings: Arc<Settings>,
}

impl PublisherPool {
    /// Starts the threads.
    pub fn start(settings: &Settings) -> std::io::Result<Self> {
        Ok(Self {
            pool: Pool::start()?,
            settings: Arc::new(settings.clone()),
        })
    }

    /// Resolves when no publisher is inside a transaction; cancelled, nothing has changed.
    pub async fn idle(&self) {
        self.pool.idle().await;
    }

    /// Makes the shard's publisher and fences the one before: its open transaction is aborted, and
    /// nothing of it is committed from here on. Cancelled, the fence may or may not have been set.
    pub async fn open(&self, shard: u16, standing: Standing) -> Result<Publisher, PublishError> {
        let owner = self.clone();
        self.pool
            .open(move || {
                // A revoked owner that opens late would fence its successor.
                if !standing() {
                    return Err(PublishError::Revoked);
                }
                let producer: Transactional = owner
                    .settings
                    .publisher(shard)
                    .create_with_context(Reports::default())
                    .map_err(PublishError::Open)?;
                let publisher = Publisher {
                    shard,
                    standing,
                    producer: Some(producer),
                    owner,
                };
                publisher.with_producer(|producer| {
                    producer
                        .init_transactions(OPEN_TIMEOUT)
                        .map_err(PublishError::Open)
                })?;
                Ok(publisher)
            })
            .await?
    }
}

type Transactional = BaseProducer<Reports>;

/// A shard's open publisher. Dropping it leaves an open transaction to the next owner's fence, or to
/// the transaction's timeout.
pub struct Publisher {
    shard: u16,
    standing: Standing,
    /// `Some` until dropped.
    producer: Option<Transactional>,
    owner: PublisherPool,
}

impl Publisher {
    /// The shard.
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// Publishes a group in one transaction: all of it or nothing, and after an error possibly either.
    /// The publisher comes back only from success; recover after anything else. Cancelled, it is
    /// as an error.
    pub async fn publish(self, group: Vec<Publication>) -> Result<Self, PublishError> {
        let pool = self.owner.pool.clone();
        pool.run(move || {
            if !(self.standing)() {
                return Err(PublishError::Revoked);
            }
            self.with_producer(|producer| self.transact(producer, &group))?;
            Ok(self)
        })
        .await?
    }

    fn with_producer(
        &self,
        act: impl FnOnce(&Transactional) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let Some(producer) = &self.producer else {
            return Err(PublishError::NoThread);
        };
        // A fence shows as whatever call it made fail; the library remembers what it was.
        act(producer).map_err(|error| match producer.client().fatal_error() {
            Some((code, _)) if is_fence(code) => PublishError::Fenced(KafkaError::Global(code)),
            _ => error,
        })
    }

    fn transact(
        &self,
        producer: &Transactional,
        group: &[Publication],
    ) -> Result<(), PublishError> {
        producer.begin_transaction().map_err(PublishError::Begin)?;
        let topic = &self.owner.settings.topics.results;
        for publication in group {
            let record = BaseRecord::<str, [u8]>::to(topic)
                .partition(i32::from(self.shard))
                .key(&publication.key)
                .payload(&publication.value)
                .headers(headers(publication));
            producer
                .send(record)
                .map_err(|(error, _)| PublishError::Send(error))?;
        }
        drain(producer)?;
        if !(self.standing)() {
            // Left open, it would cost the next owner half a second: so long librdkafka rests when its
            // fence finds a transaction. If this fails, it does.
            drop(producer.abort_transaction(ABORT_TIMEOUT));
            return Err(PublishError::Revoked);
        }
        fault::point("produced");
        fault::shortly("commit-sent");
        producer
            .commit_transaction(COMMIT_TIMEOUT)
            .map_err(PublishError::Commit)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            self.owner.pool.discard(producer);
        }
    }
}

fn is_fence(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch
    )
}

/// Waits until every record was acknowledged or given up.
fn drain(producer: &Transactional) -> Result<(), PublishError> {
    for _ in 0..DRAIN_STEPS {
        if producer.in_flight_count() == 0 {
            break;
        }
        // With a wait of its own, rdkafka 0.39 spins for the last millisecond of every poll.
        producer.poll(Duration::ZERO);
        std::thread::sleep(DRAIN_STEP);
    }
    match producer.context().failed() {
        Some(error) => Err(PublishError::Delivery(error)),
        None if producer.in_flight_count() > 0 => Err(PublishError::Delivery(
            KafkaError::MessageProduction(RDKafkaErrorCode::OperationTimedOut),
        )),
        None => Ok(()),
    }
}

fn headers(publication: &Publication) -> OwnedHeaders {
    let none = OwnedHeaders::new_with_capacity(publication.headers.len());
    publication
        .headers
        .iter()
        .fold(none, |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        })
}

/// Remembers the first record that was not delivered; the publisher is used up by it.
#[derive(Default)]
struct Reports {
    failed: Mutex<Option<KafkaError>>,
}

impl Reports {
    fn failed(&self) -> Option<KafkaError> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        // What matters of it comes back from the call that it makes fail.
        tracing::debug!(%error, reason, "a publisher met an error");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| error.clone());
        }
    }
}
