//! Where a missing view is folded from, by what lies committed in a real broker, whoever committed it
//! and whatever it says.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use settled::clock::Clock;
use settled::domain::order::OrderKey;
use settled::domain::wire_time;
use settled::store::Store;
use settled::store::script::Found;

use crate::floors::Group;
use crate::owner::{Owner, Terms};
use crate::support::redis::RedisServer;
use crate::support::topics::{Isolation, Raw, World, create_topic, produce};
use crate::{result_of, settings, support};

const MINUTE: i64 = 60_000;

/// The dedupe window.
const WINDOW: i64 = 60 * MINUTE;

/// A floor as it is found committed, and what a rebuild makes of it.
struct Case {
    /// Offset and metadata, one over the other.
    committed: &'static [(i64, &'static str)],
    /// E and R.
    begins: (i64, i64),
}

/// Each is a shard with ten events and six results. The first two results are too old for the event
/// at 4: the window before it begins with the result at 2.
const CASES: [Case; 10] = [
    // None: the oldest record.
    case(&[], (0, 0)),
    // The window before its event begins earlier than its R.
    case(&[(4, "R=5")], (4, 2)),
    // Its R, the oldest open exhaustion, is earlier than that.
    case(&[(4, "R=1")], (4, 1)),
    // No floor of ours.
    case(&[(4, "R=")], (0, 0)),
    case(&[(4, "")], (0, 0)),
    // A zombie's, older than the one before it.
    case(&[(8, "R=6"), (2, "R=1")], (2, 1)),
    // Nothing was pending: there is no event at it, and all results are older than the window.
    case(&[(10, "R=6")], (10, 6)),
    // Of results that were more once, and of events: what is there may have come since.
    case(&[(4, "R=99")], (4, 2)),
    case(&[(99, "R=99")], (0, 0)),
    // Its event was trimmed.
    case(&[(3, "R=6")], (TRIMMED_TO, 3)),
];

const fn case(committed: &'static [(i64, &'static str)], begins: (i64, i64)) -> Case {
    Case { committed, begins }
}

const SHARDS: u16 = CASES.len() as u16;

/// The last case's log begins here.
const TRIMMED_TO: i64 = 5;

/// Records of `order-events` that are no events.
const GARBAGE: [i64; 2] = [1, 7];

/// What the group has committed, by shard. The second is of a log that was longer once.
const KNOWN_BELOW: [(u16, i64); 2] = [(0, 5), (8, 99)];

/// An order of this shard whose number tells `n`.
fn key(kind: &str, shard: u16, n: i64) -> OrderKey {
    let keys = (0..).map(|salt| OrderKey::parse(&format!("held/{kind}-{n}-{salt}")).unwrap());
    keys.into_iter()
        .find(|key| key.shard(SHARDS) == shard)
        .unwrap()
}

/// An event that makes an order pending, appended when it was said.
pub fn pending(key: &OrderKey, time: i64) -> Raw {
    let at = wire_time::format(time.unsigned_abs());
    let (order_type, req_no) = (&key.order_type, &key.req_no);
    let value = format!(
        r#"{{"v":1,"type":"{order_type}","reqNO":"{req_no}","status":"3","at":"{at}","source":"test"}}"#
    );
    Raw {
        value: Some(value.into_bytes()),
        time: Some(time),
        ..Raw::default()
    }
}

/// An event a minute, ten hours ago.
fn events(shard: u16, began: i64) -> impl Iterator<Item = Raw> {
    (0..10).map(move |n| {
        let mut raw = pending(&key("E", shard, n), began + n * MINUTE);
        if GARBAGE.contains(&n) {
            raw.value = Some(b"no json".to_vec());
        }
        raw.partition = Some(shard.into());
        raw
    })
}

/// Results of other orders, of which nothing else is known.
fn results(shard: u16, began: i64) -> impl Iterator<Item = Raw> {
    // For the event at 4 the window, with a minute for the brokers' clocks, begins at -57 minutes: the
    // third is in it by that minute alone.
    let half_minutes = [-180, -120, -113, 0, 2, 4];
    half_minutes.into_iter().zip(0..).map(move |(at, n)| {
        let result = result_of(key("R", shard, n));
        let headers = result.headers.into_iter();
        Raw {
            partition: Some(shard.into()),
            key: Some(result.key.into_bytes()),
            value: Some(result.value),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .collect(),
            time: Some(began + at * MINUTE / 2),
        }
    })
}

