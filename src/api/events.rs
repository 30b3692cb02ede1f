//! `POST /v1/orders`: an event with status 3 or 4, for those without a Kafka client; on the `[admin]`
//! listener any event.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde_json::json;
use tokio::time::timeout;

use super::orders::Orders;
use super::ports::AppendError;
use super::question::APPEND_WAIT;
use super::refusal::Refusal;
use crate::domain::event::{self, Event, Reason, TRACEPARENT_MAX, decode, is_stale};
use crate::domain::order::Millis;

/// The largest body, in bytes.
const MAX_BODY: usize = event::VALUE_MAX;

/// A body of this size takes milliseconds; who drips it holds a connection for nothing.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// On `[api]`: orders in progress.
pub(super) async fn publish(
    State(orders): State<Arc<Orders>>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse + use<>, Refusal> {
    take(&orders, &headers, body, Door::Api).await
}

/// By which listener an event comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Orders in progress.
    Api,
    /// Every event: the operators' way, behind the token.
    Admin,
}

/// Appends the event that a body is.
pub(super) async fn take(
    orders: &Orders,
    headers: &HeaderMap,
    body: Body,
    door: Door,
) -> Result<impl IntoResponse + use<>, Refusal> {
    let value = read(body).await?;
    let event = decode(&value)?;
    orders.lane(&event.key.order_type)?;
    if door == Door::Api && !matches!(event.body, event::Body::Pending { .. }) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "not-here",
            "only status 3 and 4 are taken here; send 1, 2 and commands to the admin listener",
        ));
    }
    fresh(&event, orders.clock.wall(), orders.window)?;
    let traceparent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .filter(|value| value.len() <= TRACEPARENT_MAX)
        .map(Box::from);
    let key = event.key;
    let at = orders
        .append(key.clone(), value, traceparent)
        .await
        .map_err(|error| not_acknowledged(&error))?;
    let receipt = json!({
        "v": 1,
        "type": key.order_type.as_str(),
        "reqNO": key.req_no.as_str(),
        "partition": at.partition,
        "offset": at.offset,
    });
    Ok((StatusCode::ACCEPTED, Json(receipt)))
}

/// The broker did not answer for it.
pub(super) fn not_acknowledged(error: &AppendError) -> Refusal {
    tracing::warn!(%error, "an event of the API was not acknowledged");
    Refusal::unavailable(
        "kafka-unavailable",
        "the broker did not acknowledge the event; sending it again is harmless",
    )
}

/// An event that its shard would keep as a dead letter must not be acknowledged as accepted; it may lie
/// before the broker for as long as [`APPEND_WAIT`].
fn fresh(event: &Event, now: Millis, window: Duration) -> Result<(), event::Refusal> {
    let latest = now + APPEND_WAIT.as_millis() as Millis;
    if !is_stale(event.at, latest, window.as_millis() as Millis) {
        return Ok(());
    }
    Err(event::Refusal::new(
        Reason::Stale,
        format!(
            "at: {} s ago, orders are remembered for {} s only; at is when the event is published, \
             not when its order was made",
            now.saturating_sub(event.at) / 1000,
            window.as_secs()
        ),
    ))
}

/// A whole body, within its bounds of size and time.
pub(super) async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    let read = timeout(BODY_WAIT, to_bytes(body, MAX_BODY)).await;
    let read = read.map_err(|_| {
        let message = format!("the body was not complete after {} s", BODY_WAIT.as_secs());
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    })?;
    match read {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if too_large(&error) => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("a body is at most {MAX_BODY} bytes"),
        )),
        Err(error) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad-body",
            error.to_string(),
        )),
    }
}

fn too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>)
}
