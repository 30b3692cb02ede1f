//! What a command does to one order, judged by what the view says of it at this moment, and the event
//! that it becomes. The judgement spares people mistakes; what protects the order is its shard, which
//! judges the event again.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Clerk;
use super::strict::Who;
use crate::api::events::not_acknowledged;
use crate::api::refusal::Refusal;
use crate::domain::event::{Author, Body, Event, TerminalEvent, decode};
use crate::domain::order::OrderKey;
use crate::domain::status::{Status, Terminal};
use crate::kafka::At;
use crate::store::script::Found;

/// The source of what operators say.
const SOURCE: &str = "operator";

/// What an operator wants of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The schedule again, in the next phase.
    Requeue,
    /// This status, published.
    Settle(Outcome),
}

/// What a settled order is settled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub status: Terminal,
    pub rsp_no: Option<String>,
    pub ret_cd: Option<String>,
    pub ret_msg: Option<String>,
}

/// Why a command does nothing to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// The view does not know the order.
    Unknown,
    /// It is settled already, as the command wants.
    Alike,
    /// It is settled already, and a settled order stays settled.
    Settled(Terminal),
    /// It is pending, in this phase.
    Pending(u16),
    /// It is exhausted, in another phase than the one that was shown.
    OtherPhase(u16),
    /// There is no phase after this one.
    LastPhase,
}

/// An event that a command becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    body: Body,
    traceparent: Option<Box<str>>,
}

/// What the view keeps beside a record.
#[derive(Debug, Default, Deserialize)]
struct Kept {
    query: Option<Box<RawValue>>,
    traceparent: Option<Box<str>>,
}

impl Command {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Settle(_) => "settle",
        }
    }

    /// What it does to an order of which the view says `found`.
    pub fn judge(&self, found: &Found) -> Result<Step, Hindrance> {
        let (record, kept) = match found {
            Found::Unknown => return Err(Hindrance::Unknown),
            Found::Settled { status, .. } => {
                return Err(match self {
                    Self::Settle(outcome) if outcome.status == *status => Hindrance::Alike,
                    _ => Hindrance::Settled(*status),
                });
            }
            Found::Open { record, query } => (record, query.as_deref()),
        };
        let kept: Kept = kept
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let body = match self {
            Self::Settle(outcome) => Body::Terminal(Box::new(TerminalEvent {
                status: outcome.status,
                source: SOURCE.to_owned(),
                rsp_no: outcome.rsp_no.clone(),
                ret_cd: outcome.ret_cd.clone(),
                ret_msg: outcome.ret_msg.clone(),
            })),
            Self::Requeue if !record.exhausted => return Err(Hindrance::Pending(record.phase)),
            Self::Requeue => Body::Requeue {
                phase: record.phase.checked_add(1).ok_or(Hindrance::LastPhase)?,
                query: kept.query.map(|query| query.get().into()),
            },
        };
        Ok(Step {
            body,
            traceparent: kept.traceparent,
        })
    }

    /// As [`Command::judge`], where the order must still be exhausted in this phase.
    pub fn judge_shown(&self, found: &Found, phase: u16) -> Result<Step, Hindrance> {
        match found {
            Found::Open { record, .. } if !record.exhausted => {
                Err(Hindrance::Pending(record.phase))
            }
            Found::Open { record, .. } if record.phase != phase => {
                Err(Hindrance::OtherPhase(record.phase))
            }
            found => self.judge(found),
        }
    }
}

impl Step {
    /// The phase that it opens.
    pub fn phase(&self) -> Option<u16> {
        match self.body {
            Body::Requeue { phase, .. } => Some(phase),
            _ => None,
        }
    }
}

impl Clerk {
    /// Appends the event of a step; the broker has acknowledged it when this returns.
    pub async fn append(&self, key: &OrderKey, step: Step, who: &Who) -> Result<At, Refusal> {
        let event = Event {
            key: key.clone(),
            at: self.orders.clock.wall(),
            body: step.body,
        };
        let value = event.encode(Author::Operator {
            actor: &who.actor,
            reason: &who.reason,
        });
        // Whatever exceeds the wire's limits is refused here, not as a dead letter later.
        decode(&value)?;
        let appended = self.orders.append(key.clone(), value, step.traceparent);
        let at = appended.await.map_err(|error| not_acknowledged(&error))?;
        tracing::debug!(order = %key, partition = at.partition, offset = at.offset, "a command was appended");
        Ok(at)
    }
}

