//! Topics of a test's own: made, written to with raw records and read to their end in either
//! isolation, by plain clients that share nothing with the crate's handles. What is read is held
//! against the schemas, and at its end a test says how many records that were.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::broker::Broker;
use super::schemas::Headers;
use super::tally::Tally;
use super::unique;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The three topics of one test and the name that its groups and transactional ids begin with.
#[derive(Clone, Debug)]
pub struct World {
    /// `app` of the configuration.
    pub app: String,
    /// `order-events`.
    pub events: String,
    /// `order-results`.
    pub results: String,
    /// `order-dead-letters`.
    pub dead_letters: String,
    /// What every record that is read here is held against.
    pub book: Arc<Tally>,
}

impl World {
    /// Names that no other test has; nothing is created.
    pub fn named(name: &str) -> Self {
        let app = unique(name);
        Self {
            events: format!("{app}-events"),
            results: format!("{app}-results"),
            dead_letters: format!("{app}-dead-letters"),
            app,
            book: Arc::default(),
        }
    }

    /// The names that `settled` uses unless it is told others.
    pub fn by_default() -> Self {
        Self {
            app: "settled".to_owned(),
            events: "order-events".to_owned(),
            results: "order-results".to_owned(),
            dead_letters: "order-dead-letters".to_owned(),
            book: Arc::default(),
        }
    }

    /// The same, with the topics made: `inlets` more partitions of events than shards.
    pub async fn create(broker: &Broker, name: &str, shards: i32, inlets: i32) -> Self {
        let world = Self::named(name);
        create_topic(broker, &world.events, shards + inlets, &[]).await;
        create_topic(broker, &world.results, shards, &[]).await;
        create_topic(broker, &world.dead_letters, 1, &[]).await;
        world
    }

    /// Reads one of the three topics as [`read_raw`] does, each record held against the schemas.
    ///
    /// # Panics
    /// At the first that does not fit.
    pub fn read(&self, bootstrap: &str, topic: &str, isolation: Isolation) -> Vec<Seen> {
        let records = read_raw(bootstrap, topic, isolation);
        for record in &records {
            let (value, headers) = (record.value.as_deref(), record.headers.as_slice());
            self.hold(topic, value.unwrap_or_default(), headers);
        }
        records
    }

    /// Holds a record of one of the three topics against the schemas.
    ///
    /// # Panics
    /// It does not fit.
    pub fn hold(&self, topic: &str, value: &[u8], headers: &Headers) {
        let held = match topic {
            _ if topic == self.events => self.book.validate_event(value),
            _ if topic == self.results => self.book.validate_result(value, headers),
            _ if topic == self.dead_letters => self.book.validate_dead_letter(headers),
            _ => panic!("{topic} is none of {self:?}"),
        };
        held.unwrap_or_else(|error| panic!("{topic}: {error}"));
    }
}

/// Makes a topic with the broker's append times; `properties` come over that.
pub async fn create_topic(
    broker: &Broker,
    name: &str,
    partitions: i32,
    properties: &[(&str, &str)],
) {
    let admin: AdminClient<DefaultClientContext> = client(&broker.bootstrap).create().unwrap();
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "LogAppendTime");
    for (property, value) in properties {
        topic.config.retain(|(known, _)| known != property);
        topic = topic.set(property, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    for made in admin.create_topics([&topic], &options).await.unwrap() {
        made.unwrap();
    }
}

/// A record to be written as it is.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// `None`: where librdkafka's own partitioner puts it.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its time stamp, in milliseconds, in a topic that takes the writer's; `None`: now.
    pub time: Option<i64>,
}

impl Raw {
    /// A record without key and headers.
    pub fn to(partition: i32, value: impl Into<Vec<u8>>) -> Self {
        Self {
            partition: Some(partition),
            value: Some(value.into()),
            ..Self::default()
        }
    }
}

/// Writes the records in their order and waits for all acknowledgements.
pub fn produce(bootstrap: &str, topic: &str, records: impl IntoIterator<Item = Raw>) {
    let producer: BaseProducer = client(bootstrap)
        // In order without idempotence, whose producer id takes half a second to get.
        .set("max.in.flight", "1")
        .create()
        .unwrap();
    for raw in records {
        while send(&producer, topic, &raw).is_err() {
            producer.poll(Duration::from_millis(10));
        }
        producer.poll(Duration::ZERO);
    }
    // The broker may be away for a while.
    producer.flush(Duration::from_mins(3)).unwrap();
}

