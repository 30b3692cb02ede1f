//! Every metric family of the program, in one list: name, help, labels, buckets. Only
//! [`Metrics`](super::Metrics) makes it; nothing else may register a metric.

use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use super::label::Label;

/// From half a millisecond, below which nobody can tell, to a minute, from where on the age gauges
/// tell more. Dense around the goal of 20 ms.
const LATENESS_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0, 30.0, 60.0,
];

/// A question may last as long as its type's timeout; 30 s is the longest that people configure.
const QUESTION_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
];

/// A commit takes about 20 ms; 10 s is the transaction's timeout.
const COMMIT_SECONDS: &[f64] = &[
    0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
];

/// A recovery takes a second where the old owner is gone, and minutes where a view is rebuilt.
const RECOVERY_SECONDS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 300.0, 900.0,
];

/// All families.
#[derive(Debug)]
pub(super) struct Families {
    pub pending: IntGaugeVec,
    pub oldest_pending_age: GaugeVec,
    pub oldest_overdue_age: GaugeVec,
    pub exhausted: IntGaugeVec,
    pub paused: IntGaugeVec,
    pub questions: IntCounterVec,
    pub question_duration: HistogramVec,
    pub lateness: HistogramVec,
    pub callers: IntCounterVec,
    pub caller_wait: HistogramVec,
    pub flights: IntGaugeVec,
    pub breaker: IntGaugeVec,
    pub callers_refused: IntCounterVec,
    pub events: IntCounterVec,
    pub results: IntCounterVec,
    pub dead_letters: IntCounterVec,
    pub commit_duration: Histogram,
    pub recoveries: IntCounterVec,
    pub reloads: IntCounterVec,
    pub recovery_duration: Histogram,
    pub shards: IntGaugeVec,
    pub shards_owned: IntGauge,
    pub tick_age: Gauge,
    pub intake_paused: IntGaugeVec,
    pub stalled_shards: IntGaugeVec,
    pub view_lag: IntGaugeVec,
    pub unaccounted: IntGauge,
    pub retention_headroom: GaugeVec,
    pub swept: IntCounter,
    pub alarms: IntCounterVec,
    pub open_alarms: IntGaugeVec,
    pub build_info: IntGaugeVec,
}

