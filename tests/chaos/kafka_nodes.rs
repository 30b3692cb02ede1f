//! Brokers that are killed, frozen and started again, with their data; one of them behind a proxy.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::checker::process::Process;
use crate::proxy::Proxy;
use crate::support::broker::{java, libs, server_properties};
use crate::support::eventually;
use crate::support::process::free_ports;

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
                Self::start_one(*ports, count > 1, &more)
            })
            .collect();
        for node in &nodes {
            node.answers(count).await;
        }
        nodes
    }

    /// Starts one with two doors: `at`, and another that it names to whoever comes by it as the
    /// proxy's, so that all of their connections go through that.
    pub async fn behind_proxy(seed: u64) -> (Self, Proxy) {
        let [broker, controller] = free_ports().unwrap();
        let [door] = free_ports().unwrap();
        let proxy = Proxy::start(([127, 0, 0, 1], door).into(), seed).await;
        let node = Self::start_one(
            [broker, controller],
            false,
            &format!(
                "listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},PROXIED://127.0.0.1:{door}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},PROXIED://{}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
",
                proxy.at
            ),
        );
        node.answers(1).await;
        (node, proxy)
    }

    fn start_one([broker, controller]: [u16; 2], among_others: bool, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let properties = dir.path().join("server.properties");
        let text = server_properties(dir.path(), broker, controller);
        // A quorum is either found by voters or by a first controller. Of two lines the last one counts.
        let by_voters =
            |line: &&str| among_others && line.starts_with("controller.quorum.bootstrap");
        let lines = text.lines().filter(|line| !by_voters(line));
        let lines: Vec<&str> = lines.chain(more.lines()).collect();
        std::fs::write(&properties, lines.join("\n")).unwrap();
        let mut format = java(&libs().unwrap());
        format.args(["kafka.tools.StorageTool", "format"]);
        if !among_others {
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
