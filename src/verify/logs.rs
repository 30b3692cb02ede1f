//! Reads a stretch of one partition, read committed, on a blocking thread. In no group: nothing is
//! joined or committed, whatever the worker does meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::kafka::Log;
use crate::kafka::settings::{Settings, Topics};

/// One wait for a record.
const WAIT: Duration = Duration::from_millis(20);

/// How often it is waited in a row without getting further: 15 s, longer than any transaction of a
/// worker stays open.
const WAITS: u32 = 750;

/// One question to the broker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Of which log.
    pub log: Log,
    /// Of which partition.
    pub partition: u16,
    /// The first offset.
    pub from: u64,
    /// One past the last.
    pub to: u64,
}

/// Why a stretch was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The broker or the library.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// Nothing came for 15 s.
    #[error(
        "{topic}[{partition}] cannot be read from {at} to its end {to}: somebody's transaction is open"
    )]
    Stuck {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u16,
        /// Where it stands.
        at: u64,
        /// Where it should get to.
        to: u64,
    },
    /// A bug.
    #[error("reading a log panicked")]
    Panicked,
}

/// Both logs. Cloning shares the handle; one stretch is read at a time.
#[derive(Clone)]
pub struct Logs {
    consumer: Arc<Mutex<BaseConsumer>>,
    topics: Topics,
}

impl Logs {
    /// Makes the handle; connects in the background.
    pub fn new(settings: &Settings) -> KafkaResult<Self> {
        Ok(Self {
            consumer: Arc::new(Mutex::new(settings.onlooker().create()?)),
            topics: settings.topics.clone(),
        })
    }

    /// Shows every committed record of the stretch to `take`, with `books` in hand, and gives these
    /// back. Cancelled, the thread reads to its end by itself.
    pub async fn read<B: Send + 'static>(
        &self,
        stretch: Stretch,
        books: B,
        take: impl Fn(&mut B, &BorrowedMessage<'_>) + Send + 'static,
    ) -> Result<B, LogsError> {
        let logs = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut books = books;
            let read = logs.read_now(stretch, |record| take(&mut books, record));
            read.map(|()| books)
        });
        reading.await.unwrap_or(Err(LogsError::Panicked))
    }

    /// The group's committed position in a partition of the events; `None`: none is committed.
    pub async fn committed(&self, partition: u16) -> Result<Option<u64>, LogsError> {
        let logs = self.clone();
        let asking = tokio::task::spawn_blocking(move || {
            let (topic, partition) = (&logs.topics.events, i32::from(partition));
            let mut places = TopicPartitionList::with_capacity(1);
            places.add_partition(topic, partition);
            let consumer = logs.consumer();
            let committed = consumer.committed_offsets(places, TIMEOUT)?;
            let place = committed.find_partition(topic, partition);
            Ok(place.and_then(|place| concrete(place.offset())))
        });
        asking.await.unwrap_or(Err(LogsError::Panicked))
    }

    fn read_now(
        &self,
        stretch: Stretch,
        mut take: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), LogsError> {
        let Stretch {
            log,
            partition,
            from,
            to,
        } = stretch;
        if from >= to {
            return Ok(());
        }
        let topic = self.topics.of(log);
        let consumer = self.consumer();
        let mut places = TopicPartitionList::with_capacity(1);
        let first = Offset::Offset(from.cast_signed());
        places.add_partition_offset(topic, i32::from(partition), first)?;
        consumer.assign(&places)?;
        let (mut at, mut waits) = (from, 0);
        while at < to {
            match consumer.poll(WAIT) {
                Some(Ok(record)) => {
                    let offset = u64::try_from(record.offset()).unwrap_or_default();
                    if offset < to {
                        take(&record);
                    }
                    (at, waits) = (offset + 1, 0);
                }
                Some(Err(
                    error @ (KafkaError::MessageConsumptionFatal(_)
                    | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)),
                )) => return Err(error.into()),
                Some(Err(error)) => tracing::debug!(%error, "the log is read on"),
                None => {
                    // The library's position also passes what is no record of anybody.
                    let place = consumer.position()?;
                    let place = place.find_partition(topic, i32::from(partition));
                    let position = place.and_then(|place| concrete(place.offset()));
                    let before = at;
                    at = at.max(position.unwrap_or(0));
                    waits = if at > before { 0 } else { waits + 1 };
                    if waits > WAITS {
                        let topic = topic.to_owned();
                        return Err(LogsError::Stuck {
                            topic,
                            partition,
                            at,
                            to,
                        });
                    }
                }
            }
        }
        consumer.unassign()?;
        Ok(())
    }

    fn consumer(&self) -> std::sync::MutexGuard<'_, BaseConsumer> {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The library's offset; `None` for the logical ones.
fn concrete(offset: Offset) -> Option<u64> {
    offset
        .to_raw()
        .and_then(|offset| u64::try_from(offset).ok())
}
