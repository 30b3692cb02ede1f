//! People at screens: they ask one worker after the other about the patient orders until each is
//! final, and remember what they were told. A worker that does not answer is left for the next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::plain_http::{parse, request};

/// Longer than an answer counts as fresh, so that each look is a question of its own.
const EVERY: Duration = Duration::from_millis(600);
/// An order is known to the view by then, unless a fault came in between.
const KNOWN_AFTER: Duration = Duration::from_millis(300);
/// Longer than the type's deadline.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Asking, until dropped.
pub struct Callers {
    told: Arc<Mutex<BTreeMap<String, String>>>,
    _asking: JoinSet<()>,
}

impl Callers {
    /// Begins to ask these workers, the first one first, about orders (with when they are published).
    pub fn start(workers: Vec<SocketAddr>, orders: Vec<(String, u64)>) -> Self {
        let told = Arc::default();
        let mut asking = JoinSet::new();
        asking.spawn(ask(workers, orders, Arc::clone(&told)));
        Self {
            told,
            _asking: asking,
        }
    }

    /// The orders that callers were told to be final, and the status.
    pub fn told(&self) -> BTreeMap<String, String> {
        self.told.lock().unwrap().clone()
    }
}

async fn ask(
    workers: Vec<SocketAddr>,
    orders: Vec<(String, u64)>,
    told: Arc<Mutex<BTreeMap<String, String>>>,
) {
    let began = Instant::now();
    let mut workers = workers.iter().cycle();
    let Some(mut worker) = workers.next() else {
        return;
    };
    let mut rounds = interval(EVERY);
    loop {
        rounds.tick().await;
        for (req_no, at_ms) in &orders {
            let key = format!("patient/{req_no}");
            let known = Duration::from_millis(*at_ms) + KNOWN_AFTER < began.elapsed();
            if !known || told.lock().unwrap().contains_key(&key) {
                continue;
            }
            match timeout(PATIENCE, look(*worker, &key)).await {
                Ok(Some(answer)) if answer["final"] == true => {
                    let status = answer["status"].as_str().unwrap().to_owned();
                    told.lock().unwrap().insert(key, status);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => worker = workers.next().unwrap(),
            }
        }
    }
}

/// `None`: the worker is gone, or goes amid its answer.
async fn look(worker: SocketAddr, key: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(worker).await.ok()?;
    let request = request("GET", &format!("/v1/orders/{key}"), b"");
    stream.write_all(&request).await.ok()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.ok()?;
    let whole = reply.windows(4).any(|end| end == b"\r\n\r\n");
    whole.then(|| serde_json::from_str(&parse(&reply).body).ok())?
}