async fn trim(bootstrap: &str, topic: &str, partition: i32, to: i64) {
    let admin: AdminClient<DefaultClientContext> = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(to))
        .unwrap();
    let trimmed = admin.delete_records(&list, &AdminOptions::new()).await;
    for place in trimmed.unwrap().elements() {
        place.error().unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_begins_where_the_floor_and_the_window_say_and_else_with_the_oldest_record() {
    let (Some(kafka), Some(_)) = (support::kafka(), support::redis()) else {
        return;
    };
    let (bootstrap, world) = (&kafka.bootstrap, World::named("rebuild"));
    // So that this test decides when a record was appended.
    let times = [("message.timestamp.type", "CreateTime")];
    create_topic(kafka, &world.events, SHARDS.into(), &times).await;
    create_topic(kafka, &world.results, SHARDS.into(), &times).await;
    create_topic(kafka, &world.dead_letters, 1, &[]).await;
    let began = Clock::start().wall().cast_signed() - 600 * MINUTE;
    let group = Group::of_floors(bootstrap, &world).await;
    for (shard, case) in (0..).zip(CASES) {
        produce(bootstrap, &world.events, events(shard, began));
        produce(bootstrap, &world.results, results(shard, began));
        for (offset, metadata) in case.committed {
            group.commit(shard.into(), *offset, metadata);
        }
    }
    let known = Group::of(bootstrap, &world, &world.app).await;
    for (shard, known_below) in KNOWN_BELOW {
        known.commit(shard.into(), known_below, "");
    }
    trim(bootstrap, &world.events, i32::from(SHARDS) - 1, TRIMMED_TO).await;

    let redis = RedisServer::start(&[]).unwrap();
    let mut settings = settings(bootstrap, &world, SHARDS);
    settings.window = WINDOW.unsigned_abs();
    let terms = Terms {
        query_url: "http://127.0.0.1:9/".to_owned(),
        types: [("held", "400h x 2")].into(),
        floor_every: 1_000 * 3_600_000,
        results_kept: Duration::from_hours(24 * 15),
        forwards_to: None,
    };
    let owner = Owner::start(&settings, &redis, terms).await;
    owner.opened(CASES.len()).await;
    let began: BTreeSet<_> = owner.rebuilds().into_iter().collect();
    let expected = (0..).zip(CASES);
    let expected =
        expected.map(|(shard, case)| (shard, format!("E={}, R={}", case.begins.0, case.begins.1)));
    assert_eq!(began, expected.collect());
    let alarms = owner.metric("settled_alarms_total{kind=\"out_of_range\"}");
    assert_eq!(alarms, 2, "trimmed, and lost");

    // What lies below was not folded, and all that lies above was.
    for (shard, case) in (0..).zip(CASES) {
        for n in (0..10).filter(|n| !GARBAGE.contains(n)) {
            let found = owner.store.find(shard, &key("E", shard, n)).await.unwrap();
            let is_pending = matches!(found, Found::Open { .. });
            assert_eq!(is_pending, n >= case.begins.0, "{shard} {n}: {found:?}");
        }
    }
    owner.stop().await;
    let letters = world.read(bootstrap, &world.dead_letters, Isolation::Committed);
    let letters: BTreeSet<_> = letters
        .into_iter()
        .map(|letter| letter.key.unwrap())
        .collect();
    let mut expected = BTreeSet::new();
    for (shard, case) in (0..).zip(CASES) {
        let (of, below) = KNOWN_BELOW[0];
        let known_below = if shard == of { below } else { 0 };
        let garbage = GARBAGE
            .into_iter()
            .filter(|n| *n >= case.begins.0.max(known_below));
        expected.extend(garbage.map(|n| format!("{}/{shard}/{n}", world.events).into_bytes()));
    }
    assert_eq!(letters, expected);
    let results = world.read(bootstrap, &world.results, Isolation::Uncommitted);
    assert_eq!(results.len(), CASES.len() * 6, "nothing was published");
}
