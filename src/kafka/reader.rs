//! The reader: one `read_committed` consumer per worker, on its own thread, that delivers log partitions
//! exactly from the offset that their owner names. It is assigned by hand and never subscribes (a
//! subscribed consumer delivers records from before a seek). It must never block on an owner: a full
//! channel pauses that partition alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use tokio::sync::mpsc;

use super::delivery::Delivery;
use super::feed::{Batch, Feed};
use super::record::{Decoding, EventRecord, ResultRecord};
use super::settings::Settings;
use super::thread::{KafkaThread, StopFlag, ThreadError};
use super::{Log, place};
use crate::domain::order::TypeName;

/// How long the thread waits for a record: also how late it sees a new order of its owners and room in
/// a full channel.
const WAIT: Duration = Duration::from_millis(5);

/// Records taken from the library before what was read is handed over.
const TURN: usize = 1_000;

/// Bytes taken from the library before what was read is handed over, and partitions whose owners do
/// not keep up are paused.
const TURN_BYTES: usize = 4 << 20;

/// The positions are looked at in every so many turns: a look asks the library's own thread for the
/// assignment and walks over it, which in every idle turn is most of what an idle worker costs. So a
/// passed control record is seen 20 ms late at most.
const POSITIONS_EVERY: u32 = 4;

/// The same in turns with nothing but events, which are rarely followed by control records.
const POSITIONS_AMID_EVENTS_EVERY: u32 = 16;

/// What a turn brought; a result is followed by its transaction's marker, which only the library's
/// position shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    Nothing,
    Events,
    Results,
}

/// Says which order types are configured.
pub type Configured = Arc<dyn Fn(&TypeName) -> bool + Send + Sync>;

/// Where one log partition is delivered. A closed channel ends the delivery.
#[derive(Clone, Debug)]
pub enum Sink {
    /// `order-events`, inlets (partitions from N on) included.
    Events(mpsc::Sender<Batch<EventRecord>>),
    /// `order-results`.
    Results(mpsc::Sender<Batch<ResultRecord>>),
}

impl Sink {
    fn log(&self) -> Log {
        match self {
            Self::Events(_) => Log::Events,
            Self::Results(_) => Log::Results,
        }
    }
}

/// Begin delivering a log partition.
#[derive(Clone, Debug)]
pub struct Start {
    /// The partition; for a shard's logs its number.
    pub partition: u16,
    /// Travels with every batch.
    pub generation: u64,
    /// The first offset to be delivered.
    pub offset: u64,
    /// The log and where it goes.
    pub sink: Sink,
}

/// Orders for the reader. They take effect within milliseconds and never block; the last one for a
/// log partition counts.
#[derive(Clone)]
pub struct ReaderHandle {
    orders: Arc<Mutex<HashMap<(Log, u16), Order>>>,
}

enum Order {
    Start(Start),
    Stop { generation: u64 },
}

impl ReaderHandle {
    /// Delivers from `start.offset` on. An earlier start of the same log partition ends; nothing of
    /// it is delivered to the new sink.
    pub fn start(&self, start: Start) {
        let place = (start.sink.log(), start.partition);
        self.orders().insert(place, Order::Start(start));
    }

