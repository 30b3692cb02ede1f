//! What happens to Redis.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use crate::checker::metrics::Page;
use crate::exhausted::{closed_set, is_as_before};
use crate::nodes::RedisNode;
use crate::rig::Rig;
use crate::rows::{Row, Setup, Strike};
use crate::support::eventually;

pub fn rows() -> Vec<Row> {
    let row = |name, seconds, strike: Strike| Row::new(name, Setup::lasting(seconds), strike);
    let aof = Setup {
        redis: &["--appendonly", "yes", "--appendfsync", "everysec"],
        ..Setup::lasting(14)
    };
    vec![
        row("redis-wiped-three-times", 20, |rig| Box::pin(wiped(rig))),
        row("redis-older-snapshot", 16, |rig| Box::pin(set_back(rig))),
        row("redis-lagging-replica", 16, |rig| Box::pin(promoted(rig))),
        Row::new("redis-killed-aof", aof, |rig| Box::pin(killed(rig))),
        row("redis-frozen-8s", 18, |rig| Box::pin(frozen(rig))),
        row("redis-scripts-flushed", 12, |rig| {
            Box::pin(scripts_flushed(rig))
        }),
        row("redis-clients-killed", 12, |rig| {
            Box::pin(clients_killed(rig))
        }),
        row("redis-full", 12, |rig| Box::pin(full(rig))),
        row("redis-buckets-deleted", 20, |rig| {
            Box::pin(buckets_deleted(rig))
        }),
        row("redis-keys-deleted", 20, |rig| Box::pin(keys_deleted(rig))),
    ]
}

/// The exhausted orders as the view lists them, without the type ids, which a rebuild gives anew.
fn exhausted(redis: &RedisNode) -> BTreeSet<Vec<u8>> {
    let lists: Vec<String> = redis.ask(&["KEYS", "s{*}x"]);
    let members = lists
        .iter()
        .map(|list| redis.ask::<Vec<Vec<u8>>>(&["ZRANGE", list, "0", "-1"]));
    members
        .flatten()
        .map(|member| member[1..].to_vec())
        .collect()
}

/// FLUSHALL three times under load. Who was exhausted before is so afterwards; and the list of a type
/// of which no more comes is the same, entry by entry.
async fn wiped(rig: &mut Rig) {
    let closed = closed_set(rig, 40).await;
    for _ in 0..3 {
        let before = eventually(
            "orders are exhausted",
            Duration::from_secs(20),
            async || {
                let before = exhausted(&rig.redis);
                (before.len() >= 3).then_some(before)
            },
        )
        .await;
        rig.redis.ask::<()>(&["FLUSHALL"]);
        eventually("they are so again", Duration::from_secs(20), async || {
            before.is_subset(&exhausted(&rig.redis)).then_some(())
        })
        .await;
        is_as_before(rig, &closed).await;
        rig.all_open().await;
        is_as_before(rig, &closed).await;
    }
}

/// Killed, and started again from a snapshot that is five seconds old.
async fn set_back(rig: &mut Rig) {
    rig.redis.ask::<()>(&["SAVE"]);
    sleep(Duration::from_secs(5)).await;
    rig.redis.kill();
    rig.redis.restart().await;
}

/// A replica that lost its master five seconds ago takes over.
async fn promoted(rig: &mut Rig) {
    let master = rig.redis.at();
    let (host, port) = (master.ip().to_string(), master.port().to_string());
    let replica = RedisNode::start(&["--replicaof", &host, &port]).await;
    eventually("the replica follows", Duration::from_secs(20), async || {
        let role: redis::Value = replica.ask(&["ROLE"]);
        format!("{role:?}").contains("connected").then_some(())
    })
    .await;
    replica.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    sleep(Duration::from_secs(5)).await;
    rig.to_redis.lead_to(replica.at());
    // The old master lives on, as one that was cut off does.
    let old = std::mem::replace(&mut rig.redis, replica);
    sleep(Duration::from_secs(1)).await;
    drop(old);
}

/// `kill -9`, two seconds away; up to a second of writes is gone.
async fn killed(rig: &mut Rig) {
    rig.redis.kill();
    sleep(Duration::from_secs(2)).await;
    rig.redis.restart().await;
}

async fn frozen(rig: &mut Rig) {
    rig.redis.signal("STOP");
    sleep(Duration::from_secs(8)).await;
    rig.redis.signal("CONT");
}

async fn scripts_flushed(rig: &mut Rig) {
    for _ in 0..10 {
        rig.redis.ask::<()>(&["SCRIPT", "FLUSH"]);
        sleep(Duration::from_millis(300)).await;
    }
}

async fn clients_killed(rig: &mut Rig) {
    for _ in 0..10 {
        rig.redis.ask::<()>(&["CLIENT", "KILL", "TYPE", "normal"]);
        sleep(Duration::from_millis(300)).await;
    }
}

/// `maxmemory` is reached: what comes in waits and says why, what is there goes on.
async fn full(rig: &mut Rig) {
    let settled = rig.results().len();
    rig.redis
        .ask::<()>(&["CONFIG", "SET", "maxmemory", "100kb"]);
    counts(rig, "settled_intake_paused", &[("reason", "store_full")]).await;
    eventually("draining goes on", Duration::from_secs(20), async || {
        (rig.results().len() >= settled + 20).then_some(())
    })
    .await;
    rig.redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
}

/// The buckets of two shards are deleted, ten times: the sweep puts their orders back.
async fn buckets_deleted(rig: &mut Rig) {
    for _ in 0..10 {
        let buckets: Vec<String> = rig.redis.ask(&["KEYS", "s{[01]}d*"]);
        let buckets = buckets.iter().map(String::as_str);
        let words: Vec<&str> = std::iter::once("DEL").chain(buckets).collect();
        rig.redis.ask::<()>(&words);
        sleep(Duration::from_millis(300)).await;
    }
    counts(rig, "settled_swept_records_total", &[]).await;
}

/// One key of a hundred is deleted, and at least one of records, of counts and of meta data; marks and
/// queries are left alone, as nobody notices those. Three times.
async fn keys_deleted(rig: &mut Rig) {
    for at in [0, 33, 66] {
        for kind in ["o", "h", "meta", "d"] {
            let keys: Vec<String> = rig.redis.ask(&["KEYS", &format!("s{{*}}{kind}*")]);
            let some = keys.iter().skip(at % keys.len()).step_by(100);
            let some = some.map(String::as_str);
            let words: Vec<&str> = std::iter::once("DEL").chain(some).collect();
            rig.redis.ask::<()>(&words);
        }
        sleep(Duration::from_secs(4)).await;
    }
    counts(rig, "settled_recoveries_total", &[("cause", "incomplete")]).await;
}

/// Waits until some worker counts any of this.
async fn counts(rig: &Rig, family: &str, labels: &[(&str, &str)]) {
    eventually(family, Duration::from_mins(2), async || {
        for worker in &rig.workers {
            if Page::of(worker.admin).await.sum(family, labels) > 0 {
                return Some(());
            }
        }
        None
    })
    .await;
}
