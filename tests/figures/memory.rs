//! What the view costs: bytes of Redis for a pending order and for the mark that stays of it.

use std::sync::Arc;
use std::time::Duration;

use crate::checker::size;
use crate::load::{Publisher, now, said};
use crate::redis_cost::{View, used_memory};
use crate::stage::Stage;

/// So many are made at a time.
const CHUNK: u64 = 100_000;
const WITHIN: Duration = Duration::from_mins(15);
/// The orders are first asked so long from now, spread over as long.
const LATER_MS: u64 = 3_600_000;

pub async fn take(name: &'static str) {
    let orders = size("SETTLED_FIGURES_VIEW", 1_000_000) as u64;
    let stage = Stage::with_a_worker(name, &[], &[("transfer", "100ms x 100")]).await;
    let publisher = Arc::new(Publisher::of(&stage.site));
    let mut redis = stage.site.redis();
    let before = used_memory(&mut redis);
    let meter = stage.meter();
    load(&publisher, 0..orders).await;
    holds(&stage, orders).await;
    println!(
        "figure: {name}: {orders} orders enter: {}",
        meter.cost(orders as usize)
    );
    let pending = used_memory(&mut redis);
    let meter = stage.meter();
    for from in (0..orders).step_by(CHUNK as usize) {
        let ended = from..(from + CHUNK).min(orders);
        let ended = ended.map(|number| said("transfer", number, "1", None));
        publisher.published(ended.collect()).await;
    }
    holds(&stage, 0).await;
    println!(
        "figure: {name}: and are ended by events: {}",
        meter.cost(orders as usize)
    );
    let settled = used_memory(&mut redis);
    let bytes = |used: u64| (used as f64 - before as f64) / orders as f64;
    println!(
        "figure: {name}: {orders} orders: {:.1} bytes each while pending, {:.1} for the mark of \
         each when settled; used_memory {} MB, {} MB, {} MB",
        bytes(pending),
        bytes(settled),
        before >> 20,
        pending >> 20,
        settled >> 20
    );
    println!(
        "figure: {name}: keys left, by kind: {:?}",
        stage.site.keys()
    );
    stage.close().await;
}

/// Publishes orders that are first asked much later.
pub async fn load(publisher: &Arc<Publisher>, numbers: std::ops::Range<u64>) {
    let (start, count) = (numbers.start, numbers.end - numbers.start);
    for from in numbers.clone().step_by(CHUNK as usize) {
        let later = now() + LATER_MS;
        let some = from..(from + CHUNK).min(numbers.end);
        let some = some.map(|number| {
            let at = later + (number - start) * LATER_MS / count;
            said("transfer", number, "3", Some(at))
        });
        publisher.published(some.collect()).await;
    }
}

/// Waits until the view holds so many orders.
pub async fn holds(stage: &Stage, records: u64) {
    let mut redis = stage.site.redis();
    let waiting = async {
        while View::of(&stage.site, &mut redis).records != records {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(WITHIN, waiting).await.unwrap();
}
