//! What happens to a Kafka of three brokers with three copies of everything: leaders and coordinators
//! move, by accident and by order; one topic wants more copies than are left.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AlterConfig, ConfigSource, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;
use tokio::time::sleep;

use crate::kafka_rows::{admin, options};
use crate::plain_http::get;
use crate::rig::Rig;
use crate::rows::{Row, Setup, Strike};
use crate::support::eventually;
use crate::support::topics::{Isolation, read_raw};

pub fn rows() -> Vec<Row> {
    let row = |name, seconds, strike: Strike| {
        let setup = Setup {
            own_brokers: 3,
            ..Setup::lasting(seconds)
        };
        Row::new(name, setup, strike)
    };
    vec![
        row("kafka-leaders-moved", 60, |rig| Box::pin(moved(rig))),
        row("kafka-results-unwritable-2min", 150, |rig| {
            Box::pin(unwritable(rig))
        }),
    ]
}

const WITHIN: Duration = Duration::from_mins(1);

/// Each broker in turn is killed for ten seconds: every leader and every coordinator moves, of results,
/// events, transactions and the group. When it is back it leads again what it is preferred for, so that
/// they move without an accident as well.
async fn moved(rig: &mut Rig) {
    let mut led = Vec::new();
    for broker in 0..rig.kafka.len() {
        let id = i32::try_from(broker).unwrap() + 1;
        led.push(leads(rig, id));
        rig.kafka[broker].kill();
        eventually("others lead", WITHIN, async || {
            (leads(rig, id) == 0).then_some(())
        })
        .await;
        sleep(Duration::from_secs(10)).await;
        rig.kafka[broker].restart().await;
        eventually("it leads again", WITHIN, async || {
            (leads(rig, id) > 0 && in_sync(rig)).then_some(())
        })
        .await;
    }
    assert!(led.iter().all(|partitions| *partitions > 0), "{led:?}");
}

/// order-results alone wants all three copies, and one broker is gone for two minutes: the brokers that
/// are left refuse its records (`NOT_ENOUGH_REPLICAS`), and the markers that end transactions in it, while
/// events, offsets and the state of transactions are written as ever. (A small `max.message.bytes` is not
/// the same: Kafka gives up a marker for good that is too large. And `min.insync.replicas` counts for no
/// more than there are replicas.)
async fn unwritable(rig: &mut Rig) {
    let results = rig.site.names.results.clone();
    set_on(rig, &results, "min.insync.replicas", "3").await;
    rig.kafka[2].kill();
    eventually("results lack a copy", WITHIN, async || {
        have_copies(rig, |topic| topic == results, 2).then_some(())
    })
    .await;
    let before = Heard::by(rig).await;
    sleep(Duration::from_mins(2)).await;
    let after = Heard::by(rig).await;
    let told = format!("{before:?}, then {after:?}");
    println!("unwritable: {told}");
    // Else the row proves nothing.
    assert_eq!(after.results, before.results, "results are written: {told}");
    let events = after.events - before.events;
    assert!(events > 3_000, "events do not come: {told}");
    // One event is one order, nearly; asked or told each second it would be a hundred of each.
    let asked = after.scheduled - before.scheduled;
    assert!(asked < events, "the owner is stormed: {told}");
    let lines = after.lines - before.lines;
    assert!(lines < 600, "the log fills: {told}");
    let wanting = have_copies(rig, |topic| topic == results, 2);
    assert!(wanting, "the copy came back by itself");
    rig.kafka[2].restart().await;
    eventually("all copies are in sync", WITHIN, async || {
        in_sync(rig).then_some(())
    })
    .await;
}

/// What there is until now.
#[derive(Debug)]
struct Heard {
    /// Records in order-results, aborted ones too.
    results: usize,
    /// Records in order-events.
    events: usize,
    /// Questions that the owner got by schedules, not through callers.
    scheduled: usize,
    /// Lines in the logs of the workers.
    lines: usize,
}

impl Heard {
    async fn by(rig: &Rig) -> Self {
        let bootstrap = &rig.site.broker.bootstrap;
        let read = |topic| read_raw(bootstrap, topic, Isolation::Uncommitted).len();
        let log = |name| std::fs::read_to_string(rig.site.file(name)).unwrap();
        let questions = get(rig.bank.at, "/questions").await.body;
        let scheduled = questions
            .lines()
            .filter(|line| !line.contains(r#""attempt":0,"#));
        Self {
            results: read(&rig.site.names.results),
            events: read(&rig.site.names.events),
            scheduled: scheduled.count(),
            lines: log("one.log").lines().count() + log("other.log").lines().count(),
        }
    }
}

async fn set_on(rig: &Rig, topic: &str, name: &str, value: &str) {
    let described = admin(rig)
        .describe_configs([&ResourceSpecifier::Topic(topic)], &options())
        .await
        .unwrap();
    let described: Vec<_> = described.into_iter().map(Result::unwrap).collect();
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
    // What is not named goes back to its default.
    for entry in &described[0].entries {
        let ours = entry.source == ConfigSource::DynamicTopic && entry.name != name;
        if let Some(value) = entry.value.as_deref().filter(|_| ours) {
            change = change.set(&entry.name, value);
        }
    }
    let change = change.set(name, value);
    for changed in admin(rig)
        .alter_configs([&change], &options())
        .await
        .unwrap()
    {
        changed.unwrap();
    }
}

/// Every partition of these topics, those of groups and transactions too: leader and copies in sync.
fn partitions(rig: &Rig, of: impl Fn(&str) -> bool) -> Vec<(i32, usize)> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &rig.site.broker.bootstrap)
        .create()
        .unwrap();
    let metadata = client.fetch_metadata(None, Duration::from_secs(10));
    let Ok(metadata) = metadata else {
        return Vec::new();
    };
    let topics = metadata.topics().iter().filter(|topic| of(topic.name()));
    let partitions = topics.flat_map(MetadataTopic::partitions);
    partitions
        .map(|one| (one.leader(), one.isr().len()))
        .collect()
}

/// How many partitions this broker leads.
fn leads(rig: &Rig, broker: i32) -> usize {
    let all = partitions(rig, |_| true);
    // An answer that names nobody says nothing.
    if all.is_empty() {
        return usize::MAX;
    }
    all.iter().filter(|(leader, _)| *leader == broker).count()
}

/// Whether every partition has so many copies in sync.
fn have_copies(rig: &Rig, of: impl Fn(&str) -> bool, wanted: usize) -> bool {
    let all = partitions(rig, of);
    !all.is_empty() && all.iter().all(|(_, copies)| *copies == wanted)
}

fn in_sync(rig: &Rig) -> bool {
    have_copies(rig, |_| true, rig.kafka.len())
}
