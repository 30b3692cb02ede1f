//! One order type's owner as the engine sees it: template, client, pause and condition. Takes a job
//! whose turn has come, asks once and hands the answer back.

use std::sync::Arc;
use std::time::Duration;

use super::condition::Condition;
use super::http::Http;
use super::job::{Job, not_started};
use super::pause::{Noted, Pause};
use super::template::Template;
use super::trouble::{Tale, Trouble, Troubles};
use crate::clock::Clock;
use crate::domain::answer::{Answer, Contract, CouldNotAsk, judge};
use crate::domain::order::{ReqNo, TypeName};
use crate::fault;
use crate::metrics::label::Alarm;
use crate::metrics::{Metrics, TypeMetrics};
use crate::store::ceiling::{Breaker, Slots};

/// The owner of one order type.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) order_type: TypeName,
    pub(super) template: Template,
    pub(super) http: Http,
    pub(super) timeout: Duration,
    pub(super) contract: Contract,
    pub(super) pause: Pause,
    pub(super) condition: Condition,
    pub(super) troubles: Troubles,
    pub(super) metrics: Arc<Metrics>,
    pub(super) type_metrics: Arc<TypeMetrics>,
    pub(super) clock: Clock,
}

impl Owner {
    /// Asks, unless the asker has lost its order since the job was picked, and hands the answer
    /// back. Cancelling drops the job: a claimed order comes due again at its lease end.
    pub(super) async fn ask(&self, job: Job) {
        let start_us = self.clock.monotonic_us();
        let now = start_us / 1000;
        if !job.may_start(now) {
            return job.refuse(not_started());
        }
        let subject = job.subject(self.timeout, now);
        let request = match self.template.render(&subject) {
            Ok(request) => request,
            Err(error) => {
                // This order's fault, not the type's: the pause is not told.
                tracing::debug!(order.type = %self.order_type, %error, "an order cannot be asked about");
                return job.refuse(Answer::CouldNotAsk {
                    why: CouldNotAsk::Configuration,
                    retry_after: None,
                });
            }
        };
        let req_no: ReqNo = *subject.req_no;
        let deadline = Duration::from_millis(subject.deadline_ms);
        fault::shortly("asked");
        let outcome = self.http.send(request, deadline).await;
        let answer = judge(&outcome.reply(), &req_no, &self.contract);
        let end_us = self.clock.monotonic_us();
        self.note(&answer, start_us, end_us);
        fault::point("answered-not-handed-on");
        let took = Duration::from_micros(end_us - start_us);
        job.log(&answer, took);
        let data = |answer: &Answer| self.contract.data(answer, outcome.body());
        job.answer(answer, data, Some(now), took);
    }

    /// Takes note of an answer to a question that started at `start_us`.
    pub(super) fn note(&self, answer: &Answer, start_us: u64, end_us: u64) {
        let now = end_us / 1000;
        self.condition.note(answer, start_us, end_us);
        let begins = match self.pause.note(answer, now) {
            Noted::Unchanged => None,
            Noted::OwnerSaidLater(_) => Some(Trouble::Later),
            Noted::Misconfigured(_) => Some(Trouble::Refusals),
        };
        let tales = [
            begins.and_then(|trouble| self.troubles.began(trouble, now)),
            self.troubles.asked(!answer.is_attempt(), now),
        ];
        let over = if answer.is_attempt() {
            [Trouble::Refusals, Trouble::Later].map(|trouble| self.troubles.ended(trouble, now))
        } else {
            [None, None]
        };
        for tale in tales.into_iter().chain(over).flatten() {
            self.tell(tale);
        }
    }

    /// Takes note of what the store said of the whole cluster.
    pub(super) fn told(&self, slots: &Slots, now_us: u64) {
        let now = now_us / 1000;
        if slots.held_us > 0 {
            self.pause.hold(now, slots.held_us / 1000);
        }
        let tale = match self.condition.told(slots, now_us) {
            (_, Breaker::Closed) => self.troubles.ended(Trouble::Breaker, now),
            (_, Breaker::Open) => self.troubles.began(Trouble::Breaker, now),
            (_, Breaker::Closing { .. }) => None,
        };
        self.type_metrics.breaker(slots.known.breaker);
        if let Some(tale) = tale {
            self.tell(tale);
        }
    }

    fn tell(&self, tale: Tale) {
        let order_type = &self.order_type;
        match tale {
            Tale::Began(trouble) => {
                match trouble {
                    Trouble::Breaker => tracing::error!(
                        order.type = %order_type,
                        "20 questions in a row got no answer: the owner is asked once a second until \
                         it answers; its orders are kept"
                    ),
                    Trouble::Refusals => tracing::error!(
                        order.type = %order_type,
                        "the owner refuses every question with 4xx or a redirect: check `query` of \
                         this order type; it rests 30 s at a time, its orders are kept"
                    ),
                    Trouble::Failing => tracing::warn!(
                        order.type = %order_type,
                        "half of the questions or more get no answer; no attempt is spent by that"
                    ),
                    Trouble::Later => tracing::warn!(
                        order.type = %order_type,
                        "the owner asked to be left alone for a while"
                    ),
                }
                if let Some(kind) = alarm(trouble) {
                    self.metrics.alarm(kind);
                }
            }
            Tale::Ended {
                trouble,
                count,
                lasted,
            } => tracing::info!(
                order.type = %order_type,
                count,
                lasted_ms = lasted,
                "it has ended, {count} in all: {}",
                match trouble {
                    Trouble::Breaker => "questions in a row without an answer",
                    Trouble::Refusals => "questions that the owner refused",
                    Trouble::Failing => "questions without an answer among others",
                    Trouble::Later => "questions while the owner wanted to be left alone",
                }
            ),
        }
    }
}

/// An owner that asks for patience needs nobody.
fn alarm(trouble: Trouble) -> Option<Alarm> {
    match trouble {
        Trouble::Breaker => Some(Alarm::BreakerOpen),
        Trouble::Refusals => Some(Alarm::OwnerRefuses),
        Trouble::Failing => Some(Alarm::ManyFailing),
        Trouble::Later => None,
    }
}
