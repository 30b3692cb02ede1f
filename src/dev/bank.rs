//! A simulated owner on a port: answers every order's question with 3 for a while, then with 1 or 2,
//! goes wrong in all the ways that owners do, as it is told by flags and while it runs, and keeps a
//! log of what it was asked. Used by `settled bank`, `settled dev` and the tests. What an order gets
//! depends on the seed, its own name and how often it was asked, never on the order of arrivals. It
//! knows nothing of the daemon's own counters.

mod args;
mod change;
mod fate;
mod latency;
mod layers;
mod ledger;
mod log_body;
mod reply;
mod server;
mod stray;
mod trick;
mod window;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

pub use args::BankArgs;
pub use change::Change;
pub use latency::Latency;
pub use ledger::{LOG_MAX, ORDERS_MAX, Summary};
pub use trick::{Played, Trick, Tricks};

/// How the simulated owner behaves. Shares are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BankOptions {
    /// How often an order is still in progress before its terminal answer.
    pub in_progress: u32,
    /// Orders that end in 2 rather than in 1.
    pub failure_share: f64,
    /// Answers «in progress» that are 4 instead.
    pub unknown_share: f64,
    /// Orders whose terminal answer is another one each time: 1, 2, 1 or 2, 1, 2.
    pub flip_share: f64,
    /// Time until an answer.
    pub latency: Latency,
    /// What goes wrong instead of an answer, and how often. Such a question brings an order no further.
    pub tricks: Tricks,
    /// So many questions of each order are open to tricks, the later ones are not; 0: all are.
    pub trick_times: u32,
    /// Told beside 429 and 503, in whole seconds; below one, nothing is told.
    pub retry_after: Duration,
    /// Where a 3xx leads.
    pub redirect: SocketAddr,
    /// So many questions are taken in any sliding second; 0: all are.
    pub max_per_second: u32,
    /// What becomes of the others.
    pub over_limit: OverLimit,
    /// Decides all of the above, order by order.
    pub seed: u64,
    /// Keeps counts only, no log: for benchmarks.
    pub counters_only: bool,
}

/// What becomes of a question above the bank's own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OverLimit {
    /// It is answered with 429.
    #[serde(rename = "429")]
    #[value(name = "429")]
    Refuse,
    /// It waits for its turn, and the later ones behind it: the bank is slow. After ten seconds, 429.
    Queue,
}

/// The address at which clouds tell a machine its own secrets.
const METADATA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);

impl Default for BankOptions {
    /// Two times 3, a tenth of the orders fails, nothing goes wrong, no latency, no limit.
    fn default() -> Self {
        Self {
            in_progress: 2,
            failure_share: 0.1,
            unknown_share: 0.0,
            flip_share: 0.0,
            latency: Latency::default(),
            tricks: Tricks::default(),
            trick_times: 0,
            retry_after: Duration::ZERO,
            redirect: METADATA,
            max_per_second: 0,
            over_limit: OverLimit::Refuse,
            seed: 1,
            counters_only: false,
        }
    }
}

/// A running simulated owner.
#[derive(Clone, Debug)]
pub struct Bank {
    addr: SocketAddr,
    ledger: Arc<ledger::Ledger>,
}

impl Bank {
    /// Listens on `listen` (port 0: any free one) and serves on `tasks` until `stop`.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(
        listen: SocketAddr,
        options: BankOptions,
        clock: Clock,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let ledger = Arc::new(ledger::Ledger::new(&options, clock));
        let server = server::Server {
            ledger: Arc::clone(&ledger),
            tasks: tasks.clone(),
            stop,
        };
        tasks.spawn(server.run(listener));
        Ok(Self { addr, ledger })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes its behaviour, as `PATCH /behaviour` does.
    ///
    /// # Errors
    /// Too many changes stand already.
    pub fn behave(&self, change: Change) -> Result<(), String> {
        self.ledger.change(change, layers::Left::Kept)
    }

    /// Its log from entry number `from` on as `GET /questions` tells it, at most `count` lines, and
    /// the number to go on from; it is further on than by the lines when some were dropped.
    pub fn log(&self, from: u64, count: usize) -> (String, u64) {
        self.ledger.log(from, self.ledger.log_end(), count)
    }

    /// What it was asked so far, as `GET /questions/summary` tells it.
    pub fn summary(&self) -> Summary {
        self.ledger.summary()
    }
}
