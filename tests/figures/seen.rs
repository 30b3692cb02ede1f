//! What the topics tell afterwards: the broker's append times, and whether each order has one result.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::checker::Site;
use crate::load::number;
use crate::stage::SHARDS;
use crate::support::topics::{Isolation, read_raw};

/// An order and the moment at which the broker took its record, in Unix milliseconds.
pub struct Record {
    pub order: u64,
    pub key: String,
    pub at: u64,
    /// A result that is none of its order's own.
    pub exhausted: bool,
}

/// All that was published about orders.
pub fn events(site: &Site) -> Vec<Record> {
    read(site, &site.names.events)
}

/// All committed results. Their keys are asserted to be all different, and `count` of them.
pub fn results(site: &Site, count: usize) -> Vec<Record> {
    let results = read(site, &site.names.results);
    let orders: BTreeSet<&str> = results.iter().map(|result| &*result.key).collect();
    assert_eq!(
        (orders.len(), results.len()),
        (count, count),
        "one result each"
    );
    results
}

fn read(site: &Site, topic: &str) -> Vec<Record> {
    let records = read_raw(&site.broker.bootstrap, topic, Isolation::Committed);
    let record = |record: crate::support::topics::Seen| {
        let exhausted = record.header("settled-outcome") == Some("exhausted");
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        Record {
            order: number(&key),
            key,
            at: record.time.cast_unsigned(),
            exhausted,
        }
    };
    records.into_iter().map(record).collect()
}

/// Looks at the ends of the results from outside.
pub struct Ends {
    topic: String,
    committed: BaseConsumer,
    uncommitted: BaseConsumer,
}

impl Ends {
    pub fn of(site: &Site) -> Self {
        let reader = |isolation: &str| {
            ClientConfig::new()
                .set("bootstrap.servers", &site.broker.bootstrap)
                .set("isolation.level", isolation)
                .create()
                .unwrap()
        };
        Self {
            topic: site.names.results.clone(),
            committed: reader("read_committed"),
            uncommitted: reader("read_uncommitted"),
        }
    }

    /// The shards whose results have an open transaction now: what a `read_committed` reader can reach
    /// ends before the log does.
    pub fn in_transaction(&self) -> Vec<usize> {
        let within = Duration::from_secs(10);
        let end = |reader: &BaseConsumer, shard| {
            let ends = reader.fetch_watermarks(&self.topic, shard, within);
            ends.unwrap().1
        };
        // The stable end first: what is appended between the two looks may be committed already, so
        // the caller looks at a worker that stands still.
        let open = |shard: &i32| end(&self.committed, *shard) < end(&self.uncommitted, *shard);
        let shards = (0..SHARDS).filter(open);
        shards
            .map(|shard| usize::try_from(shard).unwrap())
            .collect()
    }
}

/// The value below which this share of sorted values lies.
pub fn quantile<T: Copy>(sorted: &[T], share: f64) -> T {
    #[expect(clippy::cast_sign_loss, reason = "an index")]
    let at = (sorted.len() as f64 * share) as usize;
    sorted[at.min(sorted.len() - 1)]
}
