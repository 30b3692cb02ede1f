//! What whoever runs `dev` is told while it runs: what is up, how things stand each second, what goes
//! wrong on the way. Plain data; the command line makes lines of it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::app::Addresses;
use crate::dev::audit::Standing;
use crate::dev::traffic::Ended;
use crate::domain::order::TypeName;

/// What whoever runs it is told while it runs.
#[derive(Clone, Debug)]
pub enum Told {
    /// Everything is up.
    Started(Box<Started>),
    /// A line of the user's events is none, and why.
    BadLine(u64, String),
    /// A second has passed.
    Second(Second),
    /// Traffic has ended before it was told to.
    TrafficEnded(Ended),
    /// Traffic has ended; what is open is waited for, so long at most.
    Settling(Duration),
}

/// What is up, and where.
#[derive(Clone, Debug)]
pub struct Started {
    /// The broker is embedded.
    pub embedded: bool,
    /// The view is in Redis.
    pub redis: bool,
    /// For any Kafka client.
    pub bootstrap: String,
    /// Where the worker listens.
    pub worker: Addresses,
    /// The simulated bank; none with an owner of the user's.
    pub bank: Option<SocketAddr>,
    /// The topics of events, results and dead letters.
    pub topics: [String; 3],
    /// The order types that are configured.
    pub order_types: Vec<TypeName>,
    /// Repeats the run.
    pub seed: u64,
}

/// How things stand.
#[derive(Clone, Copy, Debug)]
pub struct Second {
    /// Since the start.
    pub seconds: u64,
    /// By the second reader; `due` only with the bank's log.
    pub standing: Standing,
    /// Questions so far: by the bank's log, or else by the worker's own count.
    pub asked: u64,
    /// Of the questions of this second, by the worker's histogram; infinite beyond a minute.
    pub lateness_p99_seconds: Option<f64>,
    /// The bank's log tells what is due.
    pub has_log: bool,
}
