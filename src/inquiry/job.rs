//! What waits for its turn at an owner: a shard's question, or a person's who called the API. Every
//! job is answered exactly once, asked or not.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::template::Subject;
use super::{Answered, Asker, Question};
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::order::{Millis, OrderKey};
use crate::plant::{self, Plant};

/// What a person gets who asked for one order.
pub struct AnswerNow {
    /// What came of it.
    pub answer: Answer,
    /// The `data` of a well-formed answer, as the owner wrote it: for the caller only, never kept
    /// and never logged.
    pub data: Option<Box<RawValue>>,
    /// From the start of the question to its end; zero when it never started.
    pub took: Duration,
}

/// One question waiting for its turn.
#[derive(Debug)]
pub(super) enum Job {
    /// A claimed order's attempt.
    Claimed(Question),
    /// A person's question.
    Now(QuestionNow),
}

/// A question of the API: nobody's attempt, no claim.
#[derive(Debug)]
pub(super) struct QuestionNow {
    pub(super) key: OrderKey,
    pub(super) query: Option<Box<str>>,
    pub(super) traceparent: Option<Box<str>>,
    /// Monotonic milliseconds at which the caller gives up.
    pub(super) until: Millis,
    pub(super) caller: oneshot::Sender<AnswerNow>,
}

impl Job {
    /// Monotonic milliseconds from which it must not start any more.
    pub(super) fn start_before(&self) -> Millis {
        match self {
            Self::Claimed(question) => question.start_before,
            Self::Now(question) => question.until,
        }
    }

    /// Whether anybody still wants it, at `now`.
    pub(super) fn may_start(&self, now: Millis) -> bool {
        let wanted = match self {
            Self::Claimed(question) => {
                question.asker.standing.stands() || plant::is(Plant::AskedUnowned)
            }
            Self::Now(question) => !question.caller.is_closed(),
        };
        wanted && now < self.start_before()
    }

    /// What the request says, with the deadline that this job has at `now`.
    pub(super) fn subject(&self, timeout: Duration, now: Millis) -> Subject<'_> {
        let timeout = timeout.as_millis() as Millis;
        match self {
            Self::Claimed(question) => Subject {
                req_no: &question.key.req_no,
                query: question.query.as_deref(),
                traceparent: question.traceparent.as_deref(),
                attempt: question.attempt,
                deadline_ms: timeout,
            },
            Self::Now(question) => Subject {
                req_no: &question.key.req_no,
                query: question.query.as_deref(),
                traceparent: question.traceparent.as_deref(),
                attempt: 0,
                deadline_ms: timeout.min(question.until.saturating_sub(now)),
            },
        }
    }

    /// A question that was asked, as a line of the target `settled::question`, at debug: what
    /// `settled order show --log` reads. Attempt 0 is a person's.
    pub(super) fn log(&self, answer: &Answer, took: Duration) {
        let (key, attempt, traceparent) = match self {
            Self::Claimed(question) => (&question.key, question.attempt, &question.traceparent),
            Self::Now(question) => (&question.key, 0, &question.traceparent),
        };
        tracing::debug!(
            target: "settled::question",
            order = %key,
            attempt,
            answer = answer.label(),
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            traceparent = traceparent.as_deref(),
            "an owner was asked"
        );
    }

    /// Hands back an answer that the owner did not give.
    pub(super) fn refuse(self, answer: Answer) {
        self.answer(answer, |_| None, None, Duration::ZERO);
    }

    /// Hands back what came of it; `data` is looked for where somebody wants it.
    pub(super) fn answer(
        self,
        answer: Answer,
        data: impl FnOnce(&Answer) -> Option<Box<RawValue>>,
        started: Option<Millis>,
        took: Duration,
    ) {
        match self {
            Self::Claimed(question) => question.asker.answer(answer, started, took),
            Self::Now(question) => {
                let data = data(&answer);
                let answer = AnswerNow { answer, data, took };
                if question.caller.send(answer).is_err() {
                    tracing::debug!("the caller did not wait for its answer");
                }
            }
        }
    }
}

impl Asker {
    fn answer(self, answer: Answer, started: Option<Millis>, took: Duration) {
        let answered = Answered {
            ticket: self.ticket,
            answer,
            started,
            took,
        };
        if let Err(error) = self.answers.try_send(answered) {
            tracing::debug!(%error, "an answer is dropped; the order comes due again");
        }
    }
}

/// An answer for an order that could not be asked about because it was not its turn in time.
pub(super) fn not_started() -> Answer {
    refused(CouldNotAsk::NotStarted)
}

/// An answer for an order that nobody was asked about.
pub(super) fn refused(why: CouldNotAsk) -> Answer {
    Answer::CouldNotAsk {
        why,
        retry_after: None,
    }
}

impl std::fmt::Debug for AnswerNow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerNow")
            .field("answer", &self.answer)
            .field("took", &self.took)
            .finish_non_exhaustive()
    }
}
