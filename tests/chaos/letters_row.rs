//! The topic for dead letters is deleted while garbage comes, and made again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::time::{Instant, sleep};

use crate::checker::logs::shard_of;
use crate::kafka_rows::{admin, client, options};
use crate::rig::Rig;
use crate::support::eventually;
use crate::support::topics::{Isolation, Raw, Seen, produce, read_raw};
use crate::verdict::{GARBAGE, is_garbage};

/// Garbage in each shard while the topic is there, and while it is not.
const BEFORE: usize = 3;
const MEANWHILE: usize = 20;

/// librdkafka believes for so long that a topic of which it hears nothing may still be made.
const BELIEVED: Duration = Duration::from_secs(35);

const WITHIN: Duration = Duration::from_mins(1);

/// Orders of the same shards go on, letters wait and a worker says why, the position does not pass an
/// event that has no letter; and when the topic is there again, every one has its letter in it.
pub async fn deleted(rig: &mut Rig) {
    publish(rig, BEFORE);
    eventually("letters arrive", WITHIN, async || {
        (letters(rig) == garbage(rig, |_| true)).then_some(())
    })
    .await;
    let before = garbage(rig, |_| true);
    delete(rig).await;
    publish(rig, MEANWHILE);
    sleep(BELIEVED).await;
    let settled = rig.results();
    let shards = usize::try_from(rig.site.shards).unwrap();
    eventually("orders go on in every shard", WITHIN, async || {
        let now = rig.results();
        let more = now.difference(&settled);
        let shards_of: BTreeSet<i32> = more.map(|key| shard_of(key, rig.site.shards)).collect();
        (shards_of.len() == shards).then_some(())
    })
    .await;
    eventually("it is told", WITHIN, async || {
        let told = |text: &str| text.contains("not delivered") && text.contains("letter");
        let mut lines = rig.workers.iter().flat_map(|one| one.process.log_lines());
        lines
            .any(|line| line["message"].as_str().is_some_and(told))
            .then_some(())
    })
    .await;
    let waiting = garbage(rig, |place| !before.contains_key(place));
    assert_eq!(waiting.len(), MEANWHILE * shards);
    let positions = held_by(rig, &waiting);
    rig.site.create_topics();
    let made = Instant::now();
    let mut now = letters(rig);
    while now != waiting && made.elapsed() < WITHIN {
        sleep(Duration::from_millis(200)).await;
        now = letters(rig);
    }
    let missing = waiting.keys().filter(|place| !now.contains_key(*place));
    let missing: Vec<&String> = missing.collect();
    let more = now.keys().filter(|place| !waiting.contains_key(*place));
    let more: Vec<&String> = more.collect();
    assert!(now == waiting, "missing {missing:?}, too many {more:?}");
    let took = made.elapsed().as_secs_f64();
    println!("letters: {positions:?} held, {took:.2} s until all were there");
}

/// So many records that are no events, in each shard.
fn publish(rig: &Rig, count: usize) {
    let records = (0..count).flat_map(|n| {
        let garbage = move |shard| [GARBAGE, format!(" {shard} {n}").as_bytes()].concat();
        (0..rig.site.shards).map(move |shard| Raw::to(shard, garbage(shard)))
    });
    produce(&rig.site.broker.bootstrap, &rig.site.names.events, records);
}

/// The garbage of order-events by place, `<topic>/<partition>/<offset>`.
fn garbage(rig: &Rig, of: impl Fn(&String) -> bool) -> BTreeMap<String, Vec<u8>> {
    let (bootstrap, topic) = (&rig.site.broker.bootstrap, &rig.site.names.events);
    let all = read_raw(bootstrap, topic, Isolation::Committed);
    let garbage = all.into_iter().filter(is_garbage);
    let placed = garbage.map(|record| {
        let Seen {
            partition, offset, ..
        } = record;
        let place = format!("{topic}/{partition}/{offset}");
        (place, record.value.unwrap())
    });
    placed.filter(|(place, _)| of(place)).collect()
}

/// The dead letters of garbage by key: one that came twice is one. Outcomes that contradict what is
/// published are kept there as well.
fn letters(rig: &Rig) -> BTreeMap<String, Vec<u8>> {
    let letters = rig.site.dead_letters().into_iter();
    let letters = letters.map(|(place, (_, original))| (place, original));
    letters
        .filter(|(_, original)| original.starts_with(GARBAGE))
        .collect()
}

async fn delete(rig: &Rig) {
    let topic = &rig.site.names.dead_letters;
    let gone = admin(rig).delete_topics(&[topic], &options()).await;
    for gone in gone.unwrap() {
        gone.unwrap();
    }
    let reader: BaseConsumer = client(rig).create().unwrap();
    eventually("the topic is gone", WITHIN, async || {
        let metadata = reader.fetch_metadata(None, Duration::from_secs(5)).ok()?;
        let mut topics = metadata.topics().iter();
        topics.all(|one| one.name() != topic).then_some(())
    })
    .await;
}

/// The positions of the views, none of which is beyond the first event that waits for its letter.
fn held_by(rig: &Rig, waiting: &BTreeMap<String, Vec<u8>>) -> Vec<i64> {
    let mut positions = Vec::new();
    for shard in 0..rig.site.shards {
        let of = format!("{}/{shard}/", rig.site.names.events);
        let offsets = waiting.keys().filter_map(|place| place.strip_prefix(&of));
        let first: i64 = offsets.map(|at| at.parse().unwrap()).min().unwrap();
        let meta = format!("s{{{shard}}}meta");
        let position: i64 = rig.redis.ask(&["HGET", &meta, "e"]);
        assert!(position <= first, "shard {shard} passed {first}");
        positions.push(position);
    }
    positions
}
