//! What a worker costs that has every shard and nothing to do.

use std::time::Duration;

use crate::checker::size;
use crate::stage::{SHARDS, Stage};

pub async fn take(name: &'static str) {
    let seconds = size("SETTLED_FIGURES_SECONDS", 30);
    let stage = Stage::with_a_worker(name, &[], &[("transfer", "1s x 100")]).await;
    // What a start leaves to do.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let meter = stage.meter();
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    println!(
        "figure: {name}: {SHARDS} shards, nothing to do, a second: {}",
        meter.cost(seconds)
    );
    stage.close().await;
}
