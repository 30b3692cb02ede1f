//! One caller's order on the metrics page: counted once, whatever becomes of it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::metrics::TypeMetrics;
use crate::metrics::label::CallerOutcome;

/// An order that somebody asks for, from the request to its answer.
#[derive(Debug)]
pub(super) struct Caller {
    metrics: Arc<TypeMetrics>,
    clock: Clock,
    began_us: u64,
    outcome: CallerOutcome,
}

impl Caller {
    /// Until [`Caller::told`] is called it counts as one that has left.
    pub fn new(metrics: Arc<TypeMetrics>, clock: Clock) -> Self {
        Self {
            metrics,
            clock,
            began_us: clock.monotonic_us(),
            outcome: CallerOutcome::Left,
        }
    }

    /// How long it has waited.
    pub fn waited(&self) -> Duration {
        let now_us = self.clock.monotonic_us();
        Duration::from_micros(now_us.saturating_sub(self.began_us))
    }

    /// It gets its answer.
    pub fn told(mut self, outcome: CallerOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.metrics.caller(self.outcome, self.waited());
    }
}

/// A flight on the metrics page, for as long as it is in the air.
#[derive(Debug)]
pub(super) struct Flying(Arc<TypeMetrics>);

impl Flying {
    pub fn new(metrics: Arc<TypeMetrics>) -> Self {
        metrics.flights(1);
        Self(metrics)
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.flights(-1);
    }
}
