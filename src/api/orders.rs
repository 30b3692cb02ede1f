//! `GET /v1/orders/{type}/{reqNO}`: what is settled, else what the owner says now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::answer::{OrderAnswer, Recorded};
use super::flight::{Flights, NoFlight};
use super::ports::{AppendError, AppendEvent, AskNow, Ports, Said};
use super::refusal::Refusal;
use crate::clock::Clock;
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::event::{Author, Body, Event, TerminalEvent};
use crate::domain::order::{Millis, OrderKey, ReqNo, TypeName};
use crate::domain::record::Record;
use crate::domain::result::OrderResult;
use crate::fault;
use crate::kafka::At;
use crate::store::script::Found;

/// What the results log may add to a settled status; the status itself does not wait for it.
const RESULT_WAIT: Duration = Duration::from_millis(200);

/// After this the broker counts as down; librdkafka itself would try for minutes.
pub(super) const APPEND_WAIT: Duration = Duration::from_secs(10);

/// What the engine may take beyond its deadline to say that there was no answer.
const ASK_SLACK: Duration = Duration::from_millis(500);

/// Who says the terminal events that callers' questions brought.
const SOURCE: &str = "api";

/// What the handlers of `[api]` share.
#[derive(Debug)]
pub(super) struct Orders {
    pub clock: Clock,
    pub shards: u16,
    pub window: Duration,
    pub deadlines: BTreeMap<TypeName, Duration>,
    pub ports: Ports,
    pub flights: Flights<Flight, Told>,
    /// By shard and offset: callers who ask again find the read that they did not wait for, where
    /// reads of their own would queue up behind it.
    pub reads: Flights<(u16, u64), Option<OrderResult>>,
}

/// What callers may share: one question about an order, and whether its answer is published. Who knows
/// an order must not share the question of someone who did not, as that answer was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    key: OrderKey,
    known: bool,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub(super) struct Told {
    said: Arc<Said>,
    recorded: Recorded,
    at: Millis,
}

/// What the view keeps beside a record.
#[derive(Debug, Default, Deserialize)]
struct Kept {
    query: Option<Box<RawValue>>,
    traceparent: Option<Box<str>>,
}

pub(super) async fn look(
    State(orders): State<Arc<Orders>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Path((order_type, req_no)) =
        path.map_err(|e| Refusal::new(StatusCode::BAD_REQUEST, "bad-path", e.body_text()))?;
    let key = orders.key(&order_type, &req_no)?;
    let answer = Orders::find(&orders, key).await?;
    // What is true at this moment must not come out of a cache in the next.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)))
}

impl Orders {
    /// How long a caller waits for an owner of this type to answer.
    pub fn deadline(&self, order_type: &TypeName) -> Result<Duration, Refusal> {
        self.deadlines.get(order_type).copied().ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "unknown-type",
                format!("order type {order_type} is not configured"),
            )
        })
    }

    fn key(&self, order_type: &str, req_no: &str) -> Result<OrderKey, Refusal> {
        let order_type = TypeName::new(order_type).ok_or_else(|| {
            let message = "an order type is 1 to 32 of a-z, 0-9, _ and -";
            Refusal::new(StatusCode::BAD_REQUEST, "bad-type", message)
        })?;
        self.deadline(&order_type)?;
        let req_no = ReqNo::new(req_no).ok_or_else(|| {
            let message = "a reqNO is 1 to 48 visible ASCII characters without /";
            Refusal::new(StatusCode::BAD_REQUEST, "bad-number", message)
        })?;
        Ok(OrderKey { order_type, req_no })
    }

    async fn find(orders: &Arc<Self>, key: OrderKey) -> Result<OrderAnswer, Refusal> {
        let shard = key.shard(orders.shards);
        let found = (orders.ports.find)((shard, key.clone())).await;
        match found {
            Ok(Found::Settled { status, offset }) => {
                let place = (shard, offset);
                let read = orders
                    .reads
                    .join(place, || (orders.ports.read_result)(place));
                let result = timeout(RESULT_WAIT, read).await.ok();
                // A trimmed or compacted log may hold another record there, or none.
                let result = result.and_then(Result::ok).flatten();
                let result = result.filter(|r| r.key == key);
                let at = orders.clock.wall();
                Ok(OrderAnswer::settled(&key, status, result, at))
            }
            Ok(Found::Open { record, query }) => {
                Self::ask(orders, key, Some(record), query.as_deref()).await
            }
            Ok(Found::Unknown) => Self::ask(orders, key, None, None).await,
            Err(error) => {
                tracing::warn!(shard, %error, "the view was not read for the API");
                Err(Refusal::unavailable(
                    "view-unavailable",
                    "what is known of orders cannot be read at this moment",
                ))
            }
        }
    }

    async fn ask(
        orders: &Arc<Self>,
        key: OrderKey,
        record: Option<Record>,
        kept: Option<&str>,
    ) -> Result<OrderAnswer, Refusal> {
        let kept: Kept = kept
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let question = AskNow {
            key: key.clone(),
            query: kept.query.map(|query| query.get().into()),
            traceparent: kept.traceparent,
            deadline: orders.deadline(&key.order_type)?,
        };
        let flight = Flight {
            key: key.clone(),
            known: record.is_some(),
        };
        let this = Arc::clone(orders);
        let known = flight.known;
        let told = orders
            .flights
            .join(flight, || async move { this.tell(question, known).await })
            .await;
        let told = told.map_err(|none| match none {
            NoFlight::TooMany => {
                Refusal::unavailable("busy", "too many questions are open; ask again")
            }
            NoFlight::Broken => Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the question was not carried out",
            ),
        })?;
        Ok(OrderAnswer::asked(
            &key,
            record.as_ref(),
            &told.said,
            told.recorded,
            told.at,
        ))
    }

    /// One question, and its terminal answer into the log before anyone hears of it.
    async fn tell(&self, question: AskNow, known: bool) -> Told {
        let (key, traceparent) = (question.key.clone(), question.traceparent.clone());
        let wait = question.deadline + ASK_SLACK;
        let said = timeout(wait, (self.ports.ask_now)(question)).await;
        let said = said.unwrap_or(Said {
            answer: Answer::CouldNotAsk {
                why: CouldNotAsk::TimedOut,
                retry_after: None,
            },
            data: None,
        });
        let at = self.clock.wall();
        let recorded = match terminal_event(&key, &said.answer, at) {
            None => Recorded::NotTerminal,
            Some(_) if !known => Recorded::NotKnown,
            Some(value) => {
                fault::shortly("api-answered-event-not-acknowledged");
                match self.append(key, value, traceparent).await {
                    Ok(_) => Recorded::Appended,
                    Err(error) => {
                        tracing::warn!(%error, "a terminal answer was not recorded");
                        Recorded::NotAcknowledged
                    }
                }
            }
        };
        Told {
            said: Arc::new(said),
            recorded,
            at,
        }
    }

    /// Appends an event to its order's own partition.
    pub async fn append(
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
