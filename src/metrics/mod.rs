//! What the process measures, for Prometheus. One value is made by `app` and handed to everybody;
//! each call is a few atomic additions. Labels come from closed sets and configured order types only.

mod alarms;
mod family;
pub mod label;
mod order_type;
mod shard;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};

use crate::clock::Clock;
use crate::domain::event::Reason;
use crate::domain::order::{Millis, TypeName};
use crate::kafka::Log;
pub use alarms::{AlarmLine, Stage};
use family::{Families, Series};
use label::{
    Alarm, DeadLetterReason, EventOutcome, Label, PauseReason, Phase, RecoveryCause, Reload,
    ResultKind, StallReason,
};
pub use order_type::TypeMetrics;
pub use shard::{InletMetrics, ShardMetrics, ShardState, TypeGauges, ViewGauges};

/// The label of every order type that is not configured.
const OTHER: &str = "other";

/// The order types that have been configured in this process.
type Types = BTreeMap<TypeName, Arc<TypeMetrics>>;

/// All metrics of one process, with a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    clock: Clock,
    families: Families,
    types: RwLock<Types>,
    other: Arc<TypeMetrics>,
    events: Series<EventOutcome, IntCounter>,
    results: Series<ResultKind, IntCounter>,
    dead_letters: Series<DeadLetterReason, IntCounter>,
    recoveries: Series<RecoveryCause, IntCounter>,
    reloads: Series<Reload, IntCounter>,
    alarms: Series<Alarm, IntCounter>,
    shards: Series<Phase, IntGauge>,
    intake_paused: Series<PauseReason, IntGauge>,
    stalled: Series<StallReason, IntGauge>,
    view_lag: Series<Log, IntGauge>,
    board: Arc<shard::Board>,
    inlets: Arc<shard::Inlets>,
}

