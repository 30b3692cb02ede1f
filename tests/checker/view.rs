//! The view's keys as they stand in Redis, by what their names say.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::Site;
use crate::support::eventually;
use crate::support::redis_cluster::View;

/// A key's place in the documented layout: `meta`, `o`, `q`, `d`, `m`, `x`, `h`, or `t` of no shard.
fn kind(key: &str) -> String {
    let Some(rest) = key.strip_prefix("s{") else {
        return key.chars().take(1).collect();
    };
    let (_, purpose) = rest.split_once('}').unwrap();
    if purpose == "meta" {
        return purpose.to_owned();
    }
    purpose.chars().take(1).collect()
}

impl Site {
    /// How many keys of each kind there are.
    pub fn keys(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for key in self.key_names() {
            *counts.entry(kind(&key)).or_default() += 1;
        }
        counts
    }

    /// How many orders are marked as settled.
    pub fn marks(&self) -> usize {
        let mut redis = self.redis();
        let marks = self.key_names().into_iter().filter(|key| kind(key) == "m");
        marks
            .map(|key| {
                redis::cmd("HLEN")
                    .arg(key)
                    .query::<usize>(&mut redis)
                    .unwrap()
            })
            .sum()
    }

    /// Waits until nothing is pending and every view has folded both logs to their ends: whatever was
    /// published before has had its effect. The gauges would not do: they are as old as the last survey.
    pub async fn at_rest(&self) {
        let within = Duration::from_secs(30);
        let reader: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.broker.bootstrap)
            .set("isolation.level", "read_uncommitted")
            .create()
            .unwrap();
        let end = |topic: &str, shard| reader.fetch_watermarks(topic, shard, within).unwrap().1;
        eventually("all is folded, nothing is pending", within, async || {
            let folded = self.positions();
            let pending = self.keys().contains_key("h");
            let ends = (0..self.shards)
                .map(|shard| [&self.names.events, &self.names.results].map(|log| end(log, shard)));
            (!pending && folded.into_iter().eq(ends)).then_some(())
        })
        .await;
    }

    /// Next event and next result of each shard's view; -1 without a view.
    fn positions(&self) -> Vec<[i64; 2]> {
        let mut redis = self.redis();
        let position = |shard| {
            let mut read = redis::cmd("HMGET");
            read.arg(format!("s{{{shard}}}meta")).arg("e").arg("r");
            let read: [Option<i64>; 2] = read.query(&mut redis).unwrap();
            read.map(|position| position.unwrap_or(-1))
        };
        (0..self.shards).map(position).collect()
    }

    /// Wipes the view.
    pub fn flush_all(&self) {
        redis::cmd("FLUSHALL")
            .query::<()>(&mut self.redis())
            .unwrap();
    }

    /// Makes a key a string.
    pub fn put(&self, key: &str, value: &str) {
        redis::cmd("SET")
            .arg(key)
            .arg(value)
            .exec(&mut self.redis())
            .unwrap();
    }

    /// Removes the record of one order, whose number does not end in digits: only then it stands in
    /// its field as it is.
    pub fn take_from_the_view(&self, number: &str) {
        let mut redis = self.redis();
        let mut removed = 0;
        for key in self.key_names().iter().filter(|key| kind(key) == "o") {
            let fields: Vec<Vec<u8>> = redis::cmd("HKEYS").arg(key).query(&mut redis).unwrap();
            for field in fields {
                if field.get(1..) == Some(number.as_bytes()) {
                    let removing = redis::cmd("HDEL")
                        .arg(key)
                        .arg(field)
                        .query::<u32>(&mut redis);
                    removed += removing.unwrap();
                }
            }
        }
        assert_eq!(removed, 1, "{number} is in the view");
    }

    fn key_names(&self) -> Vec<String> {
        redis::cmd("KEYS")
            .arg("*")
            .query(&mut self.redis())
            .unwrap()
    }

    /// A connection of its own.
    pub fn redis(&self) -> View {
        View::open(&self.redis.url)
    }
}
