//! One question for any number of callers: asked within the type's ceiling, its terminal answer
//! appended to `order-events` before anybody hears that it is final.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::answer::Recorded;
use super::flight::{Landed, Progress};
use super::orders::Orders;
use super::ports::{AppendError, AppendEvent, AskNow, Said};
use super::terms::{AGE_MAX_MS, FRESH};
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::event::{Author, Body, Event, TerminalEvent};
use crate::domain::order::{Millis, OrderKey};
use crate::fault;
use crate::kafka::At;

/// After this the broker counts as down; librdkafka itself would try for minutes.
pub(super) const APPEND_WAIT: Duration = Duration::from_secs(10);

/// What the engine may take beyond its deadline to say that there was no answer.
const ASK_SLACK: Duration = Duration::from_millis(500);

/// Who says the terminal events that callers' questions brought.
const SOURCE: &str = "api";

/// What came of a question.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub said: Arc<Said>,
    pub recorded: Recorded,
    pub at: Millis,
}

impl Told {
    /// Whether a caller who takes answers younger than `max_age` may be told it again. What was called final
    /// stays so, or a second question might take it back.
    pub fn is_good(&self, age: Duration, max_age: Duration) -> bool {
        self.recorded == Recorded::Appended || age < max_age
    }

    /// Whether the owner was not reached, or not asked.
    pub fn is_no_answer(&self) -> bool {
        !self.said.answer.is_attempt()
    }

    fn landed(self) -> Landed<Self> {
        let failed = self.is_no_answer() || self.recorded == Recorded::NotAcknowledged;
        let keep = if self.is_no_answer() && self.said.took.is_zero() {
            // It cost the owner nothing, and the next caller may find a place.
            Duration::ZERO
        } else if failed {
            // Long enough that a crowd does not try one after the other.
            FRESH
        } else {
            Duration::from_millis(AGE_MAX_MS)
        };
        let data = self.said.data.as_ref().map_or(0, |data| data.get().len());
        Landed {
            value: self,
            keep,
            bytes: data,
        }
    }
}

impl Orders {
    /// One question, and its terminal answer into the log before anyone hears that it is final. An
    /// order that nobody `known` spoke of is answered, not published.
    pub(super) async fn tell(
        &self,
        question: AskNow,
        known: bool,
        progress: Progress<Told>,
    ) -> Landed<Told> {
        let (key, traceparent) = (question.key.clone(), question.traceparent.clone());
        let wait = question.deadline + ASK_SLACK;
        let said = timeout(wait, (self.ports.ask_now)(question)).await;
        let said = said.unwrap_or(Said {
            answer: Answer::CouldNotAsk {
                why: CouldNotAsk::TimedOut,
                retry_after: None,
            },
            data: None,
            took: wait,
        });
        let at = self.clock.wall();
        let mut told = Told {
            said: Arc::new(said),
            recorded: Recorded::NotTerminal,
            at,
        };
        if let Some(value) = terminal_event(&key, &told.said.answer, at) {
            told.recorded = if known {
                told.recorded = Recorded::UnderWay;
                progress.say(told.clone());
                fault::shortly("api-answered-event-not-acknowledged");
                match self.append(key, value, traceparent).await {
                    Ok(_) => Recorded::Appended,
                    Err(error) => {
                        tracing::warn!(%error, "a terminal answer was not recorded");
                        Recorded::NotAcknowledged
                    }
                }
            } else {
                Recorded::NotKnown
            };
        }
        told.landed()
    }

    /// Appends an event to its order's own partition.
    pub(super) async fn append(
        &self,
        key: OrderKey,
        value: Vec<u8>,
        traceparent: Option<Box<str>>,
    ) -> Result<At, AppendError> {
        let event = AppendEvent {
            shard: key.shard(self.shards),
            key,
            value,
            traceparent,
        };
        timeout(APPEND_WAIT, (self.ports.append_event)(event))
            .await
            .unwrap_or_else(|_| Err(AppendError(format!("not within {APPEND_WAIT:?}"))))
    }
}

/// The event that a terminal answer is published as; `None` for the other answers.
fn terminal_event(key: &OrderKey, answer: &Answer, at: Millis) -> Option<Vec<u8>> {
    let Answer::Terminal {
        status,
        rsp_no,
        ret_cd,
        ret_msg,
    } = answer
    else {
        return None;
    };
    let event = Event {
        key: key.clone(),
        at,
        body: Body::Terminal(Box::new(TerminalEvent {
            status: *status,
            source: SOURCE.to_owned(),
            rsp_no: rsp_no.clone(),
            ret_cd: ret_cd.clone(),
            ret_msg: ret_msg.clone(),
        })),
    };
    Some(event.encode(Author::System(SOURCE)))
}
