//! `POST /v1/config:reload`: the configuration read again, as SIGHUP has it read. Of one worker: each
//! has its own file.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Clerk;
use super::strict::{self, who};
use crate::api::refusal::Refusal;
use crate::domain::json::echo;
use crate::domain::order::TypeName;

#[derive(Debug, Deserialize)]
struct Said {
    actor: Option<String>,
    reason: Option<String>,
}

pub(super) async fn reload(
    State(clerk): State<Arc<Clerk>>,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let said: Said = strict::read(body, &["actor", "reason"]).await?;
    let who = who(said.actor, said.reason)?;
    tracing::warn!(
        actor = echo(&who.actor),
        reason = echo(&who.reason),
        "an operator has the configuration read again"
    );
    let reloaded = (clerk.ports.reload)(()).await;
    let reloaded = reloaded.map_err(|why| {
        let message = format!("the old configuration stays: {why}");
        Refusal::new(StatusCode::CONFLICT, "refused", message)
    })?;
    let names = |types: &[TypeName]| {
        types
            .iter()
            .map(|name| json!(name.as_str()))
            .collect::<Vec<_>>()
    };
    Ok(Json(json!({
        "v": 1,
        "added": names(&reloaded.added),
        "changed": names(&reloaded.changed),
        "removed": names(&reloaded.removed),
    })))
}
