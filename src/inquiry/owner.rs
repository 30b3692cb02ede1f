//! One order type's owner as the engine sees it: template, client and pause. Takes a job whose turn
//! has come, asks once and hands the answer back.

use std::time::Duration;

use super::http::Http;
use super::job::{Job, not_started};
use super::pause::{Noted, Pause};
use super::template::Template;
use crate::clock::Clock;
use crate::domain::answer::{Answer, Contract, CouldNotAsk, judge};
use crate::domain::order::{ReqNo, TypeName};
use crate::fault;

/// The owner of one order type.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) order_type: TypeName,
    pub(super) template: Template,
    pub(super) http: Http,
    pub(super) timeout: Duration,
    pub(super) contract: Contract,
    pub(super) pause: Pause,
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
        self.note(&answer, end_us / 1000);
        fault::point("answered-not-handed-on");
        let took = Duration::from_micros(end_us - start_us);
        job.log(&answer, took);
        let data = |answer: &Answer| self.contract.data(answer, outcome.body());
        job.answer(answer, data, Some(now), took);
    }

    fn note(&self, answer: &Answer, now: u64) {
        match self.pause.note(answer, now) {
            Noted::Unchanged => {}
            Noted::OwnerSaidLater(wait) => tracing::warn!(
                order.type = %self.order_type,
                wait_ms = wait,
                "the owner asked to be left alone for a while"
            ),
            Noted::Misconfigured(wait) => tracing::error!(
                order.type = %self.order_type,
                wait_ms = wait,
                "the owner refuses every question with 4xx or a redirect: check `query` of this \
                 order type; its orders are kept"
            ),
        }
    }
}
