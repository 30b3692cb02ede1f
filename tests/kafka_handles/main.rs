//! Each Kafka handle against a real broker: fences, isolation, positions, ownership; what of it holds
//! on librdkafka's embedded broker; and shards that commit their floors there and are rebuilt from them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "this is a test")]

#[path = "../support/mod.rs"]
mod support;

mod embedded;
mod floors;
mod inlet;
mod member;
mod owner;
mod positions;
mod producer;
mod publisher;
mod reader;
mod rebuild;
mod revoked;
mod topics;
mod wipe;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use settled::config::GroupProtocol;
use settled::domain::order::{Millis, OrderKey};
use settled::domain::result::{OrderResult, Outcome};
use settled::domain::status::Terminal;
use settled::kafka::Publication;
use settled::kafka::feed::Batch;
use settled::kafka::publisher::{Publisher, PublisherPool};
use settled::kafka::reader::Configured;
use settled::kafka::settings::{self, Settings};
use support::topics::{Raw, World};
use tokio::sync::mpsc;

/// 2026-11-23T07:00:00.123Z.
const APPENDED: Millis = 1_795_417_200_123;

/// An event that makes order `transfer/TX1` pending.
const EVENT: &str = r#"{"v":1,"type":"transfer","reqNO":"TX1","status":"3","at":"2096-11-23T07:00:00.123Z","source":"test"}"#;

/// Far beyond what anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

fn settings(bootstrap: &str, world: &World, shards: u16) -> Settings {
    Settings {
        app: world.app.clone(),
        shards,
        window: 24 * 3_600_000,
        bootstrap: bootstrap.to_owned(),
        topics: settings::Topics {
            events: world.events.clone(),
            results: world.results.clone(),
            dead_letters: world.dead_letters.clone(),
        },
        world: settings::World::Real,
        protocol: GroupProtocol::Classic,
        properties: BTreeMap::new(),
    }
}

fn every_type() -> Configured {
    Arc::new(|_| true)
}

async fn open(settings: &Settings, shard: u16) -> Publisher {
    let pool = PublisherPool::start(settings).unwrap();
    pool.open(shard, Arc::new(|| true)).await.unwrap()
}

/// The result of order `transfer/<req_no>`.
fn publication(req_no: &str) -> Publication {
    result_of(OrderKey::parse(&format!("transfer/{req_no}")).unwrap())
}

fn result_of(key: OrderKey) -> Publication {
    let result = OrderResult {
        outcome: Outcome::Settled {
            status: Terminal::Success,
            source: "inquiry".to_owned(),
            rsp_no: None,
            ret_cd: None,
            ret_msg: None,
        },
        phase: 0,
        asked: 1,
        first_seen: APPENDED,
        at: APPENDED,
        event: (0, 0),
        traceparent: None,
        key,
    };
    Publication {
        key: result.key.to_string(),
        value: result.encode(),
        headers: result.headers("test"),
    }
}

/// Garbage events: decoding refuses them, which is all that positions need.
fn numbered(partition: i32, numbers: std::ops::Range<u64>) -> impl Iterator<Item = Raw> {
    numbers.map(move |number| Raw::to(partition, number.to_string()))
}

async fn next<R>(batches: &mut mpsc::Receiver<Batch<R>>) -> Batch<R> {
    tokio::time::timeout(DEADLINE, batches.recv())
        .await
        .expect("a batch")
        .expect("the reader still runs")
}

/// Takes batches until their position has reached `end`; all the records.
async fn read_to<R>(batches: &mut mpsc::Receiver<Batch<R>>, end: u64) -> (Vec<R>, u64) {
    let mut records = Vec::new();
    loop {
        let batch = next(batches).await;
        records.extend(batch.records);
        if batch.position >= end {
            return (records, batch.position);
        }
    }
}
