//! Everything that speaks to Kafka. Each handle has one job (DESIGN section 7): the *member* decides
//! ownership, the *reader* reads both logs, the *end-asker* tells their real ends, one idempotent
//! *producer* writes forwards, dead letters and API events, a transactional *publisher* per shard
//! writes results.

mod delivery;
pub mod ends;
pub mod feed;
pub mod floor;
mod group_rules;
pub mod letter;
pub mod member;
mod place;
mod pool;
pub mod producer;
pub mod publisher;
pub mod reader;
pub mod record;
pub mod settings;
pub mod thread;
pub mod topic_plan;
pub mod topic_rules;
pub mod topics;

pub use record::{EventRecord, ResultRecord};

/// Which of a shard's two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Log {
    /// `order-events[p]`.
    Events,
    /// `order-results[p]`, read committed.
    Results,
}

/// A record as it came, kept for dead letters and forwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The record's headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Original {
    /// What it takes in memory, nearly.
    pub fn bytes(&self) -> usize {
        let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + of(value)).sum();
        of(&self.key) + of(&self.value) + headers
    }
}

/// The ends of one log partition, as a `read_uncommitted` handle sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The oldest offset that is still there.
    pub low: u64,
    /// One past the newest record, open transactions included.
    pub high: u64,
}

/// A record for the publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// `<type>/<reqNO>`.
    pub key: String,
    /// The result's JSON.
    pub value: Vec<u8>,
    /// `settled-app`, `settled-outcome`, `settled-status`, `traceparent`.
    pub headers: Vec<(&'static str, String)>,
}

/// A point in `order-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Partition.
    pub partition: u16,
    /// Offset.
    pub offset: u64,
}
