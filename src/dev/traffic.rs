//! Publishes sample orders or the user's events, with a producer of its own, no faster than the
//! embedded broker can keep them for whoever reads slowest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::future_producer::OwnedDeliveryResult;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::audit::ORDERS_MAX;
use super::broker::UNREAD_BYTES;
use super::own_events::{EventsError, OwnEvents};
use super::sample::{Published, Sample};
use super::second_reader::{SharedAudit, with};
use crate::clock::Clock;
use crate::kafka::settings::{Settings, World};

/// How often sample orders are published.
const TICK: Duration = Duration::from_millis(10);

/// Records under way to the broker.
const UNDER_WAY: usize = 1_000;

/// What a record costs the broker beside its value, at most: keys, headers, a batch of its own.
const RECORD_OVERHEAD: u64 = 256;

/// Where events come from.
pub enum Source {
    /// Sample orders.
    Sample(Sample),
    /// The user's own.
    Own(OwnEvents),
}

/// Why traffic ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// All lines were published.
    NothingMore,
    /// As many events as one run audits.
    Full,
}

/// Why traffic failed.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// The user's events.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// The producer is of no more use, or a record was not acknowledged within librdkafka's 5
    /// minutes.
    #[error("publishing sample traffic: {0}")]
    Kafka(#[from] KafkaError),
}

/// A line that is no event: its number and why.
pub type BadLine = (u64, String);

/// Publishes.
pub struct Traffic {
    producer: FutureProducer,
    topic: String,
    world: World,
    source: Source,
    audit: SharedAudit,
    /// Records of `order-events` that the worker says it has dealt with.
    dealt_with: Arc<AtomicU64>,
    clock: Clock,
    under_way: FuturesUnordered<DeliveryFuture>,
    largest: u64,
}

impl Traffic {
    /// Makes its producer, which connects in the background.
    ///
    /// # Errors
    /// librdkafka refuses.
    pub fn new(
        settings: &Settings,
        source: Source,
        audit: SharedAudit,
        dealt_with: Arc<AtomicU64>,
        clock: Clock,
    ) -> KafkaResult<Self> {
        Ok(Self {
            producer: settings.producer().create()?,
            topic: settings.topics.events.clone(),
            world: settings.world,
            source,
            audit,
            dealt_with,
            clock,
            under_way: FuturesUnordered::new(),
            largest: 0,
        })
    }

    /// Publishes until `stop`, or until there is nothing more, and until all of it is acknowledged.
    ///
    /// # Errors
    /// See [`TrafficError`].
    pub async fn run(
        mut self,
        stop: CancellationToken,
        bad_lines: mpsc::Sender<BadLine>,
    ) -> Result<Ended, TrafficError> {
        let mut tick = tokio::time::interval(TICK);
        let ended = loop {
            if with(&self.audit, |audit| audit.counts().events) >= ORDERS_MAX {
                break Ended::Full;
            }
            let room = self.has_room();
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ended::Stopped,
                Some(delivery) = self.under_way.next() => self.acknowledge(delivery.ok())?,
                _ = tick.tick() => {
                    if let Source::Sample(sample) = &mut self.source && room {
                        for record in sample.due(self.clock.wall()) {
                            self.publish(&record).await?;
                        }
                    }
                }
                line = next(&mut self.source, self.clock), if room => {
                    let Some(line) = line? else { break Ended::NothingMore };
                    self.publish(&line.record).await?;
                    if let Some(why) = line.bad {
                        // Nobody listens when the run ends just now.
                        drop(bad_lines.send((line.number, why)).await);
                    }
                }
            }
        };
        while let Some(delivery) = self.under_way.next().await {
            self.acknowledge(delivery.ok())?;
        }
        Ok(ended)
    }

    async fn publish(&mut self, record: &Published) -> Result<(), KafkaError> {
        self.largest = self.largest.max(record.value.len() as u64);
        loop {
            let mut to_send = FutureRecord::<str, [u8]>::to(&self.topic).payload(&record.value);
            to_send.key = record.key.as_deref();
            to_send.partition = record.partition.map(i32::from);
            match self.producer.send_result(to_send) {
                Ok(delivery) => {
                    self.under_way.push(delivery);
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    tokio::time::sleep(TICK).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// `None`: the producer has ended before it knew.
    fn acknowledge(&self, delivery: Option<OwnedDeliveryResult>) -> Result<(), KafkaError> {
        let delivery = match delivery {
            Some(Ok(delivery)) => delivery,
            Some(Err((error, _))) => return Err(error),
            None => return Err(KafkaError::Canceled),
        };
        let place = (
            u16::try_from(delivery.partition).unwrap_or_default(),
            u64::try_from(delivery.offset).unwrap_or_default(),
        );
        with(&self.audit, |audit| audit.acknowledged(place));
        Ok(())
    }

    /// Whether more may be published: the embedded broker drops what is not read in time, by the
    /// second reader or by the worker.
    fn has_room(&self) -> bool {
        if self.under_way.len() >= UNDER_WAY {
            return false;
        }
        if self.world == World::Real {
            return true;
        }
        let (unread, read) = with(&self.audit, |audit| {
            let counts = audit.counts();
            (audit.unread(), counts.events + counts.forwarded)
        });
        let ahead = read.saturating_sub(self.dealt_with.load(Ordering::Relaxed));
        unread + ahead + self.under_way.len() as u64
            <= UNREAD_BYTES / (self.largest + RECORD_OVERHEAD)
    }
}

/// The user's next line; sample orders have none.
async fn next(
    source: &mut Source,
    clock: Clock,
) -> Result<Option<super::own_events::Line>, EventsError> {
    match source {
        Source::Sample(_) => std::future::pending().await,
        Source::Own(events) => events.next(clock.wall()).await,
    }
}
