//! What `settled dev` can be told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Secret;
use crate::dev::second_reader::Keep;
use crate::domain::order::Millis;
use crate::domain::schedule::JITTER_FROM;

/// Beyond the ideal times of the schedule: the drain of what came last, on a slow machine.
const SLACK: Duration = Duration::from_secs(7);

/// How long what can never come any more is waited for before it counts as missing.
const GRACE: Duration = Duration::from_secs(5);

/// How long orders are waited for after traffic has ended, or after the last result while one comes
/// after the other (5 minutes at most).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until the sample orders are settled.
    pub settle: Duration,
    /// Then, until what is missing is there.
    pub grace: Duration,
}

impl Patience {
    /// What a schedule needs for the question that the bank answers with a terminal status: with one
    /// «in progress» before it, 3 s and 7 s for the rest.
    pub fn for_schedule(question_ages: &[Millis], in_progress: u32) -> Self {
        let needed = question_ages
            .get(in_progress as usize)
            .or(question_ages.last())
            .copied()
            .unwrap_or(3_000);
        // Jitter and coarse buckets take up to a tenth more of delays that are not short.
        let more = if needed < JITTER_FROM { 0 } else { needed / 8 };
        let needed = Duration::from_millis(needed + more);
        Self {
            settle: (needed + SLACK).max(Duration::from_secs(10)),
            grace: GRACE,
        }
    }
}

/// The options of a run.
#[derive(Clone)]
pub struct DevOptions {
    /// How long traffic runs; without it until it is stopped.
    pub run_for: Option<Duration>,
    /// Sample orders a second.
    pub rate: u32,
    /// Events instead of sample orders; `-` is standard input.
    pub events: Option<PathBuf>,
    /// An owner instead of the simulated bank.
    pub query_url: Option<String>,
    /// Kafka instead of the embedded broker.
    pub kafka: Option<String>,
    /// Redis instead of a view in memory.
    pub redis: Option<Secret>,
    /// Of sample orders and of the bank; none: another one each time.
    pub seed: Option<u64>,
    /// How often the bank says «in progress».
    pub in_progress: u32,
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// Where metrics and health listen.
    pub admin_listen: SocketAddr,
    /// Where the bank listens.
    pub bank_listen: SocketAddr,
    /// How long to wait at the end; none: as long as the schedule needs.
    pub patience: Option<Patience>,
    /// Which records the second reader shows to the audit: all, but where a test withholds one.
    pub keep: Keep,
}

impl Default for DevOptions {
    /// The command line's defaults.
    fn default() -> Self {
        let free = (Ipv4Addr::LOCALHOST, 0).into();
        Self {
            run_for: None,
            rate: 200,
            events: None,
            query_url: None,
            kafka: None,
            redis: None,
            seed: None,
            in_progress: 1,
            api_listen: free,
            admin_listen: free,
            bank_listen: free,
            patience: None,
            keep: Arc::new(|_| true),
        }
    }
}
