//! What happens on the way to Redis.

use std::time::Duration;

use tokio::time::sleep;

use crate::proxy::Way;
use crate::rig::Rig;
use crate::rows::{Row, Setup, Strike};

pub fn rows() -> Vec<Row> {
    let row = |name, strike: Strike| Row {
        name,
        setup: Setup {
            spread: Duration::from_secs(14),
            ..Setup::default()
        },
        strike,
    };
    vec![
        row("network-redis-replies-lost", |rig| {
            Box::pin(way(rig, |way| way.lost_replies = 10))
        }),
        row("network-redis-200ms", |rig| {
            Box::pin(way(rig, |way| way.delay = Duration::from_millis(200)))
        }),
        row("network-redis-no-replies", |rig| {
            Box::pin(way(rig, |way| way.no_replies = true))
        }),
        row("network-redis-no-requests", |rig| {
            Box::pin(way(rig, |way| way.no_requests = true))
        }),
    ]
}

/// The way to Redis is bad for five seconds.
async fn way(rig: &mut Rig, change: impl Fn(&mut Way)) {
    let mut bad = Way::default();
    change(&mut bad);
    rig.to_redis.set(bad);
    sleep(Duration::from_secs(5)).await;
    rig.to_redis.set(Way::default());
}
