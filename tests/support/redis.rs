//! A real redis-server, one per test process: `SETTLED_TEST_REDIS` names a running one
//! (`redis://host:port`), else it is started from the path. With `SETTLED_TEST_REDIS_CLUSTER` in the
//! environment, a Redis Cluster of six redis-servers takes its place.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::{Server, data_dir, free_ports};
use super::redis_cluster::{form, options};

/// A redis-server to test against.
pub struct RedisServer {
    /// `redis://host:port/0`; of a cluster several, separated by commas.
    pub url: String,
    servers: Vec<Server>,
}

impl RedisServer {
    /// The process of a server that was started here.
    pub fn pid(&self) -> Option<u32> {
        self.servers.first().map(Server::pid)
    }

    /// A running one that somebody else minds.
    pub fn at(url: String) -> Self {
        Self {
            url,
            servers: Vec::new(),
        }
    }

    /// Starts a server of the caller's own, for tests that stop, fill or kill it; `options` are
    /// redis-server's (`["--maxmemory", "10mb"]`). Ends when dropped.
    pub fn start(options: &[&str]) -> Result<Self, String> {
        start(options).map_err(|error| format!("redis-server did not start: {error}"))
    }
}

/// The server of this test process, started by the first to ask.
pub fn shared() -> Result<&'static RedisServer, String> {
    static SHARED: OnceLock<Result<RedisServer, String>> = OnceLock::new();
    SHARED
        .get_or_init(|| match std::env::var_os("SETTLED_TEST_REDIS") {
            Some(url) => Ok(RedisServer::at(url.to_string_lossy().into_owned())),
            None => RedisServer::start(&[]),
        })
        .as_ref()
        .map_err(String::clone)
}

fn start(more: &[&str]) -> io::Result<RedisServer> {
    let count = match std::env::var_os("SETTLED_TEST_REDIS_CLUSTER") {
        Some(_) => 6,
        None => 1,
    };
    let (mut servers, mut nodes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let [port, bus] = free_ports()?;
        let of_a_cluster = if count > 1 { options(bus) } else { Vec::new() };
        servers.push(start_one(port, more, &of_a_cluster)?);
        nodes.push((SocketAddr::from(([127, 0, 0, 1], port)), bus));
    }
    if count > 1 {
        form(&nodes);
    }
    let urls: Vec<String> = nodes
        .iter()
        .map(|(at, _)| format!("redis://{at}/0"))
        .collect();
    Ok(RedisServer {
        url: urls.join(","),
        servers,
    })
}

fn start_one(port: u16, more: &[&str], of_a_cluster: &[String]) -> io::Result<Server> {
    let dir = data_dir("redis")?;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--maxmemory-policy", "noeviction"])
        .arg("--port")
        .arg(port.to_string())
        .arg("--dir")
        .arg(&dir)
        .args(more)
        .args(of_a_cluster);
    let server = Server::start(command, &dir)?;
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(server);
        }
        if server.has_ended() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::other(server.log_tail()))
}
