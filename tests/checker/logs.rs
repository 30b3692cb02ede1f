//! What the topics hold, judged from outside: every record against the schemas, every result in its
//! order's partition under its order's id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Site;
use crate::support::topics::{Isolation, Seen, read_raw};
use crate::support::unique;

/// A result as the topic holds it.
#[derive(Clone, Debug)]
pub struct Published {
    /// `<type>/<reqNO>`.
    pub key: String,
    /// The record's value.
    pub value: Value,
}

impl Published {
    /// A field that is text.
    pub fn text(&self, field: &str) -> &str {
        self.value[field].as_str().unwrap_or_default()
    }
}

impl Site {
    /// All results that this isolation shows, each held against the schemas, its key, its partition
    /// and its id.
    pub fn results(&self, isolation: Isolation) -> Vec<Published> {
        let bootstrap = &self.broker.bootstrap;
        let seen = self.names.read(bootstrap, &self.names.results, isolation);
        seen.iter().map(|record| self.published(record)).collect()
    }

    fn published(&self, record: &Seen) -> Published {
        let value = record.value.as_deref().unwrap();
        assert_eq!(record.header("settled-app"), Some(self.names.app.as_str()));
        let value: Value = serde_json::from_slice(value).unwrap();
        let key = key_of(&value);
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
        assert_eq!(record.partition, shard_of(&key, self.shards));
        let named = match value["outcome"].as_str() {
            Some("settled") => format!("{key}/settled"),
            _ => format!("{key}/exhausted/{}", value["phase"]),
        };
        let hash = Sha256::digest(named);
        let id = u128::from_be_bytes(*hash.first_chunk().unwrap());
        assert_eq!(value["id"], format!("{id:032x}"), "{value}");
        Published { key, value }
    }

    /// The results a reader acts on: every order that has one, its status; no order has two.
    pub fn resolutions(&self) -> BTreeMap<String, String> {
        let mut resolutions = BTreeMap::new();
        for result in self.results(Isolation::Committed) {
            if result.text("outcome") == "settled" {
                let status = result.text("status").to_owned();
                let before = resolutions.insert(result.key.clone(), status);
                assert!(before.is_none(), "{} was settled twice", result.key);
            }
        }
        // Whoever reads uncommitted sees the same and what was aborted; all of it is well-formed.
        let shown = self.results(Isolation::Uncommitted).len();
        assert!(shown >= resolutions.len());
        resolutions
    }

    /// The dead letters by key: reason, and the bytes as they came.
    pub fn dead_letters(&self) -> BTreeMap<String, (String, Vec<u8>)> {
        let mut letters = BTreeMap::new();
        let (bootstrap, topic) = (&self.broker.bootstrap, &self.names.dead_letters);
        for record in self.names.read(bootstrap, topic, Isolation::Committed) {
            let place = ["settled-topic", "settled-partition", "settled-offset"]
                .map(|name| record.header(name).unwrap())
                .join("/");
            let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
            assert_eq!(key, place);
            let reason = record.header("settled-reason").unwrap().to_owned();
            letters.insert(key, (reason, record.value.unwrap_or_default()));
        }
        letters
    }

    /// The events of `order-events` but for `garbage`, and whether each was forwarded there. A
    /// forwarded one lies in its order's partition.
    pub fn events(&self, garbage: impl Fn(&[u8]) -> bool) -> Vec<(String, bool)> {
        let (bootstrap, topic) = (&self.broker.bootstrap, &self.names.events);
        let mut events = Vec::new();
        for record in read_raw(bootstrap, topic, Isolation::Committed) {
            let value = record.value.as_deref().unwrap_or_default();
            if garbage(value) {
                continue;
            }
            self.names.hold(topic, value, &record.headers);
            let key = key_of(&serde_json::from_slice(value).unwrap());
            let forwarded = record.header("settled-forwarded").is_some();
            assert!(!forwarded || record.partition == shard_of(&key, self.shards));
            events.push((key, forwarded));
        }
        events
    }

    /// A read-committed reader that counts results as they are published. It keeps up with them, so
    /// that the schemas have their turn when the whole topic is read.
    pub fn tail(&self) -> Tail {
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.broker.bootstrap)
            .set("group.id", unique("tail"))
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let mut places = TopicPartitionList::new();
        for partition in 0..self.shards {
            places
                .add_partition_offset(&self.names.results, partition, Offset::Beginning)
                .unwrap();
        }
        reader.assign(&places).unwrap();
        Tail {
            reader,
            settled: BTreeSet::new(),
            records: 0,
        }
    }
}

/// Follows the results.
pub struct Tail {
    reader: BaseConsumer,
    /// Orders that have a `settled` result.
    pub settled: BTreeSet<String>,
    /// All results.
    pub records: usize,
}

impl Tail {
    /// Takes what is there, waiting at most 20 ms for the first record.
    pub fn read(&mut self) {
        let mut wait = Duration::from_millis(20);
        while let Some(record) = self.reader.poll(wait) {
            wait = Duration::ZERO;
            let record = record.unwrap();
            let value: Value = serde_json::from_slice(record.payload().unwrap()).unwrap();
            self.records += 1;
            if value["outcome"] == "settled" {
                self.settled.insert(key_of(&value));
            }
        }
    }

    /// Reads until `count` orders are settled.
    pub fn wait_for(&mut self, count: usize, within: Duration) {
        let deadline = Instant::now() + within;
        while self.settled.len() < count {
            let settled = self.settled.len();
            assert!(
                Instant::now() < deadline,
                "{settled} of {count} orders settled within {within:?}"
            );
            self.read();
        }
    }
}

fn key_of(value: &Value) -> String {
    let text = |field: &str| value[field].as_str().unwrap().to_owned();
    format!("{}/{}", text("type"), text("reqNO"))
}

/// The shard of an order, as Java's default partitioner and the design have it.
pub fn shard_of(key: &str, shards: i32) -> i32 {
    (murmur2(key.as_bytes()) & 0x7fff_ffff).cast_signed() % shards
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (n, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * n);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}
