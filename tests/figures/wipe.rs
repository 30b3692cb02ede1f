//! A wiped view: a history of settled orders, then many pending ones and a tenth of them exhausted,
//! FLUSHALL while events keep arriving; how long until every order can be claimed again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use settled::clock::Clock;

use crate::checker::size;
use crate::load::{Publisher, Stream, said};
use crate::memory::{holds, load};
use crate::redis_cost::View;
use crate::stage::{SHARDS, Stage};
use crate::support::eventually;

/// Orders that arrive in a second while it is rebuilt. So many may be missing when it counts as whole:
/// those of the last second are on their way.
const ARRIVING: u64 = 200;
/// The type whose schedule ends, and the bank that never ends an order.
const TYPES: [(&str, &str); 2] = [("transfer", "1s x 100"), ("brief", "100ms x 1")];
const BANK: [&str; 3] = ["--in-progress", "1000000", "--counters-only"];
const WITHIN: Duration = Duration::from_mins(15);

#[expect(clippy::too_many_lines, reason = "one story")]
pub async fn take(name: &'static str) {
    let all = size("SETTLED_FIGURES_VIEW", 1_000_000) as u64;
    let (history, exhausted) = (all / 5, all / 10);
    let stage = Stage::with_a_worker(name, &BANK, &TYPES).await;
    let publisher = Arc::new(Publisher::of(&stage.site));
    let ended = (0..history).map(|number| said("transfer", number, "1", None));
    publisher.published(ended.collect()).await;
    stage.settled(history as usize, WITHIN).await;
    let brief = (0..exhausted).map(|number| said("brief", number, "3", None));
    publisher.published(brief.collect()).await;
    stage.settled((history + exhausted) as usize, WITHIN).await;
    load(&publisher, history..history + all - exhausted).await;
    holds(&stage, all).await;
    let floors = floors(&stage).await;
    let before = exhausted_orders(&stage);
    assert_eq!(before.len() as u64, exhausted);

    let [sent, stop] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let arriving = {
        let stream = Stream {
            order_type: "transfer",
            orders: 2 * all..u64::MAX,
            per_second: ARRIVING,
            first_due: None,
        };
        let counts = (Arc::clone(&sent), Arc::clone(&stop));
        let publisher = Arc::clone(&publisher);
        tokio::task::spawn_blocking(move || stream.run(&publisher, &counts.0, &counts.1))
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut redis = stage.site.redis();
    let clock = Clock::start();
    let meter = stage.meter();
    stage.site.flush_all();
    let mut shown = 0;
    let whole = loop {
        let arrived = sent.load(Ordering::Relaxed);
        let open = stage.page().await.open();
        let view = View::of(&stage.site, &mut redis);
        let seconds = clock.monotonic() as f64 / 1e3;
        let whole = view.records + ARRIVING >= all + arrived && view.exhausted == exhausted;
        if whole && view.rebuilding == 0 && open == SHARDS as u64 {
            break seconds;
        }
        assert!(
            seconds < WITHIN.as_secs_f64(),
            "{view:?}, {open} shards open"
        );
        if clock.monotonic() / 10_000 > shown {
            shown = clock.monotonic() / 10_000;
            println!("{name}: after {seconds:.1} s {view:?}, {open} shards open");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let cost = meter.cost(all as usize);
    stop.store(1, Ordering::Relaxed);
    arriving.await.unwrap();
    holds(&stage, all + sent.load(Ordering::Relaxed)).await;
    let after = exhausted_orders(&stage);
    println!(
        "figure: {name}: {all} orders, {exhausted} of them exhausted, {history} settled before \
         them, {ARRIVING} arriving a second: whole, and every shard open, {whole:.1} s after FLUSHALL"
    );
    println!("figure: {name}: {cost}");
    println!(
        "figure: {name}: {} exhausted before, {} after, the same ones: {}; floors from offset {} to {}",
        before.len(),
        after.len(),
        before == after,
        floors.iter().min().unwrap(),
        floors.iter().max().unwrap(),
    );
    for line in stage.workers[0].process.log_lines() {
        let message = line["message"].as_str().unwrap_or_default();
        if message.contains("rebuilding from E=") && line["shard"] == 0 {
            println!("figure: {name}: shard 0: {message}");
        }
    }
    assert!(before == after, "the exhausted orders are not the same");
    stage.close().await;
}

/// The exhausted orders as the view lists them, without the type ids, which a rebuild gives anew.
fn exhausted_orders(stage: &Stage) -> BTreeSet<Vec<u8>> {
    let mut redis = stage.site.redis();
    let mut orders = BTreeSet::new();
    for shard in 0..SHARDS {
        let list: Vec<Vec<u8>> = redis::cmd("ZRANGE")
            .arg(format!("s{{{shard}}}x"))
            .arg(&["0", "-1"])
            .query(&mut redis)
            .unwrap();
        orders.extend(list.into_iter().map(|member| member[1..].to_vec()));
    }
    orders
}

/// Waits until each shard's floor lies behind the history, and tells where.
async fn floors(stage: &Stage) -> Vec<i64> {
    let names = &stage.site.names;
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &stage.site.broker.bootstrap)
        .set("group.id", format!("{}-floor", names.app))
        .create()
        .unwrap();
    let mut places = TopicPartitionList::new();
    for shard in 0..SHARDS {
        places.add_partition(&names.events, shard);
    }
    eventually(
        "a floor of each shard",
        Duration::from_mins(3),
        async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let floors = reader.committed_offsets(places.clone(), Duration::from_secs(10));
            let floors = floors.unwrap();
            let floors = floors.elements().into_iter();
            let floors = floors.map(|place| match place.offset() {
                Offset::Offset(floor) if floor > 0 => Some(floor),
                _ => None,
            });
            floors.collect::<Option<Vec<i64>>>()
        },
    )
    .await
}
