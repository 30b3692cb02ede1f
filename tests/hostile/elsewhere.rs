//! Where a process connects: listeners that count, exactly, and its open sockets as the kernel lists
//! them, a look every few milliseconds.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A place where nobody must come.
pub struct Forbidden {
    /// Where it listens.
    pub at: SocketAddr,
    came: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Forbidden {
    /// Listens on a free port of loopback until dropped.
    pub async fn place() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let came = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&came);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            at,
            came,
            _accepting: accepting,
        }
    }

    /// How many connections there were.
    pub fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

/// Collects the addresses that a process is connected to, or tries to be.
pub struct Watch {
    watching: JoinSet<()>,
    seen: tokio::sync::watch::Receiver<BTreeSet<SocketAddr>>,
}

impl Watch {
    /// Watches until dropped; what others connect to at these ports of it does not count.
    pub fn on(pid: u32, served: [u16; 2]) -> Self {
        let (tell, seen) = tokio::sync::watch::channel(BTreeSet::new());
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            loop {
                let there = connections(pid, served);
                tell.send_modify(|seen| seen.extend(there));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { watching, seen }
    }

    /// Everything that was seen so far.
    pub fn seen(&mut self) -> BTreeSet<SocketAddr> {
        assert!(self.watching.try_join_next().is_none(), "the watch ended");
        self.seen.borrow().clone()
    }
}

fn connections(pid: u32, served: [u16; 2]) -> Vec<SocketAddr> {
    let open: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(inode(link.to_str()?)?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let lines = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (here, there) = (address(fields[1])?, address(fields[2])?);
        let ours = open.contains(fields[9]) && there.port() != 0;
        (ours && !served.contains(&here.port())).then_some(there)
    });
    lines.collect()
}

fn inode(link: &str) -> Option<&str> {
    link.strip_prefix("socket:[")?.strip_suffix(']')
}

/// `0100007F:1F90`: an address in the machine's byte order, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((Ipv4Addr::from(ip), port).into())
}
