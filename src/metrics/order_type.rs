//! The metrics of one order type, resolved once so that an observation costs no label look-up.

use std::fmt::Display;
use std::time::Duration;

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::alarms::OpenAlarms;
use super::family::{Families, Series};
use super::label::{Alarm, Asked, CallerOutcome, CallerRefused, Label};
use crate::domain::order::Millis;
use crate::store::ceiling::Breaker;

/// The metrics of one order type; got once from [`Metrics::order_type`](super::Metrics::order_type).
#[derive(Debug)]
pub struct TypeMetrics {
    questions: Series<Asked, IntCounter>,
    question_duration: Histogram,
    lateness: Histogram,
    callers: Series<CallerOutcome, IntCounter>,
    caller_wait: Histogram,
    flights: IntGauge,
    breaker: IntGauge,
    callers_refused: Series<CallerRefused, IntCounter>,
    pub(super) alarms: OpenAlarms,
    pub(super) pending: IntGauge,
    pub(super) exhausted: IntGauge,
    pub(super) paused: IntGauge,
    pub(super) oldest_pending_age: Gauge,
    pub(super) oldest_overdue_age: Gauge,
}

impl TypeMetrics {
    pub(super) fn new(families: &Families, name: &str) -> Self {
        let one = [name];
        Self {
            questions: Series::new(|answer: Asked| {
                families.questions.with_label_values(&[name, answer.text()])
            }),
            question_duration: families.question_duration.with_label_values(&one),
            lateness: families.lateness.with_label_values(&one),
            callers: Series::new(|outcome: CallerOutcome| {
                families.callers.with_label_values(&[name, outcome.text()])
            }),
            caller_wait: families.caller_wait.with_label_values(&one),
            flights: families.flights.with_label_values(&one),
            breaker: families.breaker.with_label_values(&one),
            callers_refused: Series::new(|reason: CallerRefused| {
                families
                    .callers_refused
                    .with_label_values(&[name, reason.text()])
            }),
            alarms: OpenAlarms::new(|kind| {
                families.open_alarms.with_label_values(&[name, kind.text()])
            }),
            pending: families.pending.with_label_values(&one),
            exhausted: families.exhausted.with_label_values(&one),
            paused: families.paused.with_label_values(&one),
            oldest_pending_age: families.oldest_pending_age.with_label_values(&one),
            oldest_overdue_age: families.oldest_overdue_age.with_label_values(&one),
        }
    }

    /// A question came to its end after `took`. One that never started is counted without a duration.
    pub fn question(&self, answer: Asked, took: Option<Duration>) {
        self.questions.of(answer).inc();
        if let Some(took) = took {
            self.question_duration.observe(took.as_secs_f64());
        }
    }

    /// A caller of the API has its answer after `took`, or has left.
    pub fn caller(&self, outcome: CallerOutcome, took: Duration) {
        self.callers.of(outcome).inc();
        if outcome != CallerOutcome::Left {
            self.caller_wait.observe(took.as_secs_f64());
        }
    }

    /// More or fewer questions of callers are under way.
    pub fn flights(&self, more: i64) {
        self.flights.add(more);
    }

    /// A question of the timer started this long after its order was due.
    pub fn lateness(&self, late: Duration) {
        self.lateness.observe(late.as_secs_f64());
    }

    /// How the type's owner stands, as last told.
    pub fn breaker(&self, breaker: Breaker) {
        self.breaker.set(match breaker {
            Breaker::Closed => 0,
            Breaker::Closing { .. } => 1,
            Breaker::Open => 2,
        });
    }

    /// A caller of the API was told at once that its question cannot be put.
    pub fn caller_refused(&self, reason: CallerRefused) {
        self.callers_refused.of(reason).inc();
    }

    /// One more alarm of this kind, for the log and its gauge; it goes on until none came for a minute.
    pub fn alarm(&self, kind: Alarm, example: &dyn Display, now: Millis) {
        self.alarms.add(kind, example, now);
    }

    /// An alarm with `count` so far that goes on until [`TypeMetrics::alarm_over`], or until none came
    /// for a minute after `until`. Whether it begins with this; else only `until` is taken note of.
    pub fn alarm_open(&self, kind: Alarm, count: u64, now: Millis, until: Millis) -> bool {
        self.alarms.open(kind, count, now, until)
    }

    /// One more of each of these kinds that goes on.
    pub fn alarm_again(&self, kinds: &[Alarm], now: Millis) {
        self.alarms.add_to_open(kinds, now);
    }

    /// It is over, if it went on.
    pub fn alarm_over(&self, kind: Alarm, now: Millis) {
        self.alarms.end(kind, now);
    }

    /// Whether it goes on.
    pub fn is_alarmed(&self, kind: Alarm) -> bool {
        self.alarms.is_open(kind)
    }
}
