//! Redis servers that are killed, frozen and started again, with their data.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::checker::process::Process;
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
