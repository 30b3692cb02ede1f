//! What business systems publish: events made beforehand, so that it costs little while it counts.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use settled::clock::Clock;
use settled::domain::wire_time;
use tokio::task::JoinHandle;

use crate::checker::Site;
use crate::checker::logs::shard_of;
use crate::stage::SHARDS;
use crate::support::topics::{Raw, send};

/// The key of the order with this number: 24 characters, as banks have them.
pub fn key(order_type: &str, number: u64) -> String {
    format!("{order_type}/TX20261123{number:014}")
}

/// The number of the order with this key.
pub fn number(key: &str) -> u64 {
    key[key.len() - 14..].parse().unwrap()
}

/// The shard of the order with this key.
pub fn shard(key: &str) -> usize {
    usize::try_from(shard_of(key, SHARDS)).unwrap()
}

/// Now, as Unix milliseconds.
pub fn now() -> u64 {
    Clock::start().wall()
}

/// What is said about an order now; a 3 may say when to ask first.
pub fn said(order_type: &str, number: u64, status: &str, ask_at: Option<u64>) -> Raw {
    let key = key(order_type, number);
    let req_no = &key[order_type.len() + 1..];
    let at = wire_time::format(now());
    let ask_at = ask_at.map_or_else(String::new, |ask_at| {
        format!(r#","askAt":"{}""#, wire_time::format(ask_at))
    });
    let value = format!(
        r#"{{"v":1,"type":"{order_type}","reqNO":"{req_no}","status":"{status}","at":"{at}","source":"pay-core"{ask_at}}}"#
    );
    Raw {
        key: Some(key.as_bytes().to_vec()),
        ..Raw::to(shard_of(&key, SHARDS), value)
    }
}

/// A producer of `order-events` that stays.
pub struct Publisher {
    producer: BaseProducer,
    topic: String,
}

impl Publisher {
    pub fn of(site: &Site) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &site.broker.bootstrap)
            .set("linger.ms", "5")
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        Self {
            producer,
            topic: site.names.events.clone(),
        }
    }

    /// Publishes, and returns when all are acknowledged.
    pub fn publish(&self, records: impl IntoIterator<Item = Raw>) {
        for record in records {
            while send(&self.producer, &self.topic, &record).is_err() {
                self.producer.poll(Duration::from_millis(1));
            }
            self.producer.poll(Duration::ZERO);
        }
        self.producer.flush(Duration::from_mins(1)).unwrap();
    }

    /// As [`Publisher::publish`], on a thread of its own.
    pub async fn published(self: &Arc<Self>, records: Vec<Raw>) {
        let publisher = Arc::clone(self);
        let publishing = tokio::task::spawn_blocking(move || publisher.publish(records));
        publishing.await.unwrap();
    }
}

/// Orders that come one after the other, evenly.
#[derive(Clone)]
pub struct Stream {
    pub order_type: &'static str,
    /// Numbers; the end may be far.
    pub orders: Range<u64>,
    pub per_second: u64,
    /// When the first is due; with this, each says when to ask it, and is published so long before.
    pub first_due: Option<(u64, Duration)>,
}

impl Stream {
    /// When an order is due, in Unix milliseconds.
    pub fn due(&self, number: u64) -> u64 {
        let nth = number - self.orders.start;
        self.first_due.map_or(0, |(first, _)| first) + nth * 1_000 / self.per_second
    }

    /// Publishes all of them at their times, or until `stop` is not 0; counts in `sent` those
    /// that are acknowledged.
    pub fn run(&self, publisher: &Publisher, sent: &AtomicU64, stop: &AtomicU64) {
        const STEP: Duration = Duration::from_millis(50);
        let clock = Clock::start();
        let began = match self.first_due {
            Some((first, lead)) => first - lead.as_millis() as u64,
            None => clock.wall(),
        };
        let mut next = self.orders.start;
        while next < self.orders.end && stop.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(STEP);
            let passed = clock.wall().saturating_sub(began);
            let to = self.orders.start + passed * self.per_second / 1_000;
            let to = to.min(self.orders.end);
            let records = (next..to).map(|number| {
                let ask_at = self.first_due.map(|_| self.due(number));
                said(self.order_type, number, "3", ask_at)
            });
            publisher.publish(records);
            next = next.max(to);
            sent.store(next - self.orders.start, Ordering::Relaxed);
        }
    }
}

/// Orders of type `transfer` that keep coming, from number 0 on.
pub struct Traffic {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Traffic {
    pub fn start(site: &Site, per_second: u64) -> Self {
        let publisher = Publisher::of(site);
        let stream = Stream {
            order_type: "transfer",
            orders: 0..u64::MAX,
            per_second,
            first_due: None,
        };
        let [sent, stop] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&sent), Arc::clone(&stop));
        let task =
            tokio::task::spawn_blocking(move || stream.run(&publisher, &counts.0, &counts.1));
        Self { sent, stop, task }
    }

    /// Ends it; how many orders there were.
    pub async fn end(self) -> usize {
        self.stop.store(1, Ordering::Relaxed);
        self.task.await.unwrap();
        self.sent.load(Ordering::Relaxed) as usize
    }
}
