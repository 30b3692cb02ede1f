//! The head of order-events is removed beyond what the view of one shard has folded.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::sleep;

use crate::checker::logs::shard_of;
use crate::checker::metrics::Page;
use crate::kafka_rows::{admin, client, options};
use crate::rig::Rig;
use crate::support::eventually;
use crate::support::topics::{Isolation, Raw, Seen, produce, read_raw};

/// The shard whose events are lost.
const TRIMMED: i32 = 2;

/// While no worker runs, events of one shard go before anybody has read them. That shard stands still
/// and says so, the others go on; it comes back by the way out that the log names, once its events
/// have been published again.
pub async fn trimmed(rig: &mut Rig) {
    for worker in &mut rig.workers {
        worker.process.terminate(Duration::from_secs(15)).await;
    }
    sleep(Duration::from_secs(3)).await;
    let lost = trim(rig).await;
    assert!(!lost.is_empty(), "nothing was lost");
    let before = rig.results();
    rig.workers = vec![
        rig.worker("one-again").await,
        rig.worker("other-again").await,
    ];
    let shard_of = |key: &String| shard_of(key, rig.site.shards);
    eventually("it says so", Duration::from_secs(30), async || {
        let mut stalled = 0;
        for worker in &rig.workers {
            let page = Page::of(worker.admin).await;
            stalled += page.sum("settled_stalled_shards", &[("reason", "out_of_range")]);
        }
        (stalled == 1).then_some(())
    })
    .await;
    eventually("others go on", Duration::from_secs(30), async || {
        let now = rig.results();
        let shards: BTreeSet<i32> = now.difference(&before).map(shard_of).collect();
        assert!(!shards.contains(&TRIMMED), "it stands still");
        (shards.len() + 1 == usize::try_from(rig.site.shards).unwrap()).then_some(())
    })
    .await;
    let way_out = rig
        .workers
        .iter()
        .flat_map(|worker| worker.process.log_lines())
        .find_map(|line| Some(line["way_out"].as_str()?.to_owned()))
        .unwrap();
    let words: Vec<&str> = way_out.split(' ').collect();
    assert_eq!(rig.redis.ask::<i64>(&words), 0, "{way_out}: no such field");
    let again = lost.into_iter().map(|event| Raw::to(TRIMMED, event));
    produce(&rig.site.broker.bootstrap, &rig.site.names.events, again);
}

/// Removes all events of the shard, and gives those that no view has.
async fn trim(rig: &mut Rig) -> Vec<Vec<u8>> {
    let (bootstrap, topic) = (&rig.site.broker.bootstrap, &rig.site.names.events);
    let meta = format!("s{{{TRIMMED}}}meta");
    let folded: i64 = rig.redis.ask(&["HGET", &meta, "e"]);
    let reader: BaseConsumer = client(rig).create().unwrap();
    let within = Duration::from_secs(20);
    let (_, end) = reader.fetch_watermarks(topic, TRIMMED, within).unwrap();
    let events = read_raw(bootstrap, topic, Isolation::Committed).into_iter();
    let gone: Vec<Seen> = events
        .filter(|event| event.partition == TRIMMED && event.offset < end)
        .collect();
    let mut place = TopicPartitionList::new();
    place
        .add_partition_offset(topic, TRIMMED, Offset::Offset(end))
        .unwrap();
    let removed = admin(rig).delete_records(&place, &options()).await;
    for removed in removed.unwrap().elements() {
        removed.error().unwrap();
    }
    let lost = gone.iter().filter(|event| event.offset >= folded);
    let lost = lost.map(|event| event.value.clone().unwrap()).collect();
    rig.gone = gone;
    lost
}
