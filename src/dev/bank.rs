//! A simulated owner on a port: answers every order's question with 3 for a while, then with 1 or 2,
//! sometimes with 4, 5xx or silence, and keeps a log of what it was asked. Used by `settled bank`,
//! `settled dev` and the tests. What an order gets depends on the seed, its own name and how often it
//! was asked, never on the order of arrivals. It knows nothing of the daemon's own counters.

mod args;
mod fate;
mod ledger;
mod log_body;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

pub use args::BankArgs;
pub use ledger::{Given, LOG_MAX, ORDERS_MAX, Summary};

/// How the simulated owner behaves. Shares are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BankOptions {
    /// How often an order is still in progress before its terminal answer.
    pub in_progress: u32,
    /// Orders that end in 2 rather than in 1.
    pub failure_share: f64,
    /// Answers «in progress» that are 4 instead.
    pub unknown_share: f64,
    /// Mean time until an answer; exponentially distributed, at most ten times the mean.
    pub latency: Duration,
    /// Questions that get a 500 and do not count as asked.
    pub server_error_share: f64,
    /// Questions that never get an answer and do not count as asked.
    pub hang_share: f64,
    /// Decides all of the above, order by order.
    pub seed: u64,
    /// Keeps counts only, no log: for benchmarks.
    pub counters_only: bool,
}

impl Default for BankOptions {
    /// Two times 3, a tenth of the orders fails, nothing goes wrong, no latency.
    fn default() -> Self {
        Self {
            in_progress: 2,
            failure_share: 0.1,
            unknown_share: 0.0,
            latency: Duration::ZERO,
            server_error_share: 0.0,
            hang_share: 0.0,
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
        let ledger = Arc::new(ledger::Ledger::new(options, clock));
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

    /// Its log from entry number `from` on as `GET /questions` tells it, at most `count` lines, and
    /// the number to go on from; it is further on than by the lines when some were dropped.
    pub fn log(&self, from: u64, count: usize) -> (String, u64) {
        self.ledger.log(from, self.ledger.log_end(), count)
    }

    /// What it was asked so far, as `GET /questions?summary=1` tells it.
    pub fn summary(&self) -> Summary {
        self.ledger.summary()
    }
}
