//! The worker's one idempotent producer: dead letters, forwards and the API's events, acknowledged by
//! all replicas. What is accepted here is answered exactly once, delivered or not: the room for the
//! answer is reserved before the record is sent, so that neither the library's thread waits for an
//! owner nor an answer is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use tokio::sync::{mpsc, oneshot};

use super::letter::{DeadLetter, forwarded_headers};
use super::settings::{Settings, Topics};
use super::thread::{KafkaThread, StopFlag, ThreadError};
use super::{Original, place};

/// How long the thread serves reports, each as it comes, before it looks whether it is to stop. Long,
/// because rdkafka 0.39 spins for the last millisecond of every poll.
const WAIT: Duration = Duration::from_millis(500);

/// What a delivery is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The shard (or inlet) whose record it was.
    pub partition: u16,
    /// Its generation.
    pub generation: u64,
    /// The record's offset.
    pub offset: u64,
}

/// What became of a dead letter or a forward.
#[derive(Debug)]
pub struct Delivered {
    /// Whose it was.
    pub ticket: Ticket,
    /// Failed: it is to be sent again (it may have arrived all the same).
    pub outcome: Result<(), ProduceError>,
}

/// Why a record was not produced.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProduceError {
    /// Nothing was sent: as much is under way as the queue, or the channel of answers, has room for.
    #[error("too much is under way")]
    Full,
    /// Nothing will be sent any more: nobody listens for the answer, or the producer has ended.
    #[error("the producer has ended")]
    Closed,
    /// The broker takes no record of this size; to send it again is of no use.
    #[error("the record is larger than the topic takes")]
    TooLarge,
    /// The library gave up; the record may have arrived.
    #[error("not acknowledged: {0}")]
    Kafka(KafkaError),
}

impl From<KafkaError> for ProduceError {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Self::Full,
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                Self::TooLarge
            }
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => Self::Closed,
            _ => Self::Kafka(error),
        }
    }
}

/// Produces; cloning shares the producer.
#[derive(Clone)]
pub struct Producer {
    producer: Arc<BaseProducer<Reports>>,
    topics: Topics,
}

/// Starts the producer and the thread that serves its reports. The thread ends with an error when the
/// producer can never send again.
///
/// # Errors
/// The configuration is refused by librdkafka, or no thread can be had.
pub fn spawn(settings: &Settings) -> Result<(Producer, KafkaThread), ThreadError> {
    let producer: BaseProducer<Reports> = settings
        .producer()
        .create_with_context(Reports::default())?;
    let producer = Producer {
        producer: Arc::new(producer),
        topics: settings.topics.clone(),
    };
    let polled = Arc::clone(&producer.producer);
    let thread = KafkaThread::spawn("kafka-producer", move |stop| serve(&polled, stop))?;
    Ok((producer, thread))
}

fn serve(producer: &BaseProducer<Reports>, stop: &StopFlag) -> Result<(), ThreadError> {
    while !stop.is_set() {
        producer.poll(WAIT);
        if let Some(error) = producer.context().fatal() {
            return Err(error.into());
        }
    }
    // What is still under way is given up: it is answered as failed, and read again by the next owner.
    Ok(())
}

impl Producer {
    /// Sends a dead letter; the answer goes to `answers`. On an error nothing was sent and no answer
    /// comes.
    pub fn dead_letter(
        &self,
        letter: &DeadLetter,
        ticket: Ticket,
        answers: &mpsc::Sender<Delivered>,
    ) -> Result<(), ProduceError> {
        let events = &self.topics.events;
        let key = letter.key(events);
        let mut record =
            BaseRecord::with_opaque_to(&self.topics.dead_letters, reserve(ticket, answers)?)
                .key(key.as_bytes())
                .headers(letter.headers(events));
        record.payload = letter.original.value.as_deref();
        self.send(record)
    }

    /// Sends a record of `order-events` once more, to the partition where it belongs; as
    /// [`Producer::dead_letter`] otherwise.
    pub fn forward(
        &self,
        original: &Original,
        to_partition: u16,
        ticket: Ticket,
        answers: &mpsc::Sender<Delivered>,
    ) -> Result<(), ProduceError> {
        let mut record = BaseRecord::with_opaque_to(&self.topics.events, reserve(ticket, answers)?)
            .partition(i32::from(to_partition))
            .headers(forwarded_headers(original));
        record.key = original.key.as_deref();
        record.payload = original.value.as_deref();
        self.send(record)
    }

    /// Appends an event and waits for its acknowledgement: the partition and offset where it lies.
    /// Cancelled, it may or may not be appended.
    pub async fn append_event(
        &self,
        partition: u16,
        key: &str,
        value: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<(u16, u64), ProduceError> {
        let (report, place) = oneshot::channel();
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for &(key, value) in headers {
            owned = owned.insert(Header {
                key,
                value: Some(value),
            });
        }
        let record =
            BaseRecord::with_opaque_to(&self.topics.events, Box::new(Report::Append(report)))
                .partition(i32::from(partition))
                .key(key.as_bytes())
                .payload(value)
                .headers(owned);
        self.send(record)?;
        place.await.unwrap_or(Err(ProduceError::Closed))
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8], Box<Report>>) -> Result<(), ProduceError> {
        self.producer
            .send(record)
            .map_err(|(error, _)| ProduceError::from(error))
    }
}

fn reserve(ticket: Ticket, answers: &mpsc::Sender<Delivered>) -> Result<Box<Report>, ProduceError> {
    match answers.clone().try_reserve_owned() {
        Ok(room) => Ok(Box::new(Report::Ticket(ticket, room))),
        Err(mpsc::error::TrySendError::Full(_)) => Err(ProduceError::Full),
        Err(mpsc::error::TrySendError::Closed(_)) => Err(ProduceError::Closed),
    }
}

/// Where the fate of one record is told.
enum Report {
    Ticket(Ticket, mpsc::OwnedPermit<Delivered>),
    Append(oneshot::Sender<Result<(u16, u64), ProduceError>>),
}

#[derive(Default)]
struct Reports {
    fatal: Mutex<Option<KafkaError>>,
}

impl Reports {
    fn fatal(&self) -> Option<KafkaError> {
        self.fatal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            tracing::error!(%error, reason, "the producer can send no more");
            *self.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        } else {
            tracing::warn!(%error, reason, "the producer goes on after an error");
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Box<Report>) {
        let outcome = match result {
            Ok(record) => Ok((
                u16::try_from(record.partition()).unwrap_or_default(),
                place::unsigned(record.offset()),
            )),
            Err((error, _)) => Err(ProduceError::from(error.clone())),
        };
        match *report {
            Report::Ticket(ticket, room) => {
                room.send(Delivered {
                    ticket,
                    outcome: outcome.map(|_| ()),
                });
            }
            // Whoever asked may have stopped waiting.
            Report::Append(place) => drop(place.send(outcome)),
        }
    }
}
