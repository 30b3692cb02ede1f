//! What an audit is told: records as the second reader got them, what it has to know of the run, and
//! the counts of both.

use std::collections::BTreeSet;

use crate::domain::order::{Millis, TypeName};

/// A record of one of the three topics, as the second reader got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Of `order-events`.
    Event {
        /// Partition and offset.
        at: Place,
        /// Its time stamp.
        appended: Millis,
        /// It has the header of a forwarded record.
        forwarded: bool,
        /// Its value.
        value: Vec<u8>,
    },
    /// Of `order-results`.
    Result {
        /// Partition and offset.
        at: Place,
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// Of `order-dead-letters`.
    DeadLetter {
        /// Its key.
        key: Vec<u8>,
        /// Its header `settled-reason`.
        reason: String,
    },
}

/// Partition and offset.
pub type Place = (u16, u64);

/// What an audit has to know of the run.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The topic of events, which keys of dead letters name.
    pub events_topic: String,
    /// N.
    pub shards: u16,
    /// An event appended later than this after its own `at` is stale.
    pub window: Millis,
    /// The configured order types; orders of others stay pending and are not asked about.
    pub configured: BTreeSet<TypeName>,
    /// The ideal ages of an order's questions. `None`: there is no log of the questions, and what
    /// it would prove is left out.
    pub question_ages: Option<Vec<Millis>>,
    /// Where each partition of `order-events` ended before the run. Older orders are not compared with
    /// the bank's log, which does not reach back so far.
    pub began_at: Vec<u64>,
}

/// What was read so far, each record once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records of `order-events`, but for forwarded copies.
    pub events: u64,
    /// Of these: no event can be made of them.
    pub refused: u64,
    /// Of these: status 1, 2 or `settle`.
    pub terminal: u64,
    /// Of these: lay in another partition than their order's.
    pub misplaced: u64,
    /// Copies of misplaced records in their own partition.
    pub forwarded: u64,
    /// Records of `order-results`.
    pub results: u64,
    /// Records of `order-dead-letters`, repetitions aside.
    pub dead_letters: u64,
    /// Questions in the bank's log.
    pub questions: u64,
}