impl Families {
    /// Makes and registers all of them.
    ///
    /// # Errors
    /// Two families with one name, or a name that Prometheus does not take.
    #[expect(
        clippy::too_many_lines,
        reason = "one list; splitting it would hide what exists"
    )]
    pub fn register(to: &Registry) -> prometheus::Result<Self> {
        let make = Make(to);
        let types = &["type"];
        Ok(Self {
            pending: make.gauges(
                "pending_orders",
                types,
                "Orders that wait for a terminal status, in the shards of this worker.",
            )?,
            oldest_pending_age: make.seconds(
                "oldest_pending_age_seconds",
                types,
                "Time since the first event of the oldest pending order; 0 with none.",
            )?,
            oldest_overdue_age: make.seconds(
                "oldest_overdue_age_seconds",
                types,
                "Time since the oldest due order should have been asked; 0 with none.",
            )?,
            exhausted: make.gauges(
                "exhausted_orders",
                types,
                "Orders whose schedule ended without a terminal answer; a human must look.",
            )?,
            paused: make.gauges(
                "type_paused",
                types,
                "1 while an operator has paused the type: its orders are kept and nobody is asked.",
            )?,
            questions: make.counters(
                "questions_total",
                &["type", "answer"],
                "Questions to owners by what came of them.",
            )?,
            question_duration: make.histograms(
                "question_duration_seconds",
                QUESTION_SECONDS,
                "Duration of one question, connect to last byte.",
            )?,
            lateness: make.histograms(
                "lateness_seconds",
                LATENESS_SECONDS,
                "Time from an order's due millisecond to its question.",
            )?,
            callers: make.counters(
                "callers_total",
                &["type", "outcome"],
                "Orders that callers of the API asked for, by what they were told.",
            )?,
            caller_wait: make.histograms(
                "caller_wait_seconds",
                QUESTION_SECONDS,
                "Time from a caller's request for an order to its answer.",
            )?,
            flights: make.gauges(
                "caller_questions_open",
                types,
                "Questions of API callers under way, one an order however many wait for it.",
            )?,
            breaker: make.gauges(
                "breaker_state",
                types,
                "Whether the type's owner answers: 0 it does, 1 it does again and the ceiling is on its way back, 2 it does not and is asked once a second.",
            )?,
            callers_refused: make.counters(
                "callers_refused_total",
                &["type", "reason"],
                "Questions of API callers that were not put to the owner.",
            )?,
            events: make.counters(
                "events_total",
                &["outcome"],
                "Records of order-events by what became of them; what is read again counts again.",
            )?,
            results: make.counters(
                "results_total",
                &["outcome", "status"],
                "Results folded into the view, each by one worker; what a rebuild reads again is not counted.",
            )?,
            dead_letters: make.counters(
                "dead_letters_total",
                &["reason"],
                "Dead letters that the broker acknowledged; after a crash an event may be kept twice.",
            )?,
            commit_duration: make.histogram(
                "commit_duration_seconds",
                COMMIT_SECONDS,
                "Duration of one transaction of order-results, begin to commit.",
            )?,
            recoveries: make.counters(
                "recoveries_total",
                &["cause"],
                "Recoveries of a shard that were begun.",
            )?,
            reloads: make.counters(
                "reloads_total",
                &["outcome"],
                "Times that the configuration was read again; refused: the old one stays.",
            )?,
            recovery_duration: make.histogram(
                "recovery_duration_seconds",
                RECOVERY_SECONDS,
                "Time from the begin of a recovery to the opening of the timer.",
            )?,
            shards: make.gauges(
                "shards",
                &["phase"],
                "Shards of this worker by what they are doing.",
            )?,
            shards_owned: make.count(
                "shards_owned",
                "Shards that Kafka has given to this worker.",
            )?,
            tick_age: make.time(
                "tick_age_seconds",
                "Time since the last tick of the slowest open shard; 0 with none.",
            )?,
            intake_paused: make.gauges(
                "intake_paused",
                &["reason"],
                "Shards that do not read order-events for this reason.",
            )?,
            stalled_shards: make.gauges(
                "stalled_shards",
                &["reason"],
                "Shards that stand still until somebody mends something.",
            )?,
            view_lag: make.gauges(
                "view_lag_records",
                &["log"],
                "Records between a log's end and the position of view or inlet, all of this worker.",
            )?,
            unaccounted: make.count(
                "unaccounted_orders",
                "Orders that a view has lost, by its own counts; it is given up and folded anew.",
            )?,
            retention_headroom: make.seconds(
                "retention_headroom_seconds",
                &["log"],
                "Time until retention removes a record that a shard still needs; the least.",
            )?,
            swept: make.counter(
                "swept_records_total",
                "Records that had lost their bucket entry; not 0 means that keys were lost.",
            )?,
            alarms: make.counters("alarms_total", &["kind"], "Alarms raised for a human.")?,
            open_alarms: make.gauges(
                "open_alarms",
                &["type", "kind"],
                "1 while an alarm of this kind goes on; until it was silent for a minute.",
            )?,
            build_info: make.gauges(
                "build_info",
                &["version"],
                "Always 1; the version as a label.",
            )?,
        })
    }
}

/// One metric per value of a closed label set, found by index.
#[derive(Debug)]
pub(super) struct Series<L, M> {
    metrics: Vec<M>,
    label: PhantomData<L>,
}

impl<L: Label, M> Series<L, M> {
    pub fn new(metric: impl FnMut(L) -> M) -> Self {
        Self {
            metrics: L::ALL.iter().copied().map(metric).collect(),
            label: PhantomData,
        }
    }

    pub fn of(&self, label: L) -> &M {
        &self.metrics[label.index()]
    }
}

/// Makes metrics and registers them; a name is given without its prefix `settled_`.
struct Make<'a>(&'a Registry);

impl Make<'_> {
    fn keep<C: Collector + Clone + 'static>(&self, made: C) -> prometheus::Result<C> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.keep(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(
        &self,
        name: &str,
        labels: &[&str],
        help: &str,
    ) -> prometheus::Result<IntCounterVec> {
        self.keep(IntCounterVec::new(opts(name, help), labels)?)
    }

    fn count(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.keep(IntGauge::with_opts(opts(name, help))?)
    }

    fn gauges(&self, name: &str, labels: &[&str], help: &str) -> prometheus::Result<IntGaugeVec> {
        self.keep(IntGaugeVec::new(opts(name, help), labels)?)
    }

    fn time(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        self.keep(Gauge::with_opts(opts(name, help))?)
    }

    fn seconds(&self, name: &str, labels: &[&str], help: &str) -> prometheus::Result<GaugeVec> {
        self.keep(GaugeVec::new(opts(name, help), labels)?)
    }

    fn histogram(&self, name: &str, buckets: &[f64], help: &str) -> prometheus::Result<Histogram> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(opts)?)
    }

    fn histograms(
        &self,
        name: &str,
        buckets: &[f64],
        help: &str,
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        self.keep(HistogramVec::new(opts, &["type"])?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("settled")
}
