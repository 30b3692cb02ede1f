//! A redis-server of a test's own: loopback, a free port, nothing on disk, gone with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use settled::config::Secret;

/// A running server; dropping it kills it.
pub struct RedisServer {
    child: Child,
    /// `redis://127.0.0.1:<port>`.
    pub url: String,
    /// A cluster's configuration names more than one.
    urls: usize,
    _directory: tempfile::TempDir,
}

impl RedisServer {
    /// Starts `redis-server` from the PATH. `None`, said aloud, when there is none; under CI that is
    /// a failure.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// As [`RedisServer::start`], a cluster of one node.
    pub fn start_cluster() -> Option<Self> {
        let mut server = Self::start_with(&["--cluster-enabled", "yes"])?;
        let mut redis = server.connect();
        let mut cluster = |words: &[&str]| {
            let mut command = redis::cmd("CLUSTER");
            let answer = command.arg(words).query::<String>(&mut redis);
            answer.expect("a cluster's answer")
        };
        cluster(&["ADDSLOTSRANGE", "0", "16383"]);
        while !cluster(&["INFO"]).contains("cluster_state:ok") {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        server.urls = 2;
        Some(server)
    }

    /// As [`RedisServer::start`], with more options.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let spawned = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "yes"])
            .args(options)
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(e) => {
                let ci = std::env::var_os("CI").is_some();
                assert!(!ci, "redis-server is needed under CI: {e}");
                println!("skipped: real redis");
                return None;
            }
        };
        let log = BufReader::new(child.stdout.take().expect("its output"));
        let mut lines = log.lines().map_while(Result::ok);
        let ready = lines.any(|line| line.contains("Ready to accept connections"));
        assert!(ready, "redis-server ended before it was ready");
        // The log is read on, or the server would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            url: format!("redis://127.0.0.1:{port}"),
            urls: 1,
            _directory: directory,
        })
    }

    /// The address as configuration hands it to a store.
    pub fn urls(&self) -> Vec<Secret> {
        vec![Secret::new(self.url.clone()); self.urls]
    }

    /// Where it listens.
    pub fn at(&self) -> std::net::SocketAddr {
        self.url["redis://".len()..].parse().expect("an address")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A plain connection beside the store under test.
    pub fn connect(&self) -> redis::Connection {
        let client = redis::Client::open(self.url.as_str()).expect("an address");
        client.get_connection().expect("a connection")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().expect("kill redis-server");
        self.child.wait().expect("wait for redis-server");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
