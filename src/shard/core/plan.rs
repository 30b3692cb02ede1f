//! What a shard's core knows of the configuration.

use crate::domain::order::{Millis, TypeName};
use crate::domain::schedule::Schedule;

/// The configuration of one shard, as numbers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// p.
    pub shard: u16,
    /// N.
    pub shards: u16,
    /// How long a settled order is remembered.
    pub window: Millis,
    /// The configured order types.
    pub types: Vec<TypePlan>,
    /// Beyond so many types that are not configured, `type-limit`.
    pub unknown_types: usize,
    /// Orders in the gate and events waiting for them; full, it stops claims and the event log.
    pub gate_limit: usize,
    /// The floor is committed this often.
    pub floor_every: Millis,
    /// Gauges, `E` of the group and the ends of the logs are refreshed this often.
    pub survey_every: Millis,
    /// A script of a kind waits so long after the last of its kind, unless it is full: at once when
    /// idle, together when busy.
    pub linger: Millis,
    /// The pause before a recovery that follows on another.
    pub rest: Millis,
}

impl Plan {
    /// Production values.
    pub fn new(shard: u16, shards: u16, window: Millis, types: Vec<TypePlan>) -> Self {
        Self {
            shard,
            shards,
            window,
            types,
            unknown_types: 200,
            gate_limit: 4_000,
            floor_every: 60_000,
            survey_every: 5_000,
            linger: 50,
            rest: 1_000,
        }
    }
}

/// One configured order type.
#[derive(Clone, Debug)]
pub struct TypePlan {
    /// Its name.
    pub name: TypeName,
    /// When its orders are asked about.
    pub schedule: Schedule,
    /// The whole-request deadline of a question.
    pub timeout: Millis,
}

/// A lease outlives its question's deadline by this much, so that an answer finds its claim.
pub const LEASE_SLACK: Millis = 5_000;

/// A second's bucket is claimed this long before the second begins.
pub const CLAIM_AHEAD: Millis = 250;

impl TypePlan {
    /// How long a lease lasts from the end of the claimed second.
    pub fn lease(&self) -> Millis {
        self.timeout + LEASE_SLACK
    }
}
