//! What happens to Kafka, to the group and to the logs.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::time::sleep;

use crate::letters_row;
use crate::rig::Rig;
use crate::rows::{Row, Setup, Strike};
use crate::support::topics::{Isolation, Raw, produce, read_raw};
use crate::trimmed_row;

pub fn rows() -> Vec<Row> {
    let row = |name, seconds, strike: Strike| Row::new(name, Setup::lasting(seconds), strike);
    let own = |name, strike: Strike| {
        let setup = Setup {
            own_brokers: 1,
            ..Setup::lasting(20)
        };
        Row::new(name, setup, strike)
    };
    let kip848 = Setup {
        group_protocol: "consumer",
        ..Setup::lasting(40)
    };
    vec![
        own("kafka-frozen-60s", |rig| Box::pin(frozen(rig))),
        own("kafka-killed-60s", |rig| Box::pin(killed(rig))),
        row("kafka-foreign-transaction", 20, |rig| {
            Box::pin(foreign_transaction(rig))
        }),
        row("kafka-group-deleted", 20, |rig| {
            Box::pin(group_deleted(rig))
        }),
        row("kafka-input-replayed", 12, |rig| Box::pin(replayed(rig))),
        row("kafka-partitions-doubled", 20, |rig| Box::pin(doubled(rig))),
        row("kafka-head-trimmed", 20, |rig| {
            Box::pin(trimmed_row::trimmed(rig))
        }),
        row("kafka-dead-letters-deleted", 70, |rig| {
            Box::pin(letters_row::deleted(rig))
        }),
        row("kafka-rebalances", 70, |rig| Box::pin(rebalances(rig))),
        Row::new("kafka-rebalances-kip848", kip848, |rig| {
            Box::pin(rebalances(rig))
        }),
    ]
}

pub fn client(rig: &Rig) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &rig.site.broker.bootstrap);
    config
}

pub fn admin(rig: &Rig) -> AdminClient<DefaultClientContext> {
    client(rig).create().unwrap()
}

pub fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(Duration::from_secs(20)))
}

async fn frozen(rig: &mut Rig) {
    let broker = &rig.kafka[0];
    broker.signal("STOP");
    sleep(Duration::from_mins(1)).await;
    broker.signal("CONT");
}

async fn killed(rig: &mut Rig) {
    let broker = &mut rig.kafka[0];
    broker.kill();
    sleep(Duration::from_mins(1)).await;
    broker.restart().await;
}

/// Somebody's transaction in order-results stands open for as long as the broker lets it, 20 s, and
/// is ended by nobody; meanwhile a worker starts anew.
async fn foreign_transaction(rig: &mut Rig) {
    let intruder: BaseProducer = client(rig)
        .set(
            "transactional.id",
            format!("{}-intruder", rig.site.names.app),
        )
        .set("transaction.timeout.ms", "20000")
        .create()
        .unwrap();
    intruder.init_transactions(Duration::from_secs(20)).unwrap();
    intruder.begin_transaction().unwrap();
    // A copy, so that it is well-formed to readers of uncommitted records.
    let (bootstrap, results) = (&rig.site.broker.bootstrap, &rig.site.names.results);
    let copied = &read_raw(bootstrap, results, Isolation::Committed)[0];
    let mut headers = OwnedHeaders::new();
    for (key, value) in &copied.headers {
        headers = headers.insert(Header {
            key,
            value: value.as_ref(),
        });
    }
    let record = BaseRecord::to(results)
        .partition(copied.partition)
        .headers(headers)
        .key(copied.key.as_deref().unwrap())
        .payload(copied.value.as_deref().unwrap());
    intruder.send(record).unwrap();
    intruder.flush(Duration::from_secs(20)).unwrap();
    rig.workers[0].process.kill();
    rig.workers[0] = rig.worker("one-again").await;
    sleep(Duration::from_secs(20)).await;
}

/// The group's offsets are gone while nobody is in it.
async fn group_deleted(rig: &mut Rig) {
    for worker in &mut rig.workers {
        worker.process.terminate(Duration::from_secs(15)).await;
    }
    let app = rig.site.names.app.clone();
    let client: rdkafka::consumer::BaseConsumer = client(rig).create().unwrap();
    let groups =
        rdkafka::consumer::Consumer::fetch_group_list(&client, None, Duration::from_secs(20))
            .unwrap();
    let ours: Vec<String> = groups
        .groups()
        .iter()
        .map(|group| group.name().to_owned())
        .filter(|name| name.starts_with(&app))
        .collect();
    assert!(!ours.is_empty(), "there is no group of {app}");
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    for deleted in admin(rig).delete_groups(&ours, &options()).await.unwrap() {
        deleted.unwrap();
    }
    rig.workers = vec![
        rig.worker("one-again").await,
        rig.worker("other-again").await,
    ];
}

/// All that was said is said once more.
async fn replayed(rig: &mut Rig) {
    sleep(Duration::from_secs(3)).await;
    let (bootstrap, topic) = (&rig.site.broker.bootstrap, &rig.site.names.events);
    let all = read_raw(bootstrap, topic, Isolation::Committed);
    let again = all
        .into_iter()
        .map(|record| Raw::to(record.partition, record.value.unwrap()));
    produce(bootstrap, topic, again);
}

/// order-events has twice as many partitions from now on, and events come by all of them.
async fn doubled(rig: &mut Rig) {
    let events = rig.site.names.events.clone();
    let twice = NewPartitions::new(&events, 12);
    for made in admin(rig)
        .create_partitions([&twice], &options())
        .await
        .unwrap()
    {
        made.unwrap();
    }
    let bootstrap = &rig.site.broker.bootstrap;
    let all = read_raw(bootstrap, &events, Isolation::Committed);
    let again = all
        .into_iter()
        .zip((6..12).cycle())
        .map(|(record, inlet)| Raw::to(inlet, record.value.unwrap()));
    produce(bootstrap, &events, again);
    sleep(Duration::from_secs(5)).await;
}

/// A third worker comes and goes, every two seconds a rebalance, for a minute or half of one.
async fn rebalances(rig: &mut Rig) {
    let rounds = if rig.site.group_protocol == "classic" {
        15
    } else {
        8
    };
    for round in 0..rounds {
        let mut third = rig.worker(&format!("third-{round}")).await;
        sleep(Duration::from_secs(2)).await;
        third.process.terminate(Duration::from_secs(15)).await;
        sleep(Duration::from_secs(2)).await;
    }
}
