//! What happens on the way to Redis, and on the way to Kafka.

use std::time::Duration;

use tokio::time::sleep;

use crate::proxy::{Proxy, Way};
use crate::rig::Rig;
use crate::rows::{Row, Setup, Strike};

pub fn rows() -> Vec<Row> {
    let redis = |name, strike: Strike| Row::new(name, Setup::lasting(14), strike);
    let kafka = |name, strike: Strike| {
        let setup = Setup {
            kafka_proxy: true,
            ..Setup::lasting(20)
        };
        Row::new(name, setup, strike)
    };
    vec![
        redis("network-redis-replies-lost", |rig| {
            Box::pin(way(&rig.to_redis, REPLIES_LOST))
        }),
        redis("network-redis-200ms", |rig| {
            Box::pin(way(&rig.to_redis, SLOW))
        }),
        redis("network-redis-no-replies", |rig| {
            Box::pin(way(&rig.to_redis, NO_REPLIES))
        }),
        redis("network-redis-no-requests", |rig| {
            Box::pin(way(&rig.to_redis, NO_REQUESTS))
        }),
        kafka("network-kafka-replies-lost", |rig| {
            Box::pin(way(to_kafka(rig), REPLIES_LOST))
        }),
        kafka("network-kafka-200ms", |rig| {
            Box::pin(way(to_kafka(rig), SLOW))
        }),
        kafka("network-kafka-held-8s", |rig| Box::pin(held(to_kafka(rig)))),
        kafka("network-kafka-no-replies", |rig| {
            Box::pin(reset(to_kafka(rig), NO_REPLIES))
        }),
        kafka("network-kafka-no-requests", |rig| {
            Box::pin(reset(to_kafka(rig), NO_REQUESTS))
        }),
        kafka("network-kafka-dead", |rig| {
            Box::pin(way(to_kafka(rig), NO_REPLIES))
        }),
    ]
}

const GOOD: Way = Way {
    delay: Duration::ZERO,
    lost_replies: 0,
    no_requests: false,
    no_replies: false,
    held: false,
};
/// TCP loses no piece of a stream that goes on: where a reply is lost, its connection ends.
const REPLIES_LOST: Way = Way {
    lost_replies: 10,
    ..GOOD
};
const SLOW: Way = Way {
    delay: Duration::from_millis(200),
    ..GOOD
};
const NO_REPLIES: Way = Way {
    no_replies: true,
    ..GOOD
};
const NO_REQUESTS: Way = Way {
    no_requests: true,
    ..GOOD
};

fn to_kafka(rig: &Rig) -> &Proxy {
    rig.to_kafka.as_ref().unwrap()
}

/// The way is bad for five seconds. A connection on which something was swallowed is dead for ever, and
/// nobody says so.
async fn way(proxy: &Proxy, bad: Way) {
    proxy.set(bad);
    sleep(Duration::from_secs(5)).await;
    proxy.set(GOOD);
}

/// As [`way`], and then the dead connections are reset, as a peer does that knows nothing of them.
async fn reset(proxy: &Proxy, bad: Way) {
    way(proxy, bad).await;
    proxy.cut();
}

/// Nothing arrives for eight seconds, and then all of it, in its order.
async fn held(proxy: &Proxy) {
    proxy.set(Way { held: true, ..GOOD });
    sleep(Duration::from_secs(8)).await;
    proxy.set(GOOD);
}
