//! What happens to a Redis Cluster of three masters, each with a replica.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use crate::nodes::RedisNode;
use crate::rig::Rig;
use crate::rows::{Row, Setup, Strike};
use crate::support::eventually;
use crate::support::redis_cluster::{ask, is_whole, try_ask};

pub fn rows() -> Vec<Row> {
    let row = |name, seconds, strike: Strike| {
        let setup = Setup {
            redis_cluster: true,
            ..Setup::lasting(seconds)
        };
        Row::new(name, setup, strike)
    };
    vec![
        row("cluster-in-peace", 12, |_| Box::pin(async {})),
        row("cluster-master-killed", 20, |rig| Box::pin(killed(rig))),
        row("cluster-master-frozen", 24, |rig| Box::pin(frozen(rig))),
        row("cluster-replica-promoted", 20, |rig| {
            Box::pin(promoted(rig))
        }),
        row("cluster-slots-moved", 30, |rig| Box::pin(moved(rig))),
        row("cluster-wiped", 14, |rig| {
            Box::pin(async move { wiped(rig) })
        }),
    ]
}

const WITHIN: Duration = Duration::from_secs(30);

/// The port of the slot's owner, in this node's eyes.
fn owner(seen_from: SocketAddr, slot: u16) -> Option<u16> {
    let nodes: String = try_ask(seen_from, &["CLUSTER", "NODES"]).ok()?;
    nodes.lines().find_map(|node| {
        let mut words = node.split(' ');
        let (at, _) = words.nth(1)?.split_once('@')?;
        let owns = words.skip(6).any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let slots = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            slots.is_some_and(|(first, last)| (first..=last).contains(&slot))
        });
        let (_, port) = at.rsplit_once(':')?;
        owns.then(|| port.parse().unwrap())
    })
}

fn slot(rig: &Rig, shard: i32) -> u16 {
    rig.redis_cluster[0].ask(&["CLUSTER", "KEYSLOT", &shard.to_string()])
}

/// Waits until the others believe that the slot has another owner than `old`, and all is whole.
async fn replaced(others: &[&RedisNode], slot: u16, old: u16) {
    eventually("the replica is promoted", WITHIN, async || {
        let whole = others.iter().all(|node| {
            let now = owner(node.at(), slot);
            is_whole(node.at()) && now.is_some_and(|now| now != old)
        });
        whole.then_some(())
    })
    .await;
}

/// The master of shards 1, 2 and 5 is killed and stays away; its replica takes over.
async fn killed(rig: &mut Rig) {
    let slot = slot(rig, 1);
    let old = owner(rig.redis_cluster[0].at(), slot).unwrap();
    let mut nodes: Vec<&mut RedisNode> = rig.redis_cluster.iter_mut().collect();
    let victim = nodes.iter().position(|node| node.at().port() == old);
    let victim = nodes.remove(victim.unwrap());
    victim.kill();
    let others: Vec<&RedisNode> = nodes.into_iter().map(|node| &*node).collect();
    replaced(&others, slot, old).await;
}

/// The same master is frozen: its connections stand, and nothing answers. When it thaws, another
/// has taken its place.
async fn frozen(rig: &mut Rig) {
    let slot = slot(rig, 1);
    let old = owner(rig.redis_cluster[0].at(), slot).unwrap();
    let (victim, others): (Vec<&RedisNode>, Vec<&RedisNode>) = rig
        .redis_cluster
        .iter()
        .partition(|node| node.at().port() == old);
    victim[0].signal("STOP");
    replaced(&others, slot, old).await;
    // The shards go on without it.
    let before = rig.results().len();
    eventually("others settle its orders", WITHIN, async || {
        (rig.results().len() >= before + 60).then_some(())
    })
    .await;
    victim[0].signal("CONT");
    eventually("it follows", WITHIN, async || {
        let role: redis::Value = try_ask(victim[0].at(), &["ROLE"]).ok()?;
        format!("{role:?}").contains("slave").then_some(())
    })
    .await;
}

/// The replica of the same master takes its place when it is told to, and gives it back.
async fn promoted(rig: &mut Rig) {
    for _ in 0..2 {
        let slot = slot(rig, 1);
        let all: Vec<&RedisNode> = rig.redis_cluster.iter().collect();
        let old = owner(all[0].at(), slot).unwrap();
        let master = all.iter().find(|node| node.at().port() == old).unwrap();
        let id: String = ask(master.at(), &["CLUSTER", "MYID"]);
        let follows = |node: &RedisNode| {
            let known: String = ask(node.at(), &["CLUSTER", "NODES"]);
            let own = known.lines().find(|line| line.contains("myself"));
            own.is_some_and(|own| own.contains(&format!("slave {id}")))
        };
        let replica = all.iter().find(|node| follows(node)).unwrap();
        ask::<()>(replica.at(), &["CLUSTER", "FAILOVER"]);
        replaced(&all, slot, old).await;
        sleep(Duration::from_secs(2)).await;
    }
}

/// The slot of every shard moves to the next master, key by key, and stands half moved for a second.
async fn moved(rig: &mut Rig) {
    for shard in 0..rig.site.shards {
        let slot = slot(rig, shard);
        let from = owner(rig.redis_cluster[0].at(), slot).unwrap();
        let masters = &rig.redis_cluster[..3];
        let at = masters.iter().position(|node| node.at().port() == from);
        let (from, to) = (&masters[at.unwrap()], &masters[(at.unwrap() + 1) % 3]);
        move_slot(masters, slot, from.at(), to.at()).await;
    }
}

async fn move_slot(masters: &[RedisNode], slot: u16, from: SocketAddr, to: SocketAddr) {
    let slot = slot.to_string();
    let id = |at| ask::<String>(at, &["CLUSTER", "MYID"]);
    let (from_id, to_id) = (id(from), id(to));
    ask::<()>(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    ask::<()>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let mut moved = 0;
    loop {
        let keys: Vec<String> = ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        if keys.is_empty() {
            break;
        }
        let head = ["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
        let words: Vec<&str> = head
            .into_iter()
            .chain(keys.iter().map(String::as_str))
            .collect();
        ask::<()>(from, &words);
        moved += 1;
        if moved == 1 {
            sleep(Duration::from_secs(1)).await;
        }
    }
    for node in [to, from] {
        ask::<()>(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    for node in masters
        .iter()
        .filter(|node| ![from, to].contains(&node.at()))
    {
        ask::<()>(node.at(), &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
}

/// FLUSHALL on every master.
fn wiped(rig: &mut Rig) {
    for node in &rig.redis_cluster[..3] {
        node.ask::<()>(&["FLUSHALL"]);
    }
}
