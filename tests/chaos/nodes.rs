//! Servers that are killed, frozen and started again, with their data.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::checker::process::Process;
use crate::support::broker::{java, libs, server_properties};
use crate::support::eventually;
use crate::support::process::free_ports;
use crate::support::redis_cluster;

/// A redis-server with a port and a directory of its own.
pub struct RedisNode {
    port: u16,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    dir: tempfile::TempDir,
    process: Process,
}

impl RedisNode {
    /// Starts one, and waits until it answers.
    pub async fn start(options: &[&str]) -> Self {
        Self::start_in(options, &[]).await
    }

    /// As [`RedisNode::start`], with an environment.
    pub async fn start_in(options: &[&str], environment: &[(String, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [port] = free_ports().unwrap();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let mut command = command(port, dir.path(), &options);
        command.envs(environment.iter().cloned());
        let node = Self {
            port,
            options,
            environment: environment.to_vec(),
            process: Process::of(command, dir.path().join("log")),
            dir,
        };
        node.answers().await;
        node
    }

    /// Starts six, which are a cluster: three masters, and behind each a replica.
    pub async fn cluster() -> Vec<Self> {
        let (mut nodes, mut places) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let [bus] = free_ports().unwrap();
            let options = redis_cluster::options(bus);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let node = Self::start(&options).await;
            places.push((node.at(), bus));
            nodes.push(node);
        }
        redis_cluster::form(&places);
        nodes
    }

    pub fn at(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where it keeps its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A connection of its own, not through the proxy.
    pub fn connect(&self) -> redis::Connection {
        let client = redis::Client::open(format!("redis://{}/", self.at())).unwrap();
        client.get_connection().unwrap()
    }

    /// Runs a command and reads its answer as `T`.
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connect()).unwrap()
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with its port and its files, and waits until it answers.
    pub async fn restart(&mut self) {
        let mut command = command(self.port, self.dir.path(), &self.options);
        command.envs(self.environment.iter().cloned());
        self.process = Process::of(command, self.file("log"));
        self.answers().await;
    }

    async fn answers(&self) {
        eventually(
            "redis-server answers",
            Duration::from_secs(20),
            async || {
                let client = redis::Client::open(format!("redis://{}/", self.at())).unwrap();
                let mut connection = client.get_connection().ok()?;
                redis::cmd("PING").query::<()>(&mut connection).ok()
            },
        )
        .await;
    }
}

fn command(port: u16, dir: &Path, options: &[String]) -> Command {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--maxmemory-policy", "noeviction"])
        .arg("--dir")
        .arg(dir)
        .args(options);
    command
}

/// A broker of its own, with its data in a directory of its own.
pub struct KafkaNode {
    pub at: String,
    dir: tempfile::TempDir,
    process: Process,
}

impl KafkaNode {
    /// Starts a cluster of so many, each a controller as well, and waits until they answer.
    pub async fn start(count: usize) -> Vec<Self> {
        let ports: Vec<[u16; 2]> = (0..count).map(|_| free_ports().unwrap()).collect();
        let voters = ports.iter().enumerate();
        let voters = voters.map(|(node, [_, bus])| format!("{}@127.0.0.1:{bus}", node + 1));
        let voters: Vec<String> = voters.collect();
        let nodes: Vec<Self> = ports
            .iter()
            .enumerate()
            .map(|(node, ports)| {
                let more = if count == 1 {
                    String::new()
                } else {
                    among(node + 1, count, &voters.join(","))
                };
                Self::start_one(*ports, &more)
            })
            .collect();
        for node in &nodes {
            node.answers(count).await;
        }
        nodes
    }

    fn start_one([broker, controller]: [u16; 2], more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let properties = dir.path().join("server.properties");
        let text = server_properties(dir.path(), broker, controller);
        // A quorum is either found by voters or by a first controller.
        let text = if more.is_empty() {
            text
        } else {
            let lines = text.lines();
            let lines = lines.filter(|line| !line.starts_with("controller.quorum.bootstrap"));
            format!("{}\n{more}", lines.collect::<Vec<_>>().join("\n"))
        };
        std::fs::write(&properties, text).unwrap();
        let mut format = java(&libs().unwrap());
        format.args(["kafka.tools.StorageTool", "format"]);
        if more.is_empty() {
            format.arg("--standalone");
        }
        format.args(["-t", "c2V0dGxlZC10ZXN0cy0wMQ", "-c"]);
        let formatted = format.arg(&properties).output().unwrap();
        assert!(formatted.status.success(), "{formatted:?}");
        Self {
            at: format!("127.0.0.1:{broker}"),
            process: Process::of(kafka(dir.path()), dir.path().join("log")),
            dir,
        }
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with its port and its data, and waits until it answers.
    pub async fn restart(&mut self) {
        self.process = Process::of(kafka(self.dir.path()), self.dir.path().join("log"));
        self.answers(1).await;
    }

    /// Waits until it answers and knows so many brokers.
    async fn answers(&self, count: usize) {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.at)
            .set("reconnect.backoff.max.ms", "100")
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create()
            .unwrap();
        eventually("the broker answers", Duration::from_mins(2), async || {
            let answer = client.fetch_metadata(None, Duration::from_millis(500));
            answer
                .is_ok_and(|metadata| metadata.brokers().len() >= count)
                .then_some(())
        })
        .await;
    }
}

/// What a node is told that has others beside it. A leader that is back leads again soon.
fn among(node: usize, count: usize, voters: &str) -> String {
    let least = count / 2 + 1;
    format!(
        "node.id={node}
controller.quorum.voters={voters}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
offsets.topic.replication.factor={count}
transaction.state.log.replication.factor={count}
transaction.state.log.min.isr={least}
leader.imbalance.check.interval.seconds=3
leader.imbalance.per.broker.percentage=0
replica.lag.time.max.ms=5000
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1500
"
    )
}

fn kafka(dir: &Path) -> Command {
    let mut command = java(&libs().unwrap());
    command
        .args(["-Xmx256m", "kafka.Kafka"])
        .arg(dir.join("server.properties"));
    command
}
