//! What a caller is told when a real server is not well, and what stays as it was.

use std::net::SocketAddr;

use redis::Commands;
use settled::config::Secret;
use settled::domain::order::{Mark, MarkKey, OrderId, ReqNo, TypeId, TypeName};
use settled::domain::record::Record;
use settled::domain::status::Open;
use settled::store::ceiling::{Heard, Reserve};
use settled::store::key::{self, Key};
use settled::store::redis::RedisStore;
use settled::store::script::{
    Body, Claim, Floor, Fold, Folded, Lookup, Placement, Reply, Script, Token,
};
use settled::store::{Acquire, Acquired, Store, StoreError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::raw;
use super::redis_server::RedisServer;

const SECOND: u32 = 1_800_000_000;

async fn store_with_one_order(server: &RedisServer) -> RedisStore {
    one_order_in(RedisStore::connect(&server.urls(), "").await.unwrap()).await
}

/// Takes shard 1, and folds its first order.
pub async fn one_order_in(store: RedisStore) -> RedisStore {
    let acquire = acquire(SECOND.into());
    assert!(matches!(
        store.acquire(acquire).await.unwrap(),
        Acquired::Owned(_)
    ));
    let mut fold = script(0, fold("TX1"));
    fold.new_types = vec![(TypeId(0), TypeName::new("transfer").unwrap(), SECOND - 1)];
    let reply = store.run(1, &fold).await.unwrap();
    let Reply::Folded { outcomes, .. } = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(outcomes, [Folded::Added]);
    store
}

pub fn acquire(token: u64) -> Acquire {
    Acquire {
        shard: 1,
        shards: 4,
        token: Token(token),
        floor: Some(Floor { e: 0, r: 0 }),
        mark_key: MarkKey([1; 16]),
    }
}

pub fn script(version: u64, body: Body) -> Script {
    Script {
        token: Token(SECOND.into()),
        version,
        clock: 0,
        e: 1,
        ends_rebuild: false,
        new_types: Vec::new(),
        body,
    }
}

pub fn fold(number: &str) -> Body {
    Body::Fold(vec![Fold {
        id: id(number),
        mark: Mark([9; 12]),
        record: Record {
            claim: 0,
            bucket: 0,
            leased: false,
            exhausted: false,
            has_query: false,
            last: Open::Unknown,
            due: u64::from(SECOND) * 1000,
            phase: 0,
            asked: 0,
            drawn_in_progress: 0,
            drawn_unknown: 0,
            streak: 0,
            first_seen: 0,
            event_offset: 0,
        },
        requeue: None,
        query: None,
        placement: Placement {
            granule: 1,
            lease_second: 0,
        },
    }])
}

fn id(number: &str) -> OrderId {
    OrderId {
        type_id: TypeId(0),
        req_no: ReqNo::new(number).unwrap(),
    }
}

fn claim() -> Body {
    Body::Claim(Claim {
        type_id: TypeId(0),
        after: 0,
        to_second: SECOND,
        limit: 10,
        lease_second: SECOND + 5,
    })
}

fn lookup() -> Body {
    Body::Lookup(vec![Lookup {
        id: Some(id("TX1")),
        mark: Mark([9; 12]),
    }])
}

#[tokio::test]
async fn values_that_cannot_be_read_are_refused_and_stay() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = store_with_one_order(&server).await;
    let mut redis = server.connect();
    let records = Key::Records(id("TX1").record_hash()).name("", 1);
    let bucket = Key::Bucket(TypeId(0), SECOND).name("", 1);

    let () = redis.hset(&records, b"\0TX1", &[1_u8; 35][..]).unwrap();
    for body in [fold("TX1"), claim(), lookup()] {
        let reply = store.run(1, &script(1, body)).await;
        assert!(matches!(reply, Err(StoreError::Corrupt(_))), "{reply:?}");
    }
    let () = redis.hdel(&records, b"\0TX1").unwrap();

    let () = redis.lpush(&bucket, "???").unwrap();
    let reply = store.run(1, &script(1, claim())).await;
    assert!(matches!(reply, Err(StoreError::Corrupt(_))), "{reply:?}");
    assert_eq!(redis.llen::<_, u64>(&bucket).unwrap(), 2);
    assert_eq!(store.meta(1).await.unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn a_view_of_another_layout_is_not_touched() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = store_with_one_order(&server).await;
    let mut redis = server.connect();
    let meta = Key::Meta.name("", 1);
    let () = redis.hset(&meta, "layout", "2 1024 4096").unwrap();
    let before: Vec<String> = redis.hkeys(&meta).unwrap();
    let order = settled::domain::order::OrderKey::parse("transfer/TX1").unwrap();
    let errors = [
        store.run(1, &script(1, fold("TX2"))).await.err(),
        store.acquire(acquire(5)).await.err(),
        store.meta(1).await.err(),
        store.survey(1).await.err(),
        store.find(1, &order).await.err(),
        store.dump(1).await.err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(StoreError::Corrupt(_))), "{error:?}");
    }
    assert_eq!(redis.hkeys::<_, Vec<String>>(&meta).unwrap(), before);
}

