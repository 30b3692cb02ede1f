//! The store on a Redis Cluster: a slot that moves, a master that no longer answers.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use settled::config::Secret;
use settled::store::redis::RedisStore;
use settled::store::script::{Body, Folded, Reply};
use settled::store::{Store, StoreError};
use tokio::time::{Instant, sleep};

use super::redis_cluster::{ask, form, options, try_ask};
use super::redis_server::RedisServer;
use super::server_errors::{fold, one_order_in, script};

/// Shard 1 is the second master's.
const OWNER: usize = 1;

/// Three masters, and behind each a replica if they are six.
struct Cluster(Vec<RedisServer>);

impl Cluster {
    fn start(nodes: usize) -> Option<Self> {
        let (mut servers, mut places) = (Vec::new(), Vec::new());
        for _ in 0..nodes {
            // Free again when the statement ends.
            let bus = std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let options = options(bus);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let server = RedisServer::start_with(&options)?;
            places.push((server.at(), bus));
            servers.push(server);
        }
        form(&places);
        Some(Self(servers))
    }

    fn at(&self, node: usize) -> SocketAddr {
        self.0[node].at()
    }

    /// A store with one order in shard 1.
    async fn store(&self) -> RedisStore {
        let urls: Vec<Secret> = self.0.iter().flat_map(RedisServer::urls).collect();
        one_order_in(RedisStore::connect(&urls, "").await.unwrap()).await
    }

    fn signal(&self, node: usize, name: &str) {
        let pid = self.0[node].pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

fn is_unavailable<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn a_shard_whose_slot_moves_stands_still_and_goes_on_where_it_has_moved_to() {
    let Some(cluster) = Cluster::start(3) else {
        return;
    };
    let store = cluster.store().await;
    let (from, to) = (cluster.at(OWNER), cluster.at(2));
    let slot: u16 = ask(from, &["CLUSTER", "KEYSLOT", "s{1}meta"]);
    let slot = slot.to_string();
    let [from_id, to_id] = [from, to].map(|at| ask::<String>(at, &["CLUSTER", "MYID"]));
    ask::<()>(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    ask::<()>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);

    // All keys are still there: a script that needs no other would run, and the next one half.
    let before: usize = ask(from, &["CLUSTER", "COUNTKEYSINSLOT", &slot]);
    let discarded = store.run(1, &script(1, Body::Discard)).await;
    assert!(is_unavailable(&discarded), "{discarded:?}");
    let folded = store.run(1, &script(1, fold("TX2"))).await;
    assert!(is_unavailable(&folded), "{folded:?}");
    let after: usize = ask(from, &["CLUSTER", "COUNTKEYSINSLOT", &slot]);
    assert_eq!(before, after);

    // Half of them: what has not arrived is not taken for what never was.
    let keys: Vec<String> = ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let migrate = |keys: &[String]| {
        let head = ["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
        let keys = keys.iter().map(String::as_str);
        ask::<()>(from, &head.into_iter().chain(keys).collect::<Vec<_>>());
    };
    let (meta, others): (Vec<String>, Vec<String>) =
        keys.into_iter().partition(|key| key == "s{1}meta");
    migrate(&meta);
    let folded = store.run(1, &script(1, fold("TX2"))).await;
    assert!(is_unavailable(&folded), "{folded:?}");
    assert!(is_unavailable(&store.meta(1).await));

    migrate(&others);
    for at in [to, from, cluster.at(0)] {
        ask::<()>(at, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    let reply = store.run(1, &script(1, fold("TX2"))).await.unwrap();
    assert!(
        matches!(&reply, Reply::Folded { outcomes, .. } if outcomes[..] == [Folded::Added]),
        "{reply:?}"
    );
    assert_eq!(store.dump(1).await.unwrap().records.len(), 2);
}

#[tokio::test]
async fn a_master_that_no_longer_answers_is_left_for_the_replica_that_took_its_place() {
    let Some(cluster) = Cluster::start(6) else {
        return;
    };
    let store = cluster.store().await;
    cluster.signal(OWNER, "STOP");
    let replica = cluster.at(OWNER + 3);
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_master = || {
        let role: redis::Value = try_ask(replica, &["ROLE"])?;
        Ok::<_, redis::RedisError>(format!("{role:?}").contains("master"))
    };
    while !is_master().unwrap() {
        // Shards of others go on meanwhile.
        store.meta(0).await.unwrap();
        assert!(Instant::now() < deadline, "it was not promoted");
        sleep(Duration::from_millis(50)).await;
    }
    let promoted = Instant::now();
    while store.meta(1).await.is_err() {
        let waited = promoted.elapsed();
        assert!(waited < Duration::from_secs(5), "not found in {waited:?}");
    }
    assert_eq!(store.dump(1).await.unwrap().records.len(), 1);
    cluster.signal(OWNER, "CONT");
}

#[tokio::test]
async fn a_single_node_of_a_cluster_is_refused_with_the_way_out() {
    let Some(server) = RedisServer::start_cluster() else {
        return;
    };
    let both = RedisStore::connect(&server.urls(), "").await.unwrap();
    assert_eq!(both.check().await.unwrap().maxmemory_policy, "noeviction");
    let one = RedisStore::connect(&server.urls()[..1], "").await.unwrap();
    let refused = one.check().await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("name several"), "{refused}");
}
