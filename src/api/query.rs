//! `POST /v1/orders:query`: up to 100 orders in one request, each answered as its own GET would be.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::OrderAnswer;
use super::events::read;
use super::orders::{Call, NO_STORE, Orders};
use super::refusal::{ErrorBody, Refusal};
use super::terms::Terms;

/// The most orders in one request; each may cost a question.
const ORDERS_MAX: usize = 100;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted<'a> {
    /// Read one by one, so that one mistake spoils one answer.
    #[serde(borrow)]
    orders: Vec<&'a RawValue>,
    wait_ms: Option<u64>,
    max_age_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(rename = "type", borrow)]
    order_type: Cow<'a, str>,
    #[serde(rename = "reqNO", borrow)]
    req_no: Cow<'a, str>,
}

/// The body of the answer.
#[derive(Debug, Serialize)]
struct Answers {
    v: u8,
    answers: Vec<One>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum One {
    Order(Box<OrderAnswer>),
    Refused(ErrorBody),
}

impl From<Result<OrderAnswer, Refusal>> for One {
    fn from(answer: Result<OrderAnswer, Refusal>) -> Self {
        match answer {
            Ok(answer) => Self::Order(Box::new(answer)),
            Err(refusal) => Self::Refused(refusal.into_body()),
        }
    }
}

pub(super) async fn query(
    State(orders): State<Arc<Orders>>,
    RawQuery(parameters): RawQuery,
    body: Body,
) -> Result<impl IntoResponse, Refusal> {
    if parameters.is_some_and(|text| !text.is_empty()) {
        let why = "wait_ms and max_age_ms belong into the body here";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-parameter", why));
    }
    let body = read(body).await?;
    let wanted = Wanted::read(&body)?;
    let terms = Terms::of(wanted.wait_ms, wanted.max_age_ms)?;
    let mut answers: Vec<_> = (0..wanted.orders.len()).map(|_| None).collect();
    let mut shards: BTreeMap<u16, Vec<(usize, Call)>> = BTreeMap::new();
    for (place, entry) in wanted.orders.iter().enumerate() {
        match call(&orders, place, entry, terms) {
            Ok(call) => {
                let shard = call.key.shard(orders.shards);
                shards.entry(shard).or_default().push((place, call));
            }
            Err(refusal) => answers[place] = Some(One::Refused(refusal.into_body())),
        }
    }
    let shards = shards.into_iter();
    let told = join_all(shards.map(|(shard, calls)| of_shard(&orders, shard, calls))).await;
    for (place, answer) in told.into_iter().flatten() {
        answers[place] = Some(answer);
    }
    let answers = Answers {
        v: 1,
        // Each place was filled above.
        answers: answers.into_iter().flatten().collect(),
    };
    Ok((NO_STORE, Json(answers)))
}

impl<'a> Wanted<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        let wanted: Self = object(body).map_err(|error| {
            let code = if error.is_data() {
                "schema"
            } else {
                "not-json"
            };
            Refusal::new(StatusCode::BAD_REQUEST, code, error.to_string())
        })?;
        if (1..=ORDERS_MAX).contains(&wanted.orders.len()) {
            return Ok(wanted);
        }
        let why = format!("orders: expected 1 to {ORDERS_MAX} of them");
        Err(Refusal::new(StatusCode::BAD_REQUEST, "schema", why))
    }
}

/// Reads an object, where serde would also take an array of its values.
fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, serde_json::Error> {
    match text.trim_ascii_start().first() {
        Some(b'[') => Err(serde::de::Error::custom("expected an object")),
        _ => serde_json::from_slice(text),
    }
}

/// One entry, checked.
fn call(orders: &Orders, place: usize, entry: &RawValue, terms: Terms) -> Result<Call, Refusal> {
    let entry: Entry = object(entry.get().as_bytes()).map_err(|error| {
        let error = error.to_string();
        // The position within the entry would read as one within the body.
        let what = error.split(" at line ").next().unwrap_or_default();
        let why = format!("orders[{place}]: {what}");
        Refusal::new(StatusCode::BAD_REQUEST, "schema", why)
    })?;
    orders.call(&entry.order_type, &entry.req_no, terms)
}

/// One look into the shard's view for all of its orders, then each by itself.
async fn of_shard(
    orders: &Arc<Orders>,
    shard: u16,
    calls: Vec<(usize, Call)>,
) -> Vec<(usize, One)> {
    let keys = calls.iter().map(|(_, call)| call.key.clone()).collect();
    let wait = calls.iter().map(|(_, call)| call.wait).max();
    let found = orders
        .find(shard, keys, wait.unwrap_or(Duration::ZERO))
        .await;
    let answers = calls.into_iter().enumerate().map(|(nth, (place, call))| {
        let found = match &found {
            Ok(found) => Ok(found[nth].clone()),
            Err(refusal) => Err(refusal.clone()),
        };
        async move { (place, Orders::answer(orders, call, found).await.into()) }
    });
    join_all(answers).await
}
