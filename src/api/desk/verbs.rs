//! Verbs of one order: `ask`, `requeue`, `settle`; and any event by `POST /v1/orders`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Clerk;
use super::command::{Command, Hindrance, Outcome};
use super::strict::{self, bad, who};
use crate::api::events::{self, Door};
use crate::api::orders::{NO_STORE, Orders};
use crate::api::refusal::Refusal;
use crate::api::terms::Terms;
use crate::domain::json::echo;
use crate::domain::order::{OrderKey, ReqNo, TypeName};
use crate::domain::status::{Status, Terminal};

/// A person waits longer than a caller's deadline allows.
const VIEW_WAIT: Duration = Duration::from_secs(3);

type OrderPath = Result<Path<(String, String)>, PathRejection>;

#[derive(Debug, Deserialize)]
struct RequeueBody {
    actor: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SettleBody {
    status: Option<Value>,
    #[serde(rename = "rspNO")]
    rsp_no: Option<String>,
    #[serde(rename = "retCd")]
    ret_cd: Option<String>,
    #[serde(rename = "retMsg")]
    ret_msg: Option<String>,
    actor: Option<String>,
    reason: Option<String>,
}

/// `POST /v1/orders`: any event.
pub(super) async fn publish(
    State(clerk): State<Arc<Clerk>>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Refusal> {
    events::take(&clerk.orders, &headers, body, Door::Admin).await
}

/// `POST /v1/orders/{type}/{reqNO}/ask`: as `GET` of the order on `[api]`.
pub(super) async fn ask(
    State(clerk): State<Arc<Clerk>>,
    path: OrderPath,
) -> Result<impl IntoResponse, Refusal> {
    let Path((order_type, req_no)) = named(path)?;
    let call = clerk
        .orders
        .call(&order_type, &req_no, Terms::parse(None)?)?;
    let answer = Orders::serve(&clerk.orders, call).await?;
    Ok((NO_STORE, Json(answer)))
}

/// `POST /v1/orders/{type}/{reqNO}/requeue`.
pub(super) async fn requeue(
    State(clerk): State<Arc<Clerk>>,
    path: OrderPath,
    body: Body,
) -> Result<Response, Refusal> {
    let Path((order_type, req_no)) = named(path)?;
    // Nobody would ask about an order of another type.
    let key = wire_key(&order_type, &req_no)?;
    clerk.orders.lane(&key.order_type)?;
    let said: RequeueBody = strict::read(body, &["actor", "reason"]).await?;
    let who = who(said.actor, said.reason)?;
    clerk.carry_out(&key, &Command::Requeue, &who).await
}

/// `POST /v1/orders/{type}/{reqNO}/settle`.
pub(super) async fn settle(
    State(clerk): State<Arc<Clerk>>,
    path: OrderPath,
    body: Body,
) -> Result<Response, Refusal> {
    let Path((order_type, req_no)) = named(path)?;
    let key = wire_key(&order_type, &req_no)?;
    let known = ["status", "rspNO", "retCd", "retMsg", "actor", "reason"];
    let said: SettleBody = strict::read(body, &known).await?;
    let who = who(said.actor, said.reason)?;
    let command = Command::Settle(Outcome {
        status: terminal(said.status.as_ref())?,
        rsp_no: said.rsp_no,
        ret_cd: said.ret_cd,
        ret_msg: said.ret_msg,
    });
    clerk.carry_out(&key, &command, &who).await
}

impl Clerk {
    async fn carry_out(
        &self,
        key: &OrderKey,
        command: &Command,
        who: &strict::Who,
    ) -> Result<Response, Refusal> {
        let mut receipt = json!({
            "v": 1,
            "type": key.order_type.as_str(),
            "reqNO": key.req_no.as_str(),
            "command": command.name(),
        });
        let step = match command.judge(&self.found(key).await?) {
            Ok(step) => step,
            // Said before: saying it again does nothing.
            Err(Hindrance::Alike) => {
                receipt["already"] = json!(true);
                return Ok(Json(receipt).into_response());
            }
            Err(hindrance) => return Err(hindrance.into()),
        };
        if let Some(phase) = step.phase() {
            receipt["phase"] = json!(phase);
        }
        let at = self.append(key, step, who).await?;
        receipt["partition"] = json!(at.partition);
        receipt["offset"] = json!(at.offset);
        tracing::info!(
            command = command.name(),
            order = %key,
            actor = echo(&who.actor),
            reason = echo(&who.reason),
            partition = at.partition,
            offset = at.offset,
            "an operator's command was appended"
        );
        Ok((StatusCode::ACCEPTED, Json(receipt)).into_response())
    }

    /// What the view says of an order.
    pub async fn found(&self, key: &OrderKey) -> Result<crate::store::script::Found, Refusal> {
        self.orders.find_one(key, VIEW_WAIT).await
    }
}

/// The view cannot be read.
pub(super) fn view_unavailable(shard: u16, error: &crate::store::StoreError) -> Refusal {
    tracing::warn!(shard, %error, "the view was not read for an operator");
    Refusal::unavailable(
        "view-unavailable",
        "what is known of orders cannot be read at this moment",
    )
}

pub(super) fn named<T>(path: Result<Path<T>, PathRejection>) -> Result<Path<T>, Refusal> {
    path.map_err(|e| Refusal::new(StatusCode::BAD_REQUEST, "bad-path", e.body_text()))
}

/// An order of any type, configured or not: what is exhausted must be settled though nobody asks for
/// its type any more.
fn wire_key(order_type: &str, req_no: &str) -> Result<OrderKey, Refusal> {
    let key = TypeName::new(order_type).zip(ReqNo::new(req_no));
    let (order_type, req_no) = key.ok_or_else(|| {
        bad("expected an order type of 1 to 32 of a-z, 0-9, _ and -, and a reqNO of 1 to 48 visible ASCII characters without /")
    })?;
    Ok(OrderKey { order_type, req_no })
}

/// 1 or 2, as a string or a number.
pub(super) fn terminal(status: Option<&Value>) -> Result<Terminal, Refusal> {
    let status = match status {
        Some(Value::String(code)) => Status::from_code(code),
        Some(Value::Number(code)) => code.as_u64().and_then(Status::from_number),
        _ => None,
    };
    match status.map(Status::split) {
        Some(Ok(status)) => Ok(status),
        _ => Err(bad("status: expected 1 or 2")),
    }
}
