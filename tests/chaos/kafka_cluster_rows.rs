//! What happens to a Kafka of three brokers with three copies of everything: leaders and coordinators
//! move, by accident and by order.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::time::sleep;

use crate::rig::Rig;
use crate::rows::{Row, Setup};
use crate::support::eventually;

pub fn rows() -> Vec<Row> {
    vec![Row {
        name: "kafka-leaders-moved",
        setup: Setup {
            spread: Duration::from_mins(1),
            own_brokers: 3,
            ..Setup::default()
        },
        strike: |rig| Box::pin(moved(rig)),
    }]
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

/// Every partition of every topic, those of groups and transactions too: leader and copies in sync.
fn partitions(rig: &Rig) -> Vec<(i32, usize)> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &rig.site.broker.bootstrap)
        .create()
        .unwrap();
    let metadata = client.fetch_metadata(None, Duration::from_secs(10));
    let Ok(metadata) = metadata else {
        return Vec::new();
    };
    let topics = metadata.topics().iter();
    let partitions = topics.flat_map(rdkafka::metadata::MetadataTopic::partitions);
    partitions
        .map(|one| (one.leader(), one.isr().len()))
        .collect()
}

/// How many partitions this broker leads.
fn leads(rig: &Rig, broker: i32) -> usize {
    let all = partitions(rig);
    // An answer that names nobody says nothing.
    if all.is_empty() {
        return usize::MAX;
    }
    all.iter().filter(|(leader, _)| *leader == broker).count()
}

fn in_sync(rig: &Rig) -> bool {
    let all = partitions(rig);
    !all.is_empty() && all.iter().all(|(_, copies)| *copies == rig.kafka.len())
}
