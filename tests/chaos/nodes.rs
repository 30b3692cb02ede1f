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

/// A redis-server with a port and a directory of its own.
pub struct RedisNode {
    port: u16,
    options: Vec<String>,
    dir: tempfile::TempDir,
    process: Process,
}

impl RedisNode {
    /// Starts one, and waits until it answers.
    pub async fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [port] = free_ports().unwrap();
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let process = Process::of(command(port, dir.path(), &options), dir.path().join("log"));
        let node = Self {
            port,
            options,
            dir,
            process,
        };
        node.answers().await;
        node
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
        let command = command(self.port, self.dir.path(), &self.options);
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
    pub bootstrap: String,
    dir: tempfile::TempDir,
    process: Process,
}

impl KafkaNode {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [broker, controller] = free_ports().unwrap();
        let properties = dir.path().join("server.properties");
        std::fs::write(
            &properties,
            server_properties(dir.path(), broker, controller),
        )
        .unwrap();
        let formatted = java(&libs().unwrap())
            .args(["kafka.tools.StorageTool", "format", "--standalone"])
            .args(["-t", "c2V0dGxlZC10ZXN0cy0wMQ", "-c"])
            .arg(&properties)
            .output()
            .unwrap();
        assert!(formatted.status.success(), "{formatted:?}");
        let node = Self {
            bootstrap: format!("127.0.0.1:{broker}"),
            process: Process::of(kafka(dir.path()), dir.path().join("log")),
            dir,
        };
        node.answers().await;
        node
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
        self.answers().await;
    }

    async fn answers(&self) {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("reconnect.backoff.max.ms", "100")
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create()
            .unwrap();
        eventually("the broker answers", Duration::from_mins(1), async || {
            let answer = client.fetch_metadata(None, Duration::from_millis(500));
            answer
                .is_ok_and(|metadata| !metadata.brokers().is_empty())
                .then_some(())
        })
        .await;
    }
}

fn kafka(dir: &Path) -> Command {
    let mut command = java(&libs().unwrap());
    command
        .arg("kafka.Kafka")
        .arg(dir.join("server.properties"));
    command
}
