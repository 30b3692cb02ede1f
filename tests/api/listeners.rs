//! The listeners themselves: their ports, their end, and what `[admin]` shows.

use std::net::SocketAddr;
use std::sync::Arc;

use settled::api::admin::{self, Admin};
use settled::api::health::{Health, Neighbour};
use settled::api::listener::{BindError, Listener};
use settled::clock::Clock;
use settled::config;
use settled::metrics::Metrics;
use settled::metrics::label::{Phase, StallReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::plain_http::{self, get, send};
use crate::world::{World, any, assert_refused, assert_valid, name, pending};

#[tokio::test]
async fn a_stop_lets_a_begun_request_end() {
    let gate = Arc::new(Semaphore::new(0));
    let mut served = World {
        found: pending(),
        gate: Arc::clone(&gate),
        ..World::default()
    }
    .serve()
    .await;
    let mut finds = served.finds.subscribe();
    let mut stream = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let request = plain_http::request("GET", "/v1/orders/transfer/TX1", b"");
    stream.write_all(&request).await.unwrap();
    finds.wait_for(|n| *n == 1).await.unwrap();
    served.stop.cancel();
    gate.add_permits(1);
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    assert_eq!(plain_http::parse(&reply).status, 200);
    served.tasks.join_next().await.unwrap().unwrap();
    served.tracker.close();
    served.tracker.wait().await;
    assert!(
        tokio::net::TcpStream::connect(served.address)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_port_in_use_fails_the_start_with_one_line() {
    let taken = Listener::bind("api", any()).await.unwrap();
    let error = Listener::bind("admin", taken.local_addr())
        .await
        .unwrap_err();
    let line = error.to_string();
    assert!(
        line.starts_with(&format!("[admin] listen = \"{}\"", taken.local_addr())),
        "{line}"
    );
    assert!(!line.contains('\n'), "{line}");
}

#[tokio::test]
async fn the_admin_listener_leaves_loopback_only_with_a_token() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let without = config::Admin {
        listen,
        token: None,
    };
    let refused = admin::bind(&without).await.unwrap_err();
    assert!(matches!(refused, BindError::Open { address } if address == listen));
    let with = config::Admin {
        listen,
        token: Some(config::Secret::new("hush".into())),
    };
    admin::bind(&with).await.unwrap();
}

#[tokio::test]
async fn readiness_lists_what_does_not_work() {
    let clock = Clock::start();
    let metrics = Metrics::new(clock, &[name("transfer")]).unwrap();
    let health = Health::new(clock, Arc::clone(&metrics));
    let config = config::Admin {
        listen: any(),
        token: None,
    };
    let listener = admin::bind(&config).await.unwrap();
    let address = listener.local_addr();
    let admin = Admin {
        metrics: Arc::clone(&metrics),
        health: Arc::clone(&health),
    };
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let stopped = stop.clone();
    tasks.spawn(async move { listener.serve(admin.router(), stopped).await.unwrap() });

    let reasons = async || {
        let reply = get(address, "/readyz").await;
        let body = reply.json();
        assert_valid("readiness", &body);
        assert_eq!(reply.status, if body["ready"] == true { 200 } else { 503 });
        serde_json::from_value::<Vec<String>>(body["reasons"].clone()).unwrap()
    };
    assert_eq!(reasons().await.len(), 3);
    let posted = send(address, "POST", "/readyz", b"").await;
    assert_refused(&posted, 405, "method-not-allowed");
    health.reached(Neighbour::Kafka);
    health.reached(Neighbour::Redis);
    health.joined();
    assert_eq!(reasons().await, Vec::<String>::new());
    let shard = metrics.shard(3);
    assert_eq!(reasons().await, ["shard 3 is assigned"]);
    shard.stall(StallReason::OutOfRange);
    assert_eq!(reasons().await, ["shard 3 is stalled out_of_range"]);
    shard.set_phase(Phase::Open);
    shard.tick(clock.monotonic());
    assert_eq!(reasons().await, Vec::<String>::new());
    health.lost(Neighbour::Redis);
    assert!(reasons().await[0].starts_with("Redis has not answered for "));

    assert_eq!(get(address, "/livez").await.status, 200);
    let page = get(address, "/metrics").await;
    assert!(page.head.contains("text/plain; version=0.0.4"), "{page:?}");
    assert!(page.body.contains("settled_shards_owned 1\n"), "{page:?}");
    assert_refused(&get(address, "/v1/orders").await, 404, "not-found");
}
