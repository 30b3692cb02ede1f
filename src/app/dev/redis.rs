//! The user's Redis: looked at before the run, and left as it was found after one on the embedded
//! broker.

use std::time::Duration;

use anyhow::Context;
use redis::AsyncCommands;

use crate::config;
use crate::store::redis::RedisStore;

/// How long Redis may take to answer at the start.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Keys that are looked through, and removed, by one command.
const KEYS: usize = 250;

/// Connects, and sees that it answers and evicts nothing.
pub(super) async fn connect(view: &config::Redis) -> anyhow::Result<RedisStore> {
    let store = RedisStore::connect(&view.urls, &view.prefix).await?;
    let health = tokio::time::timeout(TIMEOUT, store.check()).await;
    let health = health.context("Redis does not answer within 5 s")??;
    anyhow::ensure!(
        health.maxmemory_policy == "noeviction",
        "maxmemory_policy is {}: evicting a key loses orders; redis-cli CONFIG SET maxmemory-policy noeviction",
        health.maxmemory_policy
    );
    Ok(store)
}

/// Removes every key that has the run's prefix.
pub(super) async fn remove_keys(view: &config::Redis) -> anyhow::Result<()> {
    let url = view.urls.first().context("no address")?;
    let mut connection = redis::Client::open(url.reveal())?
        .get_multiplexed_async_connection()
        .await?;
    let pattern = format!("{}*", view.prefix);
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(KEYS);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut connection).await?;
        if !keys.is_empty() {
            connection.unlink::<_, ()>(keys).await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(());
        }
    }
}