#[tokio::test]
async fn a_view_of_another_count_of_shards_is_not_taken() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = store_with_one_order(&server).await;
    let before = store.meta(1).await.unwrap().map(|meta| meta.token);
    let others = Acquire {
        shards: 5,
        ..acquire(5)
    };
    let refused = store.acquire(others).await;
    assert!(
        matches!(refused, Err(StoreError::Corrupt(_))),
        "{refused:?}"
    );
    let after = store.meta(1).await.unwrap().map(|meta| meta.token);
    assert_eq!(after, before);
}

#[tokio::test]
async fn start_times_are_spaced_by_the_ceiling_and_at_most_a_second_ahead() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::connect(&server.urls(), "p:").await.unwrap();
    let mut redis = server.connect();
    let name = TypeName::new("transfer").unwrap();
    // One start time in 100 ms: a share's own reach a second ahead, lent ones a fifth of it.
    let first = store.reserve(&name, &wants(4, 10.0)).await.unwrap();
    assert_eq!((first.first_in_us, first.count()), (0, 3));
    let second = store.reserve(&name, &wants(100, 10.0)).await.unwrap();
    assert!((1..=300_000).contains(&second.first_in_us), "{second:?}");
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .query(&mut redis)
        .unwrap();
    let other = TypeName::new("refund").unwrap();
    let when_full = store.reserve(&other, &wants(4, 1000.0)).await.unwrap();
    assert_eq!((when_full.first_in_us, when_full.count()), (0, 4));
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "0"])
        .query(&mut redis)
        .unwrap();
    // One question in 100 seconds: the key must outlive the pause.
    let slow = TypeName::new("slow").unwrap();
    let one = store.reserve(&slow, &wants(5, 0.01)).await.unwrap();
    assert_eq!(one.count(), 1);
    let none = store.reserve(&slow, &wants(5, 0.01)).await.unwrap();
    assert_eq!(none.count(), 0);
    let left: u64 = redis.ttl(key::ceiling("p:", &slow)).unwrap();
    assert!(left >= 100, "{left}");

    let () = redis.del(key::ceiling("p:", &name)).unwrap();
    let () = redis.lpush(key::ceiling("p:", &name), 1).unwrap();
    let reply = store.reserve(&name, &wants(1, 10.0)).await;
    assert!(matches!(reply, Err(StoreError::Corrupt(_))), "{reply:?}");
}

fn wants(rest: u32, per_second: f64) -> Reserve {
    Reserve {
        wanted: [0, 0, rest],
        most: rest,
        per_second,
        parts: [0.2, 0.2, 0.6],
        heard: Heard::default(),
        hold_us: 0,
        known: None,
    }
}

#[tokio::test]
async fn a_replica_and_a_busy_server_run_nothing() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = store_with_one_order(&server).await;
    let mut redis = server.connect();
    let before = raw::dump(&mut redis, "", 1);
    let replica_of = |master: [&str; 2], redis: &mut redis::Connection| {
        let () = redis::cmd("REPLICAOF").arg(&master).query(redis).unwrap();
    };
    replica_of(["127.0.0.1", "1"], &mut redis);
    let reply = store.run(1, &script(1, fold("TX2"))).await;
    assert!(
        matches!(reply, Err(StoreError::Unavailable(_))),
        "{reply:?}"
    );
    replica_of(["NO", "ONE"], &mut redis);

    let () = redis::cmd("CONFIG")
        .arg(&["SET", "busy-reply-threshold", "1"])
        .query(&mut redis)
        .unwrap();
    let mut busy = server.connect();
    let endless = std::thread::spawn(move || {
        let killed: redis::RedisResult<()> = redis::cmd("EVAL")
            .arg("while true do end")
            .arg(0)
            .query(&mut busy);
        assert!(killed.is_err());
    });
    // The loop is known to run once the server says that it is busy.
    while redis.ping::<()>().is_ok() {
        std::thread::yield_now();
    }
    let reply = store.run(1, &script(1, fold("TX2"))).await;
    assert!(
        matches!(reply, Err(StoreError::Unavailable(_))),
        "{reply:?}"
    );
    let () = redis::cmd("SCRIPT").arg("KILL").query(&mut redis).unwrap();
    endless.join().unwrap();
    assert_eq!(raw::dump(&mut redis, "", 1), before);
}