impl Metrics {
    /// Registers every metric; `types` are the configured order types.
    ///
    /// # Errors
    /// Only a fault of the list of families, which a test would find.
    pub fn new<'a>(
        clock: Clock,
        types: impl IntoIterator<Item = &'a TypeName>,
    ) -> prometheus::Result<Arc<Self>> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        families
            .build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let metrics = Self {
            types: RwLock::default(),
            other: Arc::new(TypeMetrics::new(&families, OTHER)),
            events: counters(&families.events),
            results: Series::new(|kind: ResultKind| {
                let (outcome, status) = kind.text().split_once('/').unwrap_or((kind.text(), ""));
                families.results.with_label_values(&[outcome, status])
            }),
            dead_letters: counters(&families.dead_letters),
            recoveries: counters(&families.recoveries),
            reloads: counters(&families.reloads),
            alarms: counters(&families.alarms),
            shards: gauges(&families.shards),
            intake_paused: gauges(&families.intake_paused),
            stalled: gauges(&families.stalled_shards),
            view_lag: gauges(&families.view_lag),
            board: Arc::default(),
            inlets: Arc::default(),
            registry,
            clock,
            families,
        };
        metrics.configure(types);
        Ok(Arc::new(metrics))
    }

    /// Gives these order types a label of their own. One that is configured no longer keeps its own:
    /// its counters go on, and its orders are still there.
    pub fn configure<'a>(&self, types: impl IntoIterator<Item = &'a TypeName>) {
        let mut known = self.types.write().unwrap_or_else(PoisonError::into_inner);
        for name in types {
            known
                .entry(name.clone())
                .or_insert_with(|| Arc::new(TypeMetrics::new(&self.families, name.as_str())));
        }
    }

    fn types(&self) -> RwLockReadGuard<'_, Types> {
        self.types.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metrics of one order type, to be kept by who observes often; a type that is not configured
    /// shares the label `other`.
    pub fn order_type(&self, name: &TypeName) -> Arc<TypeMetrics> {
        Arc::clone(self.types().get(name).unwrap_or(&self.other))
    }

    /// Where alarms belong that have no order type.
    pub fn no_order_type(&self) -> &TypeMetrics {
        &self.other
    }

    /// What is to be told now of the alarms that are open, by the label of their order type; `None`:
    /// what no line has told yet, at the end of the process. Once each.
    pub fn alarm_lines(&self, now: Option<Millis>) -> Vec<(String, AlarmLine)> {
        let types = self.types();
        let labelled = types.iter().map(|(name, metrics)| (name.as_str(), metrics));
        let mut lines = Vec::new();
        for (label, metrics) in labelled.chain([(OTHER, &self.other)]) {
            let of_type = match now {
                Some(now) => metrics.alarms.lines(now),
                None => metrics.alarms.untold(),
            };
            lines.extend(of_type.into_iter().map(|line| (label.to_owned(), line)));
        }
        lines
    }

    /// An operator has paused a type, or resumed it; of no effect for one that is not configured.
    pub fn type_paused(&self, name: &TypeName, paused: bool) {
        if let Some(known) = self.types().get(name) {
            known.paused.set(i64::from(paused));
        }
    }

    /// A record of `order-events` had its effect.
    pub fn event(&self, outcome: EventOutcome) {
        self.events.of(outcome).inc();
    }

    /// A result was read back from `order-results` and folded, which this worker has not told before.
    pub fn result(&self, kind: ResultKind) {
        self.results.of(kind).inc();
    }

    /// An event was kept as a dead letter, acknowledged.
    pub fn dead_letter(&self, reason: Reason) {
        self.event(EventOutcome::DeadLetter);
        self.dead_letters.of(reason.into()).inc();
    }

    /// A transaction of `order-results` was committed.
    pub fn commit(&self, took: Duration) {
        self.families.commit_duration.observe(took.as_secs_f64());
    }

    /// A recovery began.
    pub fn recovery_began(&self, cause: RecoveryCause) {
        self.recoveries.of(cause).inc();
    }

    /// The configuration was read again.
    pub fn reload(&self, outcome: Reload) {
        self.reloads.of(outcome).inc();
    }

    /// A recovery opened its shard's timer.
    pub fn recovered(&self, took: Duration) {
        self.families.recovery_duration.observe(took.as_secs_f64());
    }

    /// The sweep put records back into a bucket.
    pub fn swept(&self, records: u64) {
        self.families.swept.inc_by(records);
    }

    /// A human should look at something.
    pub fn alarm(&self, kind: Alarm) {
        self.alarms.of(kind).inc();
    }

    /// A new generation of a shard; its numbers leave the page when the handle is dropped.
    pub fn shard(&self, shard: u16) -> ShardMetrics {
        self.board.shard(shard)
    }

    /// An inlet that was just assigned; its number leaves the page when the handle is dropped.
    pub fn inlet(&self, partition: u16) -> InletMetrics {
        InletMetrics::new(partition, Arc::clone(&self.inlets))
    }

    /// What each shard of this worker last said, for readiness.
    pub fn shards(&self) -> Vec<(u16, ShardState)> {
        self.board.states()
    }

    /// The metrics page in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// As the encoder's: a family without a metric.
    pub fn page(&self) -> prometheus::Result<String> {
        self.gather_shards(self.clock.wall(), self.clock.monotonic());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Sums up what the shards said. `wall` judges ages of orders, `monotonic` those of ticks.
    fn gather_shards(&self, wall: Millis, monotonic: Millis) {
        let states = self.board.states();
        self.families.shards_owned.set(gauge(states.len() as u64));
        for &phase in Phase::ALL {
            let count = states.iter().filter(|(_, s)| s.phase == phase).count();
            self.shards.of(phase).set(gauge(count as u64));
        }
        for &reason in StallReason::ALL {
            let stalled = |s: &ShardState| s.stalled == Some(reason);
            let count = states.iter().filter(|(_, s)| stalled(s)).count();
            self.stalled.of(reason).set(gauge(count as u64));
        }
        for &reason in PauseReason::ALL {
            let paused = |s: &ShardState| s.paused[reason.index()];
            let count = states.iter().filter(|(_, s)| paused(s)).count();
            self.intake_paused.of(reason).set(gauge(count as u64));
        }
        let tick_age = states
            .iter()
            .filter(|(_, s)| s.phase == Phase::Open)
            .filter_map(|(_, s)| s.ticked)
            .map(|ticked| monotonic.saturating_sub(ticked));
        self.families
            .tick_age
            .set(seconds(tick_age.max().unwrap_or(0)));
        for &log in Log::ALL {
            let lag: u64 = states.iter().map(|(_, s)| s.lag[log.index()]).sum();
            let inlets: u64 = match log {
                Log::Events => shard::locked(&self.inlets).values().sum(),
                Log::Results => 0,
            };
            self.view_lag.of(log).set(gauge(lag + inlets));
            let headroom = states.iter().filter_map(|(_, s)| s.headroom[log.index()]);
            match headroom.min() {
                Some(least) => self
                    .families
                    .retention_headroom
                    .with_label_values(&[log.text()])
                    .set(least.as_secs_f64()),
                // A 0 would raise the alarm where nothing is known. An error says «was not there».
                None => drop(
                    self.families
                        .retention_headroom
                        .remove_label_values(&[log.text()]),
                ),
            }
        }
        let unaccounted = states.iter().map(|(_, s)| s.view.unaccounted).sum();
        self.families.unaccounted.set(gauge(unaccounted));
        self.gather_types(&states, wall);
    }

    fn gather_types(&self, states: &[(u16, ShardState)], wall: Millis) {
        let types = self.types();
        let mut sums: BTreeMap<&str, TypeGauges> = BTreeMap::new();
        for (name, gauges) in states.iter().flat_map(|(_, state)| &state.view.types) {
            let label = match types.get_key_value(name) {
                Some((name, _)) => name.as_str(),
                None => OTHER,
            };
            let sum = sums.entry(label).or_default();
            sum.pending += gauges.pending;
            sum.exhausted += gauges.exhausted;
            sum.oldest_first_seen = earlier(sum.oldest_first_seen, gauges.oldest_first_seen);
            sum.overdue_since = earlier(sum.overdue_since, gauges.overdue_since);
        }
        let configured = types.iter().map(|(name, m)| (name.as_str(), m));
        for (label, metrics) in configured.chain([(OTHER, &self.other)]) {
            let sum = sums.get(label).copied().unwrap_or_default();
            let age = |since: Option<Millis>| seconds(since.map_or(0, |t| wall.saturating_sub(t)));
            metrics.pending.set(gauge(sum.pending));
            metrics.exhausted.set(gauge(sum.exhausted));
            metrics.oldest_pending_age.set(age(sum.oldest_first_seen));
            metrics.oldest_overdue_age.set(age(sum.overdue_since));
        }
    }
}

fn earlier(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    one.into_iter().chain(other).min()
}

/// Prometheus' integer gauges are signed.
fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(millis: Millis) -> f64 {
    millis as f64 / 1000.0
}

fn counters<L: Label>(family: &prometheus::IntCounterVec) -> Series<L, IntCounter> {
    Series::new(|label: L| family.with_label_values(&[label.text()]))
}

fn gauges<L: Label>(family: &prometheus::IntGaugeVec) -> Series<L, IntGauge> {
    Series::new(|label: L| family.with_label_values(&[label.text()]))
}

#[cfg(test)]
mod tests;
