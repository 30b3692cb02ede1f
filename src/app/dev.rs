//! `settled dev`: a worker, an embedded broker, a simulated bank, sample traffic and a second reader
//! in one process, until the audit has a verdict. The command line prints; nothing here does.

mod options;
mod play;
mod redis;
mod session;
mod told;
mod world;

use std::sync::Arc;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::dev::audit::Verdict;
use crate::kafka::settings::World;
use crate::store::memory::MemoryStore;
pub use options::{DevOptions, Patience};
use play::play;
pub use told::{Second, Started, Told};
use world::Scene;

/// Runs until `stop`, or as long as the options say, then until what is open was settled.
///
/// # Errors
/// Something could not be started, or has ended unasked. A difference is no error but part of the
/// verdict. Cancelled, it leaves nothing behind but the records and keys of a real Kafka and Redis.
pub async fn run(
    options: DevOptions,
    stop: CancellationToken,
    tell: impl FnMut(Told),
) -> anyhow::Result<Verdict> {
    let clock = Clock::start();
    let scene = Scene::set(&options, clock).await?;
    if scene.config.redis.urls.is_empty() {
        let store = Arc::new(MemoryStore::new(clock));
        return play(options, scene, store, stop, tell).await;
    }
    let redis = scene.config.redis.clone();
    let store = redis::connect(&redis).await.context("--redis")?;
    // Of a log that is gone with the run, a view is of no use to anybody.
    let leftovers = (scene.world == World::Embedded).then_some(&redis);
    let verdict = play(options, scene, Arc::new(store), stop, tell).await;
    if let Some(redis) = leftovers
        && let Err(error) = redis::remove_keys(redis).await
    {
        tracing::warn!(%error, "keys {}* are left in Redis", redis.prefix);
    }
    verdict
}
