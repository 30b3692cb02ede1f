//! What becomes of an order that somebody asks for: settled, from the view; else what the owner says
//! now, within the caller's terms. `GET /v1/orders/{type}/{reqNO}` is here, the batch in `query`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::answer::OrderAnswer;
use super::caller::{Caller, Flying};
use super::flight::{Flights, Joined, Landed, Limits};
use super::look::Looks;
use super::ports::{AskNow, Ports};
use super::question::Told;
use super::refusal::Refusal;
use super::terms::{AGE_MAX_MS, FRESH, Terms};
use crate::clock::Clock;
use crate::domain::order::{OrderKey, ReqNo, TypeName};
use crate::domain::record::Record;
use crate::domain::result::OrderResult;
use crate::domain::status::Terminal;
use crate::metrics::label::CallerOutcome;
use crate::metrics::{Metrics, TypeMetrics};
use crate::store::script::Found;

/// What the results log may add to a settled status; the status itself does not wait for it.
const RESULT_WAIT: Duration = Duration::from_millis(200);

/// What the look into the view may take where the caller's own wait is shorter.
const VIEW_WAIT: Duration = Duration::from_millis(200);

/// What the handlers of `[api]` share.
#[derive(Debug)]
pub(super) struct Orders {
    pub clock: Clock,
    pub shards: u16,
    pub window: Duration,
    pub ports: Ports,
    pub looks: Looks,
    /// Of each type.
    pub limits: Limits,
    pub tracker: TaskTracker,
    pub metrics: Arc<Metrics>,
    pub types: RwLock<BTreeMap<TypeName, Arc<Lane>>>,
    /// By shard and offset: callers who ask again find the read that they did not wait for, where
    /// reads of their own would queue up behind it.
    pub reads: Flights<(u16, u64), Option<OrderResult>>,
}

/// One order type's questions. Apart from the others', so that a type whose owner hangs leaves their
/// callers their places.
#[derive(Debug)]
pub(super) struct Lane {
    /// How long a question may take, its start time under the ceiling included.
    pub timeout: Duration,
    pub flights: Arc<Flights<Flight, Told>>,
    pub metrics: Arc<TypeMetrics>,
}

/// What callers may share: one question about an order, and whether its answer is published. Who knows
/// an order must not share the question of someone who did not, as that answer was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    key: OrderKey,
    known: bool,
}

/// An order that somebody asks for, and the terms.
#[derive(Debug)]
pub(super) struct Call {
    pub key: OrderKey,
    pub wait: Duration,
    max_age: Duration,
    caller: Caller,
}

/// What the view keeps beside a record.
#[derive(Debug, Default, Deserialize)]
struct Kept {
    query: Option<Box<RawValue>>,
    traceparent: Option<Box<str>>,
}

type Answer = Result<OrderAnswer, Refusal>;

