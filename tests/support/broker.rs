//! A real Apache Kafka in KRaft mode, one per test process: `SETTLED_TEST_KAFKA` names a running one,
//! else it is started from the jars in `SETTLED_TEST_KAFKA_LIBS` (`target/kafka-libs`, where
//! `scripts/kafka-libs` puts them).

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::process::{Server, data_dir, free_ports};

/// A broker to test against.
pub struct Broker {
    /// `host:port`.
    pub bootstrap: String,
    server: Option<Server>,
}

impl Broker {
    /// The process of a broker that was started here.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// A running one that somebody else minds.
    pub fn at(bootstrap: String) -> Self {
        Self {
            bootstrap,
            server: None,
        }
    }

    /// Starts a broker of the caller's own, for tests that stop or kill it, or that need `properties`
    /// over the usual ones. Ends when dropped.
    pub fn start(properties: &[(&str, &str)]) -> Result<Self, String> {
        start(&libs()?, properties).map_err(|error| format!("the broker did not start: {error}"))
    }
}

/// The broker of this test process, started by the first to ask.
pub fn shared() -> Result<&'static Broker, String> {
    static SHARED: OnceLock<Result<Broker, String>> = OnceLock::new();
    SHARED
        .get_or_init(|| match std::env::var_os("SETTLED_TEST_KAFKA") {
            Some(bootstrap) => Ok(Broker::at(bootstrap.to_string_lossy().into_owned())),
            None => Broker::start(&[]),
        })
        .as_ref()
        .map_err(String::clone)
}

/// Where Kafka's jars are.
pub fn libs() -> Result<PathBuf, String> {
    let libs = std::env::var_os("SETTLED_TEST_KAFKA_LIBS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kafka-libs"),
        PathBuf::from,
    );
    let has_jars = std::fs::read_dir(&libs).is_ok_and(|mut jars| {
        jars.any(|jar| jar.is_ok_and(|jar| jar.path().extension().is_some_and(|e| e == "jar")))
    });
    if has_jars {
        Ok(libs)
    } else {
        Err(format!(
            "no jars in {}; run scripts/kafka-libs",
            libs.display()
        ))
    }
}

fn start(libs: &Path, more: &[(&str, &str)]) -> io::Result<Broker> {
    let dir = data_dir("kafka")?;
    let [broker, controller] = free_ports()?;
    let properties = dir.join("server.properties");
    let mut text = server_properties(&dir, broker, controller);
    for (property, value) in more {
        // The last one counts.
        text.extend([property, "=", value, "\n"]);
    }
    std::fs::write(&properties, text)?;
    let formatted = java(libs)
        .args(["kafka.tools.StorageTool", "format", "--standalone"])
        .args(["-t", "c2V0dGxlZC10ZXN0cy0wMQ", "-c"])
        .arg(&properties)
        .output()?;
    if !formatted.status.success() {
        let said = String::from_utf8_lossy(&formatted.stderr).into_owned();
        return Err(io::Error::other(said));
    }
    let mut command = java(libs);
    command.arg("kafka.Kafka").arg(&properties);
    let server = Server::start(command, &dir)?;
    let bootstrap = format!("127.0.0.1:{broker}");
    wait_until_up(&server, &bootstrap)?;
    Ok(Broker {
        bootstrap,
        server: Some(server),
    })
}

/// A Java machine for them.
pub fn java(libs: &Path) -> Command {
    let mut java = Command::new("java");
    java.args([
        "-Xmx384m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
    ])
    .arg(libs.join("*"));
    java
}

/// What the only node of a cluster is told.
pub fn server_properties(dir: &Path, broker: u16, controller: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
log.dirs={}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.min.session.timeout.ms=500
group.consumer.session.timeout.ms=1500
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=300
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
auto.create.topics.enable=false
log.retention.check.interval.ms=1000
",
        dir.join("data").display()
    )
}

fn wait_until_up(server: &Server, bootstrap: &str) -> io::Result<()> {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.max.ms", "100")
        .set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg)
        .create()
        .map_err(io::Error::other)?;
    for _ in 0..120 {
        let answer = client.fetch_metadata(None, Duration::from_millis(500));
        if answer.is_ok_and(|metadata| !metadata.brokers().is_empty()) {
            return Ok(());
        }
        if server.has_ended() {
            break;
        }
    }
    Err(io::Error::other(server.log_tail()))
}
