//! An owner that answers raw bytes, so that it can misbehave in every way a socket can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// What it does with each request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Sends these bytes and keeps the connection.
    Sends(Vec<u8>),
    /// Sends these bytes and closes.
    SendsAndCloses(Vec<u8>),
    /// Closes without a byte.
    Closes,
    /// Sends RST.
    Resets,
    /// Sends a head, then one byte every few milliseconds for ever.
    Drips,
    /// Sends a beginning, then the same bytes again and again for ever.
    Repeats(Vec<u8>, Vec<u8>),
    /// Reads the request and stays silent.
    Hangs,
}

/// A running stub.
#[derive(Clone, Debug)]
pub struct OwnerStub {
    pub addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    behaviour: watch::Sender<Behaviour>,
    /// The heads of all requests, in lower case.
    requests: watch::Sender<Vec<String>>,
}

impl OwnerStub {
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self {
            addr: listener.local_addr().unwrap(),
            connections: Arc::default(),
            behaviour: watch::Sender::new(behaviour),
            requests: watch::Sender::new(Vec::new()),
        };
        let running = stub.clone();
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                running.connections.fetch_add(1, SeqCst);
                let behaviour = running.behaviour.borrow().clone();
                tasks.spawn(serve(stream, behaviour, running.requests.clone()));
            }
        });
        stub
    }

    /// One answer with this status line, headers and body.
    pub async fn answering(status: &str, headers: &str, body: &[u8]) -> Self {
        Self::start(Behaviour::Sends(answer(status, headers, body))).await
    }

    /// What it does on new connections.
    pub fn behaves(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    pub fn url(&self) -> String {
        format!("http://{}/q", self.addr)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.requests.borrow().len()
    }

    /// The head of the last request, in lower case.
    pub fn last_head(&self) -> String {
        self.requests.borrow().last().cloned().unwrap()
    }

    /// Returns once `count` requests have arrived.
    pub async fn wait_for_requests(&self, count: usize) {
        let mut requests = self.requests.subscribe();
        requests.wait_for(|seen| seen.len() >= count).await.unwrap();
    }
}

/// A whole HTTP/1.1 answer; `headers` are lines that end in CRLF.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour, requests: watch::Sender<Vec<String>>) {
    while let Some(head) = read_request(&mut stream).await {
        requests.send_modify(|seen| seen.push(head));
        match &behaviour {
            Behaviour::Sends(bytes) => {
                if stream.write_all(bytes).await.is_err() {
                    return;
                }
            }
            Behaviour::SendsAndCloses(bytes) => {
                stream.write_all(bytes).await.ok();
                return;
            }
            Behaviour::Closes => return,
            Behaviour::Resets => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Behaviour::Drips => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
                let mut alive = stream.write_all(head).await.is_ok();
                while alive {
                    alive = stream.write_all(b" ").await.is_ok();
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                return;
            }
            Behaviour::Repeats(head, piece) => {
                let pieces = piece.repeat(64);
                let mut alive = stream.write_all(head).await.is_ok();
                while alive {
                    alive = stream.write_all(&pieces).await.is_ok();
                    tokio::task::yield_now().await;
                }
                return;
            }
            Behaviour::Hangs => {
                // Until the asker gives up.
                stream.read_u8().await.ok();
                return;
            }
        }
    }
}

/// Reads a head, which is returned in lower case, and as much body as it announces; `None` at the end
/// of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}