impl From<Hindrance> for Refusal {
    fn from(hindrance: Hindrance) -> Self {
        let (status, code, message) = match hindrance {
            Hindrance::Unknown => (
                StatusCode::NOT_FOUND,
                "unknown-order",
                "no event of this order is known: it never had one, it was settled longer ago than \
                 orders are remembered, or the view is being folded anew; POST /v1/orders takes \
                 events of any order"
                    .to_owned(),
            ),
            Hindrance::Alike => (
                StatusCode::CONFLICT,
                "settled",
                "the order is settled so already".to_owned(),
            ),
            Hindrance::Settled(status) => (
                StatusCode::CONFLICT,
                "settled",
                format!(
                    "the order is settled with status {}, which stands",
                    Status::from(status).code()
                ),
            ),
            Hindrance::Pending(phase) => (
                StatusCode::CONFLICT,
                "not-exhausted",
                format!("the order is pending in phase {phase}: it is asked by its schedule"),
            ),
            Hindrance::OtherPhase(phase) => (
                StatusCode::CONFLICT,
                "not-exhausted",
                format!("the order is exhausted in phase {phase} by now"),
            ),
            Hindrance::LastPhase => (
                StatusCode::CONFLICT,
                "last-phase",
                "the order was requeued 65535 times; settle it".to_owned(),
            ),
        };
        Self::new(status, code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Record;

    fn settle(status: Terminal) -> Command {
        Command::Settle(Outcome {
            status,
            rsp_no: None,
            ret_cd: None,
            ret_msg: None,
        })
    }

    fn open(exhausted: bool, phase: u16) -> Found {
        Found::Open {
            record: Record {
                exhausted,
                phase,
                ..Record::default()
            },
            query: Some(r#"{"query":{"bank":"CMB"},"traceparent":"00-ab-cd-01"}"#.into()),
        }
    }

    fn settled(status: Terminal) -> Found {
        Found::Settled { status, offset: 1 }
    }

    #[test]
    fn a_requeue_opens_the_next_phase_with_the_query_that_the_view_has() {
        let step = Command::Requeue.judge(&open(true, 3)).unwrap();
        let Body::Requeue { phase, query } = &step.body else {
            unreachable!("{step:?}")
        };
        assert_eq!((*phase, query.as_deref()), (4, Some(r#"{"bank":"CMB"}"#)));
        assert_eq!(step.traceparent.as_deref(), Some("00-ab-cd-01"));
    }

    #[test]
    fn what_a_command_cannot_do_is_said() {
        use Hindrance::{Alike, LastPhase, OtherPhase, Pending, Settled, Unknown};
        use Terminal::{Failure, Success};
        for (command, found, hindrance) in [
            (Command::Requeue, Found::Unknown, Unknown),
            (Command::Requeue, open(false, 2), Pending(2)),
            (Command::Requeue, open(true, u16::MAX), LastPhase),
            (Command::Requeue, settled(Success), Settled(Success)),
            (settle(Success), Found::Unknown, Unknown),
            (settle(Success), settled(Failure), Settled(Failure)),
            (settle(Success), settled(Success), Alike),
        ] {
            assert_eq!(
                command.judge(&found),
                Err(hindrance),
                "{command:?} {found:?}"
            );
        }
        for found in [open(false, 0), open(true, 0)] {
            assert!(settle(Failure).judge(&found).is_ok());
        }
        let shown = |found: &Found| settle(Failure).judge_shown(found, 1);
        assert_eq!(shown(&open(true, 2)), Err(OtherPhase(2)));
        assert_eq!(shown(&open(false, 1)), Err(Pending(1)));
        assert_eq!(shown(&settled(Failure)), Err(Alike));
        assert!(shown(&open(true, 1)).is_ok());
    }
}