/// A foreign writer's transaction, left open until it is dropped, committed or aborted by the caller.
pub fn open_transaction(bootstrap: &str, id: &str, topic: &str, records: &[Raw]) -> BaseProducer {
    let producer: BaseProducer = client(bootstrap)
        .set("transactional.id", id)
        .create()
        .unwrap();
    producer.init_transactions(TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    for raw in records {
        send(&producer, topic, raw).unwrap();
    }
    producer.flush(TIMEOUT).unwrap();
    producer
}

/// Sends, without waiting.
pub fn send(producer: &BaseProducer, topic: &str, raw: &Raw) -> Result<(), ()> {
    let mut headers = OwnedHeaders::new();
    for (key, value) in &raw.headers {
        headers = headers.insert(Header {
            key,
            value: Some(value),
        });
    }
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
    record.partition = raw.partition;
    record.key = raw.key.as_deref();
    record.payload = raw.value.as_deref();
    record.timestamp = raw.time;
    producer.send(record).map_err(|_| ())
}

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Committed ones only.
    Committed,
    /// Aborted and open ones too.
    Uncommitted,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The time stamp, in milliseconds.
    pub time: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Seen {
    /// The value of a header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

/// Everything that a topic holds from the beginning to the end that it has now, by partition and
/// offset. The end is where this isolation can read to: the last stable offset for committed records.
/// Nothing is held against the schemas: for what a test has written as it should not be.
pub fn read_raw(bootstrap: &str, topic: &str, isolation: Isolation) -> Vec<Seen> {
    let reader: BaseConsumer = client(bootstrap)
        .set("group.id", unique("reader"))
        .set(
            "isolation.level",
            match isolation {
                Isolation::Committed => "read_committed",
                Isolation::Uncommitted => "read_uncommitted",
            },
        )
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .create()
        .unwrap();
    let metadata = reader.fetch_metadata(Some(topic), TIMEOUT).unwrap();
    let partitions = metadata.topics()[0].partitions();
    let mut places = TopicPartitionList::new();
    let mut ends = Vec::new();
    for partition in partitions.iter().map(MetadataPartition::id) {
        let (low, high) = watermarks(&reader, topic, partition);
        if low < high {
            places
                .add_partition_offset(topic, partition, Offset::Offset(low))
                .unwrap();
            ends.push((partition, high));
        }
    }
    reader.assign(&places).unwrap();
    let mut seen = Vec::new();
    let mut idle = 0;
    while !has_passed(&reader, topic, &ends) {
        match reader.poll(Duration::from_millis(20)) {
            Some(Ok(record)) => {
                idle = 0;
                seen.push(owned(&record));
            }
            // One broker of several may be away; the reader goes on with the others.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            )))
            | None => idle += 1,
            Some(Err(error)) => panic!("{topic}: {error}"),
        }
        assert!(
            idle < 1_000,
            "{topic} could not be read to its end {ends:?}"
        );
    }
    seen.sort_by_key(|record| (record.partition, record.offset));
    seen
}

/// A broker that has just been away names topics whose leaders it does not know yet.
fn watermarks(reader: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    let mut answer = reader.fetch_watermarks(topic, partition, TIMEOUT);
    for _ in 0..50 {
        if answer.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        answer = reader.fetch_watermarks(topic, partition, TIMEOUT);
    }
    answer.unwrap()
}

fn has_passed(reader: &BaseConsumer, topic: &str, ends: &[(i32, i64)]) -> bool {
    let positions = reader.position().unwrap();
    ends.iter().all(|&(partition, end)| {
        let place = positions.find_partition(topic, partition);
        place.is_some_and(|place| matches!(place.offset(), Offset::Offset(at) if at >= end))
    })
}

fn owned(record: &impl Message) -> Seen {
    let headers = record.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect()
    });
    Seen {
        partition: record.partition(),
        offset: record.offset(),
        time: record.timestamp().to_millis().unwrap_or(-1),
        key: record.key().map(<[u8]>::to_vec),
        value: record.payload().map(<[u8]>::to_vec),
        headers,
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("allow.auto.create.topics", "false")
        .set("linger.ms", "1");
    config
}
