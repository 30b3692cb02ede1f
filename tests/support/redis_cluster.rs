//! What makes a Redis Cluster of redis-servers that run, and a connection to either kind of Redis.

use std::net::SocketAddr;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{ConnectionLike, FromRedisValue, RedisResult, Value};

/// Options of a redis-server that is to be a node: a master that is silent for so long is replaced,
/// and others go on meanwhile.
pub fn options(bus: u16) -> Vec<String> {
    let options = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "2000",
        "--cluster-require-full-coverage",
        "no",
        "--cluster-port",
    ];
    let options = options.iter().map(|&option| option.to_owned());
    options.chain([bus.to_string()]).collect()
}

/// Runs a command at one node, and reads its answer.
pub fn ask<T: FromRedisValue>(at: SocketAddr, words: &[&str]) -> T {
    try_ask(at, words).unwrap()
}

/// As [`ask`], of a node that may not answer.
pub fn try_ask<T: FromRedisValue>(at: SocketAddr, words: &[&str]) -> RedisResult<T> {
    let second = Duration::from_secs(1);
    let client = redis::Client::open(format!("redis://{at}/"))?;
    let mut connection = client.get_connection_with_timeout(second)?;
    connection.set_read_timeout(Some(5 * second))?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
}

/// Makes a cluster of `nodes`, each with the port of its bus: the first three share the slots, each
/// of the others follows one of them. Waits until all of them know it.
pub fn form(nodes: &[(SocketAddr, u16)]) {
    let at = |node: usize| nodes[node].0;
    for node in 0..nodes.len() {
        ask::<()>(
            at(node),
            &["CLUSTER", "SET-CONFIG-EPOCH", &(node + 1).to_string()],
        );
    }
    for (master, slots) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")]
        .into_iter()
        .enumerate()
    {
        ask::<()>(at(master), &["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]);
    }
    for (node, bus) in &nodes[1..] {
        let (host, port) = (node.ip().to_string(), node.port().to_string());
        ask::<()>(at(0), &["CLUSTER", "MEET", &host, &port, &bus.to_string()]);
    }
    each(nodes, "all know each other", |node| {
        let known: String = ask(node, &["CLUSTER", "NODES"]);
        known.lines().count() == nodes.len() && !known.contains("handshake")
    });
    for replica in 3..nodes.len() {
        let master: String = ask(at(replica % 3), &["CLUSTER", "MYID"]);
        ask::<()>(at(replica), &["CLUSTER", "REPLICATE", &master]);
    }
    each(nodes, "the cluster is whole", is_whole);
    each(&nodes[3..], "every replica follows", |node| {
        let role: Value = ask(node, &["ROLE"]);
        format!("{role:?}").contains("connected")
    });
    each(nodes, "all know who follows whom", |node| {
        let slots: Vec<Vec<Value>> = ask(node, &["CLUSTER", "SLOTS"]);
        slots.len() == 3 && slots.iter().all(|range| range.len() >= 2 + nodes.len() / 3)
    });
}

/// Whether the cluster is whole in this node's eyes.
pub fn is_whole(node: SocketAddr) -> bool {
    let info: RedisResult<String> = try_ask(node, &["CLUSTER", "INFO"]);
    info.is_ok_and(|info| info.contains("cluster_state:ok"))
}

fn each(nodes: &[(SocketAddr, u16)], what: &str, holds: impl Fn(SocketAddr) -> bool) {
    // Half a minute in all.
    let mut looks = 1_500;
    for (node, _) in nodes {
        while !holds(*node) {
            assert!(looks > 0, "{what}: not so at {node}");
            looks -= 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A connection to one redis-server, or to a cluster.
pub enum View {
    Node(Box<redis::Connection>),
    Cluster(Box<ClusterConnection>),
}

impl View {
    /// `urls`: one, or those of a cluster, separated by commas.
    pub fn open(urls: &str) -> Self {
        let all: Vec<&str> = urls.split(',').collect();
        if let [url] = all[..] {
            let client = redis::Client::open(url).unwrap();
            return Self::Node(Box::new(client.get_connection().unwrap()));
        }
        let client = ClusterClient::new(all).unwrap();
        Self::Cluster(Box::new(client.get_connection().unwrap()))
    }

    fn any(&mut self) -> &mut dyn ConnectionLike {
        match self {
            Self::Node(node) => &mut **node,
            Self::Cluster(cluster) => &mut **cluster,
        }
    }
}

impl ConnectionLike for View {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.any().req_packed_command(command)
    }

    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.any().req_packed_commands(commands, offset, count)
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        self.any().check_connection()
    }

    fn is_open(&self) -> bool {
        true
    }
}
