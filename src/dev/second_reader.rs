//! The second reader: its own consumer of all three topics, on its own thread, that tells an audit
//! every record. It is in no group, commits nothing and knows nothing of the worker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::audit::{Audit, Place, Seen};
use crate::kafka::record::FORWARDED;
use crate::kafka::settings::{Settings, Topics, World};
use crate::kafka::thread::{KafkaThread, StopFlag, ThreadError};

/// One wait for a record: also how late a question about the ends is answered.
const WAIT: Duration = Duration::from_millis(20);

/// One question to the broker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Records between two looks at what else there is to do.
const TURN: usize = 1_000;

/// Whether a record is shown to the audit. Always, but where a test withholds one.
pub type Keep = Arc<dyn Fn(&Seen) -> bool + Send + Sync>;

/// The audit, shared between the reader's thread and whoever asks it.
pub type SharedAudit = Arc<Mutex<Audit>>;

/// Does something with the audit.
pub fn with<T>(audit: &SharedAudit, act: impl FnOnce(&mut Audit) -> T) -> T {
    act(&mut audit.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A consumer that stands at the beginning of every partition, not reading yet.
pub struct SecondReader {
    consumer: BaseConsumer,
    topics: Topics,
    places: HashMap<(String, i32), i64>,
    ends_of_events: Vec<u64>,
    contiguous: bool,
}

/// A second reader that runs.
pub struct Reading {
    thread: KafkaThread,
    ends: Ends,
}

/// Asks a second reader whether it has read everything.
#[derive(Clone, Debug)]
pub struct Ends(mpsc::SyncSender<oneshot::Sender<KafkaResult<bool>>>);

impl SecondReader {
    /// Looks at the topics, which must exist, and stands at the beginning of each partition. Blocks
    /// for as long as the broker takes to answer, 5 s a partition at most.
    ///
    /// # Errors
    /// The broker does not answer.
    pub fn new(settings: &Settings) -> KafkaResult<Self> {
        let consumer: BaseConsumer = settings.reader().create()?;
        let topics = settings.topics.clone();
        let mut places = HashMap::new();
        let mut ends_of_events = Vec::new();
        let mut assignment = TopicPartitionList::new();
        for topic in [&topics.events, &topics.results, &topics.dead_letters] {
            let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
            let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
            for partition in partitions.map(MetadataPartition::id) {
                let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
                if *topic == topics.events {
                    ends_of_events.push(unsigned(high));
                }
                places.insert((topic.clone(), partition), low);
                assignment.add_partition_offset(topic, partition, Offset::Offset(low))?;
            }
        }
        consumer.assign(&assignment)?;
        Ok(Self {
            consumer,
            topics,
            places,
            ends_of_events,
            // A real log may have gaps: control records, aborted transactions.
            contiguous: settings.world == World::Embedded,
        })
    }

    /// Where each partition of `order-events` ends.
    pub fn ends_of_events(&self) -> Vec<u64> {
        self.ends_of_events.clone()
    }

    /// Begins to read.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(self, audit: SharedAudit, keep: Keep) -> Result<Reading, ThreadError> {
        let (ask, asked) = mpsc::sync_channel(1);
        let mut reader = self;
        let thread = KafkaThread::spawn("second-reader", move |stop| {
            reader.run(&audit, &*keep, &asked, stop)
        })?;
        Ok(Reading {
            thread,
            ends: Ends(ask),
        })
    }

    fn run(
        &mut self,
        audit: &SharedAudit,
        keep: &(dyn Fn(&Seen) -> bool + Send + Sync),
        asked: &mpsc::Receiver<oneshot::Sender<KafkaResult<bool>>>,
        stop: &StopFlag,
    ) -> Result<(), ThreadError> {
        while !stop.is_set() {
            let mut wait = WAIT;
            for _ in 0..TURN {
                match self.consumer.poll(wait) {
                    None => break,
                    Some(Ok(record)) => {
                        let (place, next) = (place(&record), record.offset() + 1);
                        let seen = self.seen(&record);
                        drop(record);
                        self.advance(place, next, audit);
                        if let Some(seen) = seen.filter(|seen| keep(seen)) {
                            with(audit, |audit| audit.take(&seen));
                        }
                    }
                    Some(Err(
                        error @ (KafkaError::MessageConsumptionFatal(_)
                        | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)),
                    )) => return Err(error.into()),
                    Some(Err(error)) => tracing::debug!(%error, "the second reader goes on"),
                }
                wait = Duration::ZERO;
            }
            while let Ok(reply) = asked.try_recv() {
                // Whoever asked may have stopped waiting.
                drop(reply.send(self.is_at_the_ends()));
            }
        }
        Ok(())
    }

    fn seen(&self, record: &BorrowedMessage<'_>) -> Option<Seen> {
        let at: Place = (partition(record), unsigned(record.offset()));
        let value = record.payload().unwrap_or_default().to_vec();
        let key = record.key().unwrap_or_default().to_vec();
        let topic = record.topic();
        Some(if topic == self.topics.events {
            Seen::Event {
                at,
                appended: record.timestamp().to_millis().map_or(0, unsigned),
                forwarded: header(record, FORWARDED).is_some(),
                value,
            }
        } else if topic == self.topics.results {
            Seen::Result { at, key, value }
        } else if topic == self.topics.dead_letters {
            let reason = header(record, "settled-reason").unwrap_or_default();
            Seen::DeadLetter { key, reason }
        } else {
            return None;
        })
    }

    /// Moves the position; where the embedded broker dropped something, the run has failed.
    fn advance(&mut self, place: (String, i32), next: i64, audit: &SharedAudit) {
        let (topic, partition) = (place.0.clone(), place.1);
        let before = self.places.insert(place, next).unwrap_or(0);
        let offset = next - 1;
        if self.contiguous && before != offset {
            let what = format!(
                "{topic}[{partition}]: the embedded broker jumped from offset {before} to {offset}: it drops \
                 what exceeds 5 MiB a partition, and was written to faster than it was read"
            );
            with(audit, |audit| audit.breaks(what));
        }
    }

    /// Whether every partition was read to its end as it is now.
    fn is_at_the_ends(&self) -> KafkaResult<bool> {
        // The library's position also passes control records; it has none before a first record.
        let positions = self.consumer.position()?;
        for ((topic, partition), next) in &self.places {
            let position = positions
                .find_partition(topic, *partition)
                .and_then(|place| place.offset().to_raw())
                .unwrap_or(0);
            let (_, high) = self.consumer.fetch_watermarks(topic, *partition, TIMEOUT)?;
            if position.max(*next) < high {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Ends {
    /// Whether every record that is in the topics now was read and told.
    ///
    /// # Errors
    /// The broker does not answer, or the reader has ended.
    pub async fn are_reached(&self) -> KafkaResult<bool> {
        let (reply, answer) = oneshot::channel();
        if self.0.try_send(reply).is_err() {
            return Ok(false);
        }
        answer.await.unwrap_or(Err(KafkaError::Canceled))
    }
}

impl Reading {
    /// For whoever waits for the ends.
    pub fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// Resolves when the reader has ended, with an error when nobody asked it to. Safe to cancel.
    ///
    /// # Errors
    /// Its consumer is of no more use: a position outside the log, for one.
    pub async fn ended(&mut self) -> Result<(), ThreadError> {
        self.thread.ended().await
    }

    /// Ends it; whether it did within `deadline`.
    pub async fn stop(self, deadline: Duration) -> bool {
        self.thread.stop(deadline).await
    }
}

/// The library's negative numbers stand for «unknown».
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn partition(record: &BorrowedMessage<'_>) -> u16 {
    u16::try_from(record.partition()).unwrap_or_default()
}

fn place(record: &BorrowedMessage<'_>) -> (String, i32) {
    (record.topic().to_owned(), record.partition())
}

/// A header's text; a name that is no UTF-8 would panic in the library, and such headers are only
/// looked at behind the ones that are ours.
fn header(record: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let headers = record.headers()?;
    (0..headers.count()).find_map(|index| {
        let header =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| headers.try_get(index)));
        let header = header.ok().flatten()?;
        (header.key == name)
            .then(|| String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;
    use crate::dev::audit::Terms;

    /// A reader of no broker, which has read the events of a partition up to offset 5.
    fn reader(contiguous: bool) -> (SecondReader, SharedAudit) {
        let reader = SecondReader {
            consumer: ClientConfig::new().create().unwrap(),
            topics: Topics {
                events: "e".to_owned(),
                results: "r".to_owned(),
                dead_letters: "d".to_owned(),
            },
            places: HashMap::from([(("e".to_owned(), 0), 5)]),
            ends_of_events: vec![0],
            contiguous,
        };
        let audit = Audit::new(Terms {
            events_topic: "e".to_owned(),
            shards: 1,
            window: 1,
            configured: [].into(),
            question_ages: None,
            began_at: vec![0],
        });
        (reader, Arc::new(Mutex::new(audit)))
    }

    fn wrong_after(contiguous: bool, offset: i64) -> Vec<String> {
        let (mut reader, audit) = reader(contiguous);
        reader.advance(("e".to_owned(), 0), offset + 1, &audit);
        with(&audit, |audit| audit.verdict(0).wrong)
    }

    #[test]
    fn an_embedded_broker_that_drops_records_fails_the_run() {
        assert_eq!(wrong_after(true, 5), Vec::<String>::new());
        let wrong = wrong_after(true, 9);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("e[0]: "), "{wrong:?}");
        assert!(wrong[0].contains("from offset 5 to 9"), "{wrong:?}");
    }

    #[test]
    fn the_gaps_of_a_real_log_are_no_difference() {
        assert_eq!(wrong_after(false, 9), Vec::<String>::new());
    }
}
