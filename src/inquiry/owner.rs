//! One order type's owner as the engine sees it: template, client, pause and condition. Takes a job
//! whose turn has come, asks once and hands the answer back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::condition::Condition;
use super::http::Http;
use super::job::{Job, not_started};
use super::pause::{Noted, Pause};
use super::tally::{Tally, Weighed};
use super::template::Template;
use crate::clock::Clock;
use crate::domain::answer::{Answer, Contract, CouldNotAsk, judge};
use crate::domain::order::{Millis, ReqNo, TypeName};
use crate::fault;
use crate::metrics::label::Alarm;
use crate::metrics::{Metrics, TypeMetrics};
use crate::store::ceiling::{Breaker, Slots};

/// What is said of an owner, and not of one of its orders.
const OF_AN_OWNER: [Alarm; 4] = [
    Alarm::BreakerOpen,
    Alarm::OwnerRefuses,
    Alarm::OwnerSaidLater,
    Alarm::ManyFailing,
];

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
    pub(super) tally: Tally,
    pub(super) metrics: Arc<Metrics>,
    pub(super) type_metrics: Arc<TypeMetrics>,
    pub(super) clock: Clock,
    /// The type was taken out of the configuration.
    pub(super) gone: AtomicBool,
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
        match self.pause.note(answer, now) {
            Noted::Unchanged => {}
            Noted::OwnerSaidLater(wait) => self.alarm(Alarm::OwnerSaidLater, 0, now, now + wait),
            Noted::Misconfigured(wait) => self.alarm(Alarm::OwnerRefuses, 0, now, now + wait),
        }
        let failed = !answer.is_attempt();
        if failed {
            self.type_metrics.alarm_again(&OF_AN_OWNER, now);
        } else if self.pause.held(now).is_none() {
            // What was in flight when the pause began says nothing of its end.
            self.type_metrics.alarm_over(Alarm::OwnerRefuses, now);
            self.type_metrics.alarm_over(Alarm::OwnerSaidLater, now);
        }
        match self.tally.asked(failed, now) {
            None => {}
            Some(Weighed::Answering) => self.type_metrics.alarm_over(Alarm::ManyFailing, now),
            // The louder one says it.
            Some(Weighed::Failing(_)) if self.type_metrics.is_alarmed(Alarm::BreakerOpen) => {}
            Some(Weighed::Failing(count)) => self.alarm(Alarm::ManyFailing, count, now, now),
        }
    }

    /// Takes note of what the store said of the whole cluster.
    pub(super) fn told(&self, slots: &Slots, now_us: u64) {
        let now = now_us / 1000;
        if slots.held_us > 0 {
            self.pause.hold(now, slots.held_us / 1000);
        }
        match self.condition.told(slots, now_us) {
            (_, Breaker::Closed) => self.type_metrics.alarm_over(Alarm::BreakerOpen, now),
            (_, Breaker::Open) => {
                self.alarm(Alarm::BreakerOpen, 0, now, Millis::MAX);
                self.type_metrics.alarm_over(Alarm::ManyFailing, now);
            }
            (_, Breaker::Closing { .. }) => {}
        }
        self.type_metrics.breaker(slots.known.breaker);
    }

    /// The type is not configured any more; its dispatcher ends next.
    pub(super) fn let_go(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Its dispatcher has ended: of a type that is gone, nobody will say how its owner does. Another
    /// lane of the same type goes on with what stands here.
    pub(super) fn retire(&self) {
        if !self.gone.load(Ordering::SeqCst) {
            return;
        }
        self.type_metrics.breaker(Breaker::Closed);
        let now = self.clock.monotonic();
        for kind in OF_AN_OWNER {
            self.type_metrics.alarm_over(kind, now);
        }
    }

    fn alarm(&self, kind: Alarm, count: u64, now: Millis, until: Millis) {
        if self.type_metrics.alarm_open(kind, count, now, until) {
            self.metrics.alarm(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::config::OrderTypeConfig;
    use crate::inquiry::{Around, Engine};
    use crate::metrics::Stage;
    use crate::store::ceiling::Known;

    const UP: Answer = Answer::InProgress;
    const DOWN: Answer = Answer::CouldNotAsk {
        why: CouldNotAsk::TimedOut,
        retry_after: None,
    };
    const WINDOW: Millis = 30_000;

    fn owner() -> Arc<Owner> {
        let name = TypeName::new("transfer").unwrap();
        let clock = Clock::start();
        let around = Around {
            clock,
            metrics: Metrics::new(clock, [&name]).unwrap(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let config = OrderTypeConfig::new("http://127.0.0.1:9/".to_owned());
        let (_, made) = Engine::build(&BTreeMap::from([(name, config)]), &around).unwrap();
        Arc::clone(&made[0].0.owner)
    }

    fn note(owner: &Owner, answer: &Answer, now: Millis) {
        owner.note(answer, now * 1000, now * 1000);
    }

    fn told(owner: &Owner, breaker: Breaker, now: Millis) {
        let known = Known {
            born_us: 1,
            at_us: now * 1000,
            breaker,
        };
        let slots = Slots {
            first_in_us: 0,
            counts: [0; 3],
            spacing_us: 1_000_000,
            held_us: 0,
            known,
        };
        owner.told(&slots, now * 1000);
    }

    /// Kind, whether it is over, and the count or the total.
    fn lines(owner: &Owner, now: Millis) -> Vec<(Alarm, bool, u64)> {
        let lines = owner.metrics.alarm_lines(Some(now)).into_iter();
        let told = lines.map(|(order_type, line)| {
            assert_eq!(order_type, "transfer");
            match line.stage {
                Stage::Over { total, .. } => (line.kind, true, total),
                Stage::Began | Stage::GoesOn => (line.kind, false, line.count),
            }
        });
        told.collect()
    }

    #[test]
    fn many_failing_is_one_alarm_until_fewer_do() {
        let owner = owner();
        for n in 0..40 {
            note(&owner, if n % 2 == 0 { &DOWN } else { &UP }, 1);
        }
        assert_eq!(lines(&owner, 2), []);
        note(&owner, &DOWN, WINDOW);
        assert_eq!(lines(&owner, WINDOW), [(Alarm::ManyFailing, false, 21)]);
        for now in WINDOW + 1..WINDOW + 41 {
            note(&owner, &DOWN, now);
        }
        assert_eq!(lines(&owner, WINDOW * 2 - 1), []);
        note(&owner, &DOWN, WINDOW * 2);
        for _ in 0..40 {
            note(&owner, &UP, WINDOW * 3 - 1);
        }
        note(&owner, &UP, WINDOW * 3);
        assert_eq!(lines(&owner, WINDOW * 3), [(Alarm::ManyFailing, true, 62)]);
    }

    #[test]
    fn what_an_open_breaker_says_is_not_said_twice() {
        let owner = owner();
        for now in 1..=40 {
            note(&owner, &DOWN, now);
        }
        note(&owner, &DOWN, WINDOW);
        told(&owner, Breaker::Open, WINDOW + 1);
        let begun = [
            (Alarm::BreakerOpen, false, 0),
            (Alarm::ManyFailing, false, 41),
            (Alarm::ManyFailing, true, 41),
        ];
        assert_eq!(lines(&owner, WINDOW + 2), begun);
        for now in WINDOW + 2..WINDOW + 40 {
            note(&owner, &DOWN, now);
        }
        note(&owner, &DOWN, WINDOW * 2);
        told(&owner, Breaker::Closing { for_us: 1 }, WINDOW * 2 + 1);
        let still = (Alarm::BreakerOpen, false, 39);
        assert_eq!(lines(&owner, WINDOW * 4), [still], "and no many_failing");
        told(&owner, Breaker::Closed, WINDOW * 4 + 1);
        let over = (Alarm::BreakerOpen, true, 39);
        assert_eq!(lines(&owner, WINDOW * 4 + 2), [over]);
    }

    #[test]
    fn an_owner_that_is_not_asked_any_more_leaves_no_alarm_open() {
        let owner = owner();
        told(&owner, Breaker::Open, 0);
        assert_eq!(lines(&owner, 1), [(Alarm::BreakerOpen, false, 0)]);
        assert_eq!(
            lines(&owner, WINDOW * 100),
            [],
            "nobody said that it is over"
        );
        owner.retire();
        assert_eq!(lines(&owner, WINDOW * 100), [], "another lane goes on");
        owner.let_go();
        owner.retire();
        let breaker = |line: &&str| line.starts_with("settled_breaker_state{");
        let page = owner.metrics.page().unwrap();
        let breaker = page.lines().find(breaker).unwrap();
        assert!(breaker.ends_with(" 0"), "{breaker}");
        assert_eq!(lines(&owner, WINDOW * 100), [(Alarm::BreakerOpen, true, 0)]);
    }
}
