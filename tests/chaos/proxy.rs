//! A TCP proxy in the way of every connection to Redis or to a broker: it can lead elsewhere, be
//! slow, swallow one direction, or cut a connection instead of handing a reply on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::random::Random;

/// How the way is. Nothing is wrong with the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way {
    /// Each piece of data arrives so much later, in either direction.
    pub delay: Duration,
    /// So many of a hundred replies are not handed on; the connection ends instead.
    pub lost_replies: u64,
    /// What the client sends is swallowed, from then on for ever on this connection.
    pub no_requests: bool,
    /// What the server sends is swallowed, the same.
    pub no_replies: bool,
    /// Nothing arrives in either direction until this is over; then all of it does, as TCP has it
    /// when packets were lost and are sent again.
    pub held: bool,
}

/// A proxy, listening until dropped.
pub struct Proxy {
    /// Where clients connect.
    pub at: SocketAddr,
    shared: Arc<Shared>,
    _listening: JoinSet<()>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    way: watch::Sender<Way>,
    draws: Mutex<Random>,
    /// Every connection ends when it changes.
    era: watch::Sender<u64>,
}

impl Proxy {
    /// Leads to `target`.
    pub async fn start(target: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            way: watch::Sender::default(),
            draws: Mutex::new(Random::new(seed)),
            era: watch::Sender::new(0),
        });
        let mut listening = JoinSet::new();
        let sharing = Arc::clone(&shared);
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let sharing = Arc::clone(&sharing);
                connections.spawn(async move { sharing.connect(client).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            at,
            shared,
            _listening: listening,
        }
    }

    /// From now on, on connections that stand too.
    pub fn set(&self, way: Way) {
        self.shared.way.send_replace(way);
    }

    /// Leads elsewhere from now on, and ends every connection.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
        self.cut();
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.shared.era.send_modify(|era| *era += 1);
    }
}

impl Shared {
    fn way(&self) -> Way {
        *self.way.borrow()
    }

    async fn connect(&self, client: TcpStream) {
        let target = *self.target.lock().unwrap();
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let mut era = self.era.subscribe();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let requests = pass(from_client, to_server, self.way.subscribe(), || {
            let way = self.way();
            Some((way.delay, way.no_requests))
        });
        let replies = pass(from_server, to_client, self.way.subscribe(), || {
            let way = self.way();
            let lost = self.draws.lock().unwrap().below(100) < way.lost_replies;
            (!lost).then_some((way.delay, way.no_replies))
        });
        tokio::select! {
            () = requests => {}
            () = replies => {}
            _ = era.changed() => {}
        }
    }
}

/// Hands on what comes, as `how` says for each piece: `None` ends the connection, else the delay and
/// whether it is swallowed.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    how: impl Fn() -> Option<(Duration, bool)>,
) {
    let (sink, mut source) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async {
        let (mut buffer, mut dead) = (vec![0; 64 * 1024], false);
        loop {
            let Ok(length @ 1..) = from.read(&mut buffer).await else {
                return;
            };
            let Some((delay, swallowed)) = how() else {
                return;
            };
            // A stream that went on behind a gap would be none of TCP's.
            dead |= swallowed;
            if dead {
                continue;
            }
            let piece = (Instant::now() + delay, buffer[..length].to_vec());
            if sink.send(piece).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((at, piece)) = source.recv().await {
            sleep_until(at).await;
            if way.wait_for(|way| !way.held).await.is_err() {
                return;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
