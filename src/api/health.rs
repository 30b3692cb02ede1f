//! Readiness proves work: every shard that Kafka gave us is open and does its round, and Kafka and
//! Redis have answered lately. Shards speak through their metrics; `app` says what was reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;

use crate::clock::Clock;
use crate::domain::order::Millis;
use crate::metrics::Metrics;
use crate::metrics::label::{Label, Phase};

/// A shard does its round once a second; five missed rounds are no hiccup.
pub const TICK_LIMIT_MS: Millis = 5_000;

/// Each neighbour is spoken to at least once a second; this is beyond their own timeouts.
pub const REACH_LIMIT_MS: Millis = 15_000;

/// What a worker cannot work without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The broker.
    Kafka,
    /// The store of the view.
    Redis,
}

/// The worker's health; `app` keeps it true.
#[derive(Debug)]
pub struct Health {
    clock: Clock,
    metrics: Arc<Metrics>,
    joined: AtomicBool,
    kafka: Reach,
    redis: Reach,
}

/// When a neighbour last answered.
#[derive(Debug)]
struct Reach {
    answered: AtomicU64,
    now: AtomicBool,
}

/// What `/readyz` says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    v: u8,
    /// Whether the worker does its work.
    pub ready: bool,
    /// One line for each thing that is not ready.
    pub reasons: Vec<String>,
    shards_owned: usize,
    shards_open: usize,
}

impl Health {
    /// Nothing reached, nothing joined yet.
    pub fn new(clock: Clock, metrics: Arc<Metrics>) -> Arc<Self> {
        let reach = || Reach {
            answered: AtomicU64::new(clock.monotonic()),
            now: AtomicBool::new(false),
        };
        Arc::new(Self {
            clock,
            metrics,
            joined: AtomicBool::new(false),
            kafka: reach(),
            redis: reach(),
        })
    }

    /// The group has assigned shards for the first time; none is an assignment too.
    pub fn joined(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    /// The neighbour has answered now.
    pub fn reached(&self, neighbour: Neighbour) {
        let reach = self.reach(neighbour);
        reach
            .answered
            .store(self.clock.monotonic(), Ordering::Relaxed);
        reach.now.store(true, Ordering::Relaxed);
    }

    /// The neighbour is known not to answer.
    pub fn lost(&self, neighbour: Neighbour) {
        self.reach(neighbour).now.store(false, Ordering::Relaxed);
    }

    /// What is not ready at this moment.
    pub fn readiness(&self) -> Readiness {
        let now = self.clock.monotonic();
        let mut reasons = Vec::new();
        for neighbour in [Neighbour::Kafka, Neighbour::Redis] {
            let reach = self.reach(neighbour);
            let age = now.saturating_sub(reach.answered.load(Ordering::Relaxed));
            if !reach.now.load(Ordering::Relaxed) || age > REACH_LIMIT_MS {
                reasons.push(format!("{neighbour:?} has not answered for {age} ms"));
            }
        }
        if !self.joined.load(Ordering::Relaxed) {
            reasons.push("the group has not assigned shards yet".to_owned());
        }
        let shards = self.metrics.shards();
        let mut open = 0;
        for (shard, state) in &shards {
            if state.phase != Phase::Open {
                let stalled = state.stalled.map_or("", Label::text);
                let line = format!("shard {shard} is {} {stalled}", state.phase.text());
                reasons.push(line.trim_end().to_owned());
                continue;
            }
            open += 1;
            let age = now.saturating_sub(state.ticked.unwrap_or(0));
            if age > TICK_LIMIT_MS {
                reasons.push(format!("shard {shard} has not ticked for {age} ms"));
            }
        }
        Readiness {
            v: 1,
            ready: reasons.is_empty(),
            reasons,
            shards_owned: shards.len(),
            shards_open: open,
        }
    }

    fn reach(&self, neighbour: Neighbour) -> &Reach {
        match neighbour {
            Neighbour::Kafka => &self.kafka,
            Neighbour::Redis => &self.redis,
        }
    }
}