    /// Ends the delivery that this generation, or an older one, started. Batches already in the
    /// channel stay there.
    pub fn stop(&self, log: Log, partition: u16, generation: u64) {
        let mut orders = self.orders();
        if let Some(Order::Start(newer)) = orders.get(&(log, partition))
            && newer.generation > generation
        {
            return;
        }
        orders.insert((log, partition), Order::Stop { generation });
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, HashMap<(Log, u16), Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the reader's thread.
///
/// # Errors
/// The configuration is refused by librdkafka, or no thread can be had.
pub fn spawn(
    settings: &Settings,
    configured: Configured,
) -> Result<(ReaderHandle, KafkaThread), ThreadError> {
    let consumer: BaseConsumer = settings.reader().create()?;
    let handle = ReaderHandle {
        orders: Arc::default(),
    };
    let reader = Reader {
        handle: handle.clone(),
        configured,
        shards: settings.shards,
        window: settings.window,
        events: Delivery::new(&settings.topics.events),
        results: Delivery::new(&settings.topics.results),
        turns: 0,
    };
    let thread = KafkaThread::spawn("kafka-reader", move |stop| reader.run(&consumer, stop))?;
    Ok((handle, thread))
}

struct Reader {
    handle: ReaderHandle,
    configured: Configured,
    shards: u16,
    window: u64,
    events: Delivery<EventRecord>,
    results: Delivery<ResultRecord>,
    turns: u32,
}

impl Reader {
    fn run(mut self, consumer: &BaseConsumer, stop: &StopFlag) -> Result<(), ThreadError> {
        while !stop.is_set() {
            self.turn(consumer)?;
        }
        Ok(())
    }

    /// Obeys, reads until there is nothing more (or a turn is full), hands over.
    fn turn(&mut self, consumer: &BaseConsumer) -> KafkaResult<()> {
        self.obey(consumer)?;
        let mut wait = WAIT;
        let mut taken = Taken::Nothing;
        let mut bytes = 0;
        for _ in 0..TURN {
            match consumer.poll(wait) {
                Some(Ok(record)) => {
                    taken = taken.max(self.take(&record));
                    bytes += size(&record);
                }
                Some(Err(error)) => hear(error)?,
                None => break,
            }
            if bytes >= TURN_BYTES {
                break;
            }
            wait = Duration::ZERO;
        }
        self.turns = self.turns.wrapping_add(1);
        let every = match taken {
            Taken::Events => POSITIONS_AMID_EVENTS_EVERY,
            Taken::Nothing | Taken::Results => POSITIONS_EVERY,
        };
        if self.turns.is_multiple_of(every) {
            self.note_positions(consumer)?;
        }
        self.events.flush(consumer)?;
        self.results.flush(consumer)
    }

    fn obey(&mut self, consumer: &BaseConsumer) -> KafkaResult<()> {
        let orders = std::mem::take(&mut *self.handle.orders());
        if orders.is_empty() {
            return Ok(());
        }
        for ((log, partition), order) in orders {
            match order {
                Order::Start(start) => {
                    let (generation, offset) = (start.generation, start.offset);
                    match start.sink {
                        Sink::Events(sink) => {
                            let feed = Feed::new(partition, generation, offset, sink);
                            self.events.start(consumer, partition, offset, feed)?;
                        }
                        Sink::Results(sink) => {
                            let feed = Feed::new(partition, generation, offset, sink);
                            self.results.start(consumer, partition, offset, feed)?;
                        }
                    }
                }
                Order::Stop { generation } => match log {
                    Log::Events => self.events.stop(consumer, partition, generation)?,
                    Log::Results => self.results.stop(consumer, partition, generation)?,
                },
            }
        }
        // Sees the positions that were emptied, before any poll can move them.
        self.note_positions(consumer)
    }

    fn take(&mut self, record: &BorrowedMessage<'_>) -> Taken {
        let (Ok(partition), Ok(offset)) = (
            u16::try_from(record.partition()),
            u64::try_from(record.offset()),
        ) else {
            return Taken::Nothing;
        };
        if record.topic() == self.events.topic {
            if let Some(feed) = self.events.expecting(partition, offset) {
                let decoding = Decoding {
                    shards: self.shards,
                    window: self.window,
                    configured: &*self.configured,
                };
                let event = decoding.event(record);
                let original = event.original.as_ref();
                let bytes = original.map_or(0, |original| original.bytes());
                feed.push(offset, event, bytes);
            }
            Taken::Events
        } else {
            if let Some(feed) = self.results.expecting(partition, offset) {
                feed.push(offset, ResultRecord::read(record), size(record));
            }
            Taken::Results
        }
    }

    fn note_positions(&mut self, consumer: &BaseConsumer) -> KafkaResult<()> {
        if self.events.is_empty() && self.results.is_empty() {
            return Ok(());
        }
        for place in consumer.position()?.elements() {
            let position = place::concrete(place.offset());
            let Ok(partition) = u16::try_from(place.partition()) else {
                continue;
            };
            if place.topic() == self.events.topic {
                self.events.at(partition, position);
            } else {
                self.results.at(partition, position);
            }
        }
        Ok(())
    }
}

/// What a record takes, but for its headers.
fn size(record: &BorrowedMessage<'_>) -> usize {
    record.payload_len() + record.key_len()
}

/// Most errors are the library's own worries (a broker gone, a leader moved): it logs and repairs
/// them. That a position is outside its log comes without topic or partition: each shard compares its
/// own with the log's ends, at the latest with its next survey.
fn hear(error: KafkaError) -> KafkaResult<()> {
    match error {
        KafkaError::MessageConsumptionFatal(_) => Err(error),
        other => {
            tracing::debug!(error = %other, "the reader goes on after an error");
            Ok(())
        }
    }
}
