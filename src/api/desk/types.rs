//! `GET /v1/types`, and `POST /v1/types/{type}/pause` and `resume`, for the whole cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Clerk;
use super::ports::{TypeCount, Word};
use super::strict::{self, who};
use super::verbs::{named, view_unavailable};
use crate::api::refusal::Refusal;
use crate::domain::json::echo;
use crate::domain::order::TypeName;
use crate::domain::wire_time;
use crate::store::operator::TypePause;

#[derive(Debug, Deserialize)]
struct Said {
    actor: Option<String>,
    reason: Option<String>,
}

/// `GET /v1/types`.
pub(super) async fn list(State(clerk): State<Arc<Clerk>>) -> Result<impl IntoResponse, Refusal> {
    let configured = clerk.orders.configured().into_iter();
    let mut types: BTreeMap<TypeName, Value> = configured
        .map(|name| {
            let entry = entry(&name, true);
            (name, entry)
        })
        .collect();
    for shard in 0..clerk.orders.shards {
        let counts = (clerk.ports.counts)(shard).await;
        let counts = counts.map_err(|error| view_unavailable(shard, &error))?;
        for count in counts {
            let TypeCount {
                order_type,
                pending,
                exhausted,
            } = count;
            let entry = types
                .entry(order_type.clone())
                .or_insert_with(|| entry(&order_type, false));
            for (field, count) in [("pending", pending), ("exhausted", exhausted)] {
                entry[field] = json!(entry[field].as_u64().unwrap_or(0) + count);
            }
        }
    }
    for pause in (clerk.ports.pauses)(()).await {
        if let Some(entry) = types.get_mut(&pause.order_type).filter(|_| pause.paused) {
            put(entry, &pause);
        }
    }
    let types: Vec<_> = types.into_values().collect();
    let page = json!({"v": 1, "types": types});
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)))
}

/// `POST /v1/types/{type}/pause`.
pub(super) async fn pause(
    state: State<Arc<Clerk>>,
    path: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    say(&state.0, path, body, true).await
}

/// `POST /v1/types/{type}/resume`.
pub(super) async fn resume(
    state: State<Arc<Clerk>>,
    path: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    say(&state.0, path, body, false).await
}

async fn say(
    clerk: &Clerk,
    path: Result<Path<String>, PathRejection>,
    body: Body,
    paused: bool,
) -> Result<Json<Value>, Refusal> {
    let Path(name) = named(path)?;
    let order_type = TypeName::new(&name).filter(|name| clerk.orders.lane(name).is_ok());
    let order_type = order_type.ok_or_else(|| {
        let message = format!("order type {} is not configured", echo(&name));
        Refusal::new(StatusCode::NOT_FOUND, "unknown-type", message)
    })?;
    let said: Said = strict::read(body, &["actor", "reason"]).await?;
    let who = who(said.actor, said.reason)?;
    let word = Word {
        order_type: order_type.clone(),
        paused,
        actor: who.actor,
        reason: who.reason,
    };
    let stands = (clerk.ports.say)(word).await.map_err(|error| {
        tracing::warn!(%error, "a pause was not kept");
        Refusal::unavailable(
            "view-unavailable",
            "a pause cannot be kept at this moment; nothing has changed",
        )
    })?;
    let mut entry =
        json!({"v": 1, "type": order_type.as_str(), "configured": true, "paused": false});
    put(&mut entry, &stands);
    Ok(Json(entry))
}

fn entry(name: &TypeName, configured: bool) -> Value {
    json!({
        "type": name.as_str(),
        "configured": configured,
        "paused": false,
        "pending": 0,
        "exhausted": 0,
    })
}

fn put(entry: &mut Value, pause: &TypePause) {
    entry["paused"] = json!(pause.paused);
    entry["since"] = json!(wire_time::format(pause.at));
    entry["actor"] = json!(pause.actor);
    entry["reason"] = json!(pause.reason);
}