#[tokio::test]
async fn a_script_without_an_answer_is_lost_and_may_have_run() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = store_with_one_order(&server).await;
    let mut redis = server.connect();
    let () = redis::cmd("CLIENT")
        .arg(&["PAUSE", "600000", "WRITE"])
        .query(&mut redis)
        .unwrap();
    let reply = store.run(1, &script(1, fold("TX2"))).await;
    assert!(matches!(reply, Err(StoreError::Lost(_))), "{reply:?}");
    let () = redis::cmd("CLIENT")
        .arg("UNPAUSE")
        .query(&mut redis)
        .unwrap();
    // The meta data tells; and the same bytes again are harmless.
    assert_eq!(store.meta(1).await.unwrap().unwrap().version, 2);
    let again = store.run(1, &script(1, fold("TX2"))).await;
    assert!(matches!(again, Ok(Reply::Mismatch)), "{again:?}");
}

/// Hands on what comes, both ways, until it is told to forget: from then on, what stands between an
/// old client and its server answers nothing and ends nothing, as a firewall does.
async fn forgetful(listener: TcpListener, server: SocketAddr, forgets: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let mut forgets = forgets.clone();
        // Those that come afterwards are not forgotten.
        let young = *forgets.borrow();
        connections.spawn(async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            let told = async { drop(forgets.wait_for(|forgets| *forgets).await) };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                () = told, if !young => {}
            }
            std::future::pending::<()>().await;
        });
    }
}

#[tokio::test]
async fn a_connection_that_answers_no_longer_is_left_for_a_new_one() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    drop(store_with_one_order(&server).await);
    let (forget, forgets) = watch::channel(false);
    let address = server
        .url
        .strip_prefix("redis://")
        .unwrap()
        .parse()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let urls = [Secret::new(format!(
        "redis://{}",
        listener.local_addr().unwrap()
    ))];
    let mut way = JoinSet::new();
    way.spawn(forgetful(listener, address, forgets));
    let store = RedisStore::connect(&urls, "").await.unwrap();
    assert_eq!(store.meta(1).await.unwrap().unwrap().version, 1);
    forget.send_replace(true);
    let reply = store.run(1, &script(1, fold("TX2"))).await;
    assert!(matches!(reply, Err(StoreError::Lost(_))), "{reply:?}");
    assert_eq!(store.meta(1).await.unwrap().unwrap().version, 1);
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = store_with_one_order(&server).await;
    let urls = server.urls();
    drop(server);
    // The first command may have been on its way when the connection broke.
    let lost = store.run(1, &script(1, fold("TX2"))).await;
    assert!(
        matches!(lost, Err(StoreError::Lost(_) | StoreError::Unavailable(_))),
        "{lost:?}"
    );
    let fresh = RedisStore::connect(&urls, "").await.unwrap();
    let refused = fresh.run(1, &script(1, fold("TX2"))).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_check_reads_version_and_eviction_policy() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::connect(&server.urls(), "").await.unwrap();
    let health = store.check().await.unwrap();
    assert_eq!(health.maxmemory_policy, "noeviction");
    assert!(health.version.contains('.'), "{health:?}");
    let mut redis = server.connect();
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory-policy", "allkeys-lru"])
        .query(&mut redis)
        .unwrap();
    let health = store.check().await.unwrap();
    assert_eq!(health.maxmemory_policy, "allkeys-lru");
}

#[tokio::test]
async fn an_address_that_refuses_connections_is_not_available_and_loses_no_reply() {
    // Both are free now, and taken together, so that they differ.
    let listeners = [0; 2].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let urls = listeners.map(|listener| {
        let address = listener.local_addr().unwrap();
        Secret::new(format!("redis://{address}/0"))
    });
    // One is a node, more are a cluster, which is connected to at once.
    let node = RedisStore::connect(&urls[..1], "").await.unwrap();
    let cluster = RedisStore::connect(&urls, "").await.map(drop);
    for refused in [node.check().await.map(drop), cluster] {
        let error = refused.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(error.to_string().contains("Connection refused"), "{error}");
    }
}
