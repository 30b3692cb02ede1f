//! The end-asker: tells the real ends of a log, open transactions included, and finds offsets by time
//! and times by offset. A `read_committed` handle would answer the last stable offset, and a recovery
//! that believed it would miss results. Asked by recover, by the floor and by the lag gauges.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;

use super::settings::{Settings, Topics};
use super::{Ends, Log, ResultRecord, place};
use crate::domain::order::Millis;
use crate::domain::result::OrderResult;

/// The whole of one question.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Handles for reading one record each: a wiped Redis makes every shard ask at once.
const READERS: usize = 4;

/// One wait for a record.
const WAIT: Duration = Duration::from_millis(20);

/// Asks the brokers about positions. Cloning shares the handle; every question runs on a blocking
/// thread of its own, 5 s at most, and is safe to cancel and to repeat.
#[derive(Clone)]
pub struct EndAsker {
    pub(super) consumer: Arc<BaseConsumer>,
    pub(super) topics: Topics,
    /// Each is held while a partition is assigned to it for reading one record.
    readers: Arc<Vec<Mutex<BaseConsumer>>>,
}

impl EndAsker {
    /// Makes the handle; connects in the background.
    pub fn new(settings: &Settings) -> KafkaResult<Self> {
        Ok(Self {
            consumer: Arc::new(settings.asker().create()?),
            topics: settings.topics.clone(),
            readers: Arc::new(
                (0..READERS)
                    .map(|_| Ok(Mutex::new(settings.asker().create()?)))
                    .collect::<KafkaResult<_>>()?,
            ),
        })
    }

    /// The oldest offset and the one past the newest record.
    pub async fn ends(&self, log: Log, partition: u16) -> KafkaResult<Ends> {
        self.ask(move |asker| asker.ends_now(log, partition)).await
    }

    /// The offset of the first record appended at or after `time`; `None` when there is none.
    pub async fn offset_for_time(
        &self,
        log: Log,
        partition: u16,
        time: Millis,
    ) -> KafkaResult<Option<u64>> {
        self.ask(move |asker| {
            let topic = asker.topics.of(log);
            let times = place::at(topic, partition, time)?;
            let found = asker.consumer.offsets_for_times(times, TIMEOUT)?;
            let Some(place) = found.find_partition(topic, i32::from(partition)) else {
                return Ok(None);
            };
            place.error()?;
            Ok(place::concrete(place.offset()))
        })
        .await
    }

    /// The append time of the first record at or after `offset`; `None` when there is none. An
    /// offset below the log's beginning counts as the beginning.
    pub async fn append_time(
        &self,
        log: Log,
        partition: u16,
        offset: u64,
    ) -> KafkaResult<Option<Millis>> {
        self.ask(move |asker| {
            asker.first_record(log, partition, offset, |record| {
                record.timestamp().to_millis().map(place::unsigned)
            })
        })
        .await
        .map(Option::flatten)
    }

    /// The result at `offset`; `None` when it is not there (any more), or not ours.
    pub async fn result_at(&self, partition: u16, offset: u64) -> KafkaResult<Option<OrderResult>> {
        self.ask(move |asker| {
            asker.first_record(Log::Results, partition, offset, |record| {
                let there = place::unsigned(record.offset()) == offset;
                ResultRecord::read(record).result.filter(|_| there)
            })
        })
        .await
        .map(Option::flatten)
    }

    /// How many partitions a topic has; `None`: there is no such topic.
    pub async fn partitions(&self, log: Log) -> KafkaResult<Option<u16>> {
        self.ask(move |asker| {
            let topic = asker.topics.of(log);
            let metadata = asker.consumer.fetch_metadata(Some(topic), TIMEOUT)?;
            Ok(metadata
                .topics()
                .iter()
                .find(|found| found.name() == topic && found.error().is_none())
                .map(|found| found.partitions().len() as u16))
        })
        .await
    }

    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Self) -> KafkaResult<T> + Send + 'static,
    ) -> KafkaResult<T> {
        let asker = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = question(&asker);
            asker.drain();
            answer
        });
        answer.await.unwrap_or(Err(KafkaError::Canceled))
    }

    fn ends_now(&self, log: Log, partition: u16) -> KafkaResult<Ends> {
        let (low, high) =
            self.consumer
                .fetch_watermarks(self.topics.of(log), i32::from(partition), TIMEOUT)?;
        Ok(Ends {
            low: place::unsigned(low),
            high: place::unsigned(high),
        })
    }

    /// What `take` makes of the first record at or after `offset`; `None` when only control records
    /// are left there.
    fn first_record<T>(
        &self,
        log: Log,
        partition: u16,
        offset: u64,
        take: impl Fn(&BorrowedMessage<'_>) -> T,
    ) -> KafkaResult<Option<T>> {
        let ends = self.ends_now(log, partition)?;
        let offset = offset.max(ends.low);
        if offset >= ends.high {
            return Ok(None);
        }
        let reader = self.readers[usize::from(partition) % READERS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        reader.assign(&place::at(self.topics.of(log), partition, offset)?)?;
        let found = wait_for_record(&reader, offset, ends.high, take);
        reader.unassign()?;
        found
    }

    /// Serves what the library wants to log; without it the events would pile up.
    fn drain(&self) {
        const EVENTS: usize = 32;
        for _ in 0..EVENTS {
            drop(self.consumer.poll(Duration::ZERO));
        }
    }
}

/// Waits for a record, or until the position shows that only control records are left.
fn wait_for_record<T>(
    reader: &BaseConsumer,
    offset: u64,
    high: u64,
    take: impl Fn(&BorrowedMessage<'_>) -> T,
) -> KafkaResult<Option<T>> {
    for _ in 0..TIMEOUT.as_millis() / WAIT.as_millis() {
        match reader.poll(WAIT) {
            Some(Ok(record)) if place::unsigned(record.offset()) >= offset => {
                return Ok(Some(take(&record)));
            }
            Some(Err(
                error @ (KafkaError::MessageConsumptionFatal(_)
                | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)),
            )) => return Err(error),
            Some(_) => {}
            None => {
                let places = reader.position()?;
                let mut at = places
                    .elements()
                    .into_iter()
                    .filter_map(|place| place::concrete(place.offset()));
                if at.any(|at| at >= high) {
                    return Ok(None);
                }
            }
        }
    }
    Err(KafkaError::MessageConsumption(
        RDKafkaErrorCode::OperationTimedOut,
    ))
}