pub(super) async fn look(
    State(orders): State<Arc<Orders>>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, Refusal> {
    let Path((order_type, req_no)) =
        path.map_err(|e| Refusal::new(StatusCode::BAD_REQUEST, "bad-path", e.body_text()))?;
    let call = orders.call(&order_type, &req_no, Terms::parse(query.as_deref())?)?;
    let answer = Orders::serve(&orders, call).await?;
    Ok((NO_STORE, Json(answer)))
}

/// What is true at this moment must not come out of a cache in the next.
pub(super) const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

impl Orders {
    /// Takes other order types; the flights of a type that stays go on.
    pub(super) fn configure(&self, deadlines: BTreeMap<TypeName, Duration>) {
        let mut types = self.types.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::take(&mut *types);
        let lane = |(order_type, timeout): (TypeName, Duration)| {
            let flights = match old.get(&order_type) {
                Some(lane) => Arc::clone(&lane.flights),
                None => Arc::new(Flights::new(self.limits, self.clock, self.tracker.clone())),
            };
            let metrics = self.metrics.order_type(&order_type);
            let lane = Lane {
                timeout,
                flights,
                metrics,
            };
            (order_type, Arc::new(lane))
        };
        *types = deadlines.into_iter().map(lane).collect();
    }

    /// The configured order types.
    pub(super) fn configured(&self) -> Vec<TypeName> {
        let types = self.types.read().unwrap_or_else(PoisonError::into_inner);
        types.keys().cloned().collect()
    }

    /// Of a configured order type.
    pub(super) fn lane(&self, order_type: &TypeName) -> Result<Arc<Lane>, Refusal> {
        let types = self.types.read().unwrap_or_else(PoisonError::into_inner);
        types.get(order_type).cloned().ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "unknown-type",
                format!("order type {order_type} is not configured"),
            )
        })
    }

    /// A caller's wish, checked. From here on it is counted.
    pub(super) fn call(
        &self,
        order_type: &str,
        req_no: &str,
        terms: Terms,
    ) -> Result<Call, Refusal> {
        let order_type = TypeName::new(order_type).ok_or_else(|| {
            let message = "an order type is 1 to 32 of a-z, 0-9, _ and -";
            Refusal::new(StatusCode::BAD_REQUEST, "bad-type", message)
        })?;
        let lane = self.lane(&order_type)?;
        let req_no = ReqNo::new(req_no).ok_or_else(|| {
            let message = "a reqNO is 1 to 48 visible ASCII characters without /";
            Refusal::new(StatusCode::BAD_REQUEST, "bad-number", message)
        })?;
        Ok(Call {
            wait: terms.wait.unwrap_or(lane.timeout),
            max_age: terms.max_age,
            caller: Caller::new(Arc::clone(&lane.metrics), self.clock),
            key: OrderKey { order_type, req_no },
        })
    }

    /// What a caller is told of one order.
    pub(super) async fn serve(orders: &Arc<Self>, call: Call) -> Answer {
        let found = orders.find_one(&call.key, call.wait).await;
        Self::answer(orders, call, found).await
    }

    /// What the view knows of one order.
    pub(super) async fn find_one(&self, key: &OrderKey, wait: Duration) -> Result<Found, Refusal> {
        let found = self.find(key.shard(self.shards), vec![key.clone()], wait);
        Ok(found.await?.into_iter().next().unwrap_or(Found::Unknown))
    }

    /// What the view knows of orders of one shard, in their order. A view that cannot be read is no
    /// reason to ask: the ceiling stands in the same Redis.
    pub(super) async fn find(
        &self,
        shard: u16,
        keys: Vec<OrderKey>,
        wait: Duration,
    ) -> Result<Vec<Found>, Refusal> {
        let found = timeout(wait.max(VIEW_WAIT), self.looks.find(shard, keys)).await;
        if let Ok(Ok(found)) = found {
            return Ok(found);
        }
        Err(Refusal::unavailable(
            "view-unavailable",
            "what is known of orders cannot be read at this moment",
        ))
    }

    /// What the caller is told, given what the view `found`.
    pub(super) async fn answer(
        orders: &Arc<Self>,
        call: Call,
        found: Result<Found, Refusal>,
    ) -> Answer {
        let (outcome, answer) = match found {
            Err(refusal) => (CallerOutcome::ViewUnavailable, Err(refusal)),
            Ok(Found::Settled { status, offset }) => {
                let answer = orders.settled(&call.key, status, offset).await;
                (CallerOutcome::Settled, Ok(answer))
            }
            Ok(Found::Open { record, query }) => {
                Self::ask(orders, &call, Some(record), query.as_deref()).await
            }
            Ok(Found::Unknown) => Self::ask(orders, &call, None, None).await,
        };
        call.caller.told(outcome);
        answer
    }

    async fn settled(&self, key: &OrderKey, status: Terminal, offset: u64) -> OrderAnswer {
        let place = (key.shard(self.shards), offset);
        let read = |_| {
            let reading = (self.ports.read_result)(place);
            async move {
                let result = reading.await;
                Landed {
                    // What is not there may only not have been read in time.
                    keep: match result {
                        Some(_) => Duration::from_millis(AGE_MAX_MS),
                        None => FRESH,
                    },
                    value: result,
                    bytes: 0,
                }
            }
        };
        let result = match self.reads.join(place, |_, _| true, read) {
            Ok(Joined::Kept(result)) => result,
            Ok(Joined::Begun(mut reading) | Joined::Shared(mut reading)) => {
                let result = timeout(RESULT_WAIT, reading.landed()).await;
                result.ok().and_then(Result::ok).flatten()
            }
            Err(_too_many) => None,
        };
        // A trimmed or compacted log may hold another record there, or none.
        let result = result.filter(|result| result.key == *key);
        OrderAnswer::settled(key, status, result, self.clock.wall())
    }

    async fn ask(
        orders: &Arc<Self>,
        call: &Call,
        record: Option<Record>,
        kept: Option<&str>,
    ) -> (CallerOutcome, Answer) {
        let lane = match orders.lane(&call.key.order_type) {
            Ok(lane) => lane,
            Err(refusal) => return (CallerOutcome::Broken, Err(refusal)),
        };
        let tell = |told: &Told| OrderAnswer::asked(&call.key, record.as_ref(), told);
        let known = |why| {
            let (known, at) = (record.as_ref(), orders.clock.wall());
            Ok(OrderAnswer::known(&call.key, known, why, at))
        };
        let flight = Flight {
            key: call.key.clone(),
            known: record.is_some(),
        };
        let good = |told: &Told, age| told.is_good(age, call.max_age);
        let left = call.wait.saturating_sub(call.caller.waited());
        if left.is_zero() {
            return match lane.flights.kept(&flight, good) {
                Some(told) => (outcome(CallerOutcome::Kept, &told), Ok(tell(&told))),
                None if call.wait.is_zero() => (
                    CallerOutcome::NotAsked,
                    known("nobody was asked, as wait_ms is 0".to_owned()),
                ),
                None => (CallerOutcome::Late, known(call.too_late())),
            };
        }
        let joined = lane.flights.join(flight, good, |progress| {
            let question = call.question(lane.timeout, kept);
            let flying = Flying::new(Arc::clone(&lane.metrics));
            let (orders, known) = (Arc::clone(orders), record.is_some());
            async move {
                let landed = orders.tell(question, known, progress).await;
                drop(flying);
                landed
            }
        });
        let (how, mut waiting) = match joined {
            Ok(Joined::Kept(told)) => {
                return (outcome(CallerOutcome::Kept, &told), Ok(tell(&told)));
            }
            Ok(Joined::Begun(waiting)) => (CallerOutcome::Asked, waiting),
            Ok(Joined::Shared(waiting)) => (CallerOutcome::Shared, waiting),
            Err(_too_many) => {
                let why = "too many questions are open at this moment; ask again".to_owned();
                return (CallerOutcome::Busy, known(why));
            }
        };
        match timeout(left, waiting.landed()).await {
            Ok(Ok(told)) => (outcome(how, &told), Ok(tell(&told))),
            Ok(Err(_broken)) => {
                let why = "the question was not carried out";
                let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why);
                (CallerOutcome::Broken, Err(refusal))
            }
            Err(_) => match waiting.so_far() {
                Some(told) => (CallerOutcome::Late, Ok(tell(&told))),
                None => (CallerOutcome::Late, known(call.too_late())),
            },
        }
    }
}

impl Call {
    fn question(&self, deadline: Duration, kept: Option<&str>) -> AskNow {
        let kept: Kept = kept
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        AskNow {
            key: self.key.clone(),
            query: kept.query.map(|query| query.get().into()),
            traceparent: kept.traceparent,
            deadline,
        }
    }

    fn too_late(&self) -> String {
        let ms = self.wait.as_millis();
        format!("no answer within {ms} ms; the question goes on, ask again")
    }
}

fn outcome(how: CallerOutcome, told: &Told) -> CallerOutcome {
    if told.is_no_answer() {
        CallerOutcome::CouldNotAsk
    } else {
        how
    }
}
