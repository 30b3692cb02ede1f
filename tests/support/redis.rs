//! A real redis-server, one per test process: `SETTLED_TEST_REDIS` names a running one
//! (`redis://host:port`), else it is started from the path.

use std::io;
use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::{Server, data_dir, free_ports};

/// A redis-server to test against.
pub struct RedisServer {
    /// `redis://host:port/0`.
    pub url: String,
    server: Option<Server>,
}

impl RedisServer {
    /// The process of a server that was started here.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// A running one that somebody else minds.
    pub fn at(url: String) -> Self {
        Self { url, server: None }
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

fn start(options: &[&str]) -> io::Result<RedisServer> {
    let dir = data_dir("redis")?;
    let [port] = free_ports()?;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--maxmemory-policy", "noeviction"])
        .arg("--port")
        .arg(port.to_string())
        .arg("--dir")
        .arg(&dir)
        .args(options);
    let server = Server::start(command, &dir)?;
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(RedisServer {
                url: format!("redis://127.0.0.1:{port}/0"),
                server: Some(server),
            });
        }
        if server.has_ended() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(io::Error::other(server.log_tail()))
}
