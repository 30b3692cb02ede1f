//! `POST /v1/exhausted:requeue` and `:settle`: one command for all exhausted orders that a filter names,
//! first as a dry run, then for exactly what that has shown. Repeating a run is harmless: each order is
//! looked at again before its command is appended, and one that has moved on is skipped.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Clerk;
use super::command::{Command, Hindrance, Outcome};
use super::filter::{Filter, Place, Written};
use super::selection::{self, Chosen, Orders};
use super::strict::{self, Who, bad, who};
use super::verbs::terminal;
use crate::api::refusal::Refusal;
use crate::domain::json::echo;

/// Orders of one selection.
const LIMIT_MAX: usize = 10_000;
const LIMIT: usize = 1_000;

/// Pages of the view that one selection may read.
const READS: usize = 2_000;

/// Orders that a dry run shows by name.
const SHOWN: usize = 100;

/// Commands appended at one time, and how long a batch takes at least: 500 a second, which leaves
/// intake its room.
const BATCH: usize = 100;
const BATCH_TAKES: Duration = Duration::from_millis(200);

const FIELDS: [&str; 14] = [
    "filter",
    "filter.type",
    "filter.from",
    "filter.to",
    "filter.reqNOs",
    "dry_run",
    "selection",
    "limit",
    "actor",
    "reason",
    "status",
    "rspNO",
    "retCd",
    "retMsg",
];

#[derive(Debug, Deserialize)]
struct Wanted {
    filter: Option<Written>,
    #[serde(default = "yes")]
    dry_run: bool,
    selection: Option<String>,
    limit: Option<usize>,
    actor: Option<String>,
    reason: Option<String>,
    status: Option<Value>,
    #[serde(rename = "retCd")]
    ret_cd: Option<String>,
    #[serde(rename = "retMsg")]
    ret_msg: Option<String>,
    #[serde(rename = "rspNO")]
    rsp_no: Option<Value>,
}

/// Whoever forgets it must change nothing.
fn yes() -> bool {
    true
}

/// What a run has come to.
#[derive(Debug, Default)]
struct Tally {
    appended: usize,
    settled: usize,
    moved_on: usize,
    failed: usize,
    /// The first failure.
    error: Option<Refusal>,
}

pub(super) async fn requeue(
    State(clerk): State<Arc<Clerk>>,
    body: Body,
) -> Result<Response, Refusal> {
    let wanted: Wanted = strict::read(body, &FIELDS[..10]).await?;
    clerk.by_filter(wanted, Command::Requeue).await
}

pub(super) async fn settle(
    State(clerk): State<Arc<Clerk>>,
    body: Body,
) -> Result<Response, Refusal> {
    let wanted: Wanted = strict::read(body, &FIELDS).await?;
    if wanted.rsp_no.is_some() {
        return Err(bad("rspNO: expected for one order only, not for many"));
    }
    let outcome = Outcome {
        status: terminal(wanted.status.as_ref())?,
        rsp_no: None,
        ret_cd: wanted.ret_cd.clone(),
        ret_msg: wanted.ret_msg.clone(),
    };
    clerk.by_filter(wanted, Command::Settle(outcome)).await
}

impl Clerk {
    async fn by_filter(&self, wanted: Wanted, command: Command) -> Result<Response, Refusal> {
        let filter = wanted.filter.unwrap_or_default().read()?;
        let limit = wanted.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(bad(format!("limit: expected 1 to {LIMIT_MAX}")));
        }
        if wanted.dry_run {
            return self.show(&filter, limit, &command).await;
        }
        let who = who(wanted.actor, wanted.reason)?;
        let token = wanted.selection.ok_or_else(|| {
            bad("selection: expected what the dry run of the same command gave; make one first")
        })?;
        let orders = self.shown_as(&token, &filter, limit, &command).await?;
        let tally = self.carry_out_all(&orders, &command, &who).await;
        Ok(told(&command, &token, orders.len(), tally))
    }

    /// The dry run.
    async fn show(
        &self,
        filter: &Filter,
        limit: usize,
        command: &Command,
    ) -> Result<Response, Refusal> {
        let found = self.walk(filter, Place::default(), limit, READS).await?;
        let more = found.next.is_some();
        let orders = selection::chosen(found);
        let token = selection::token(command, &orders);
        let shown = orders.iter().take(SHOWN).map(|order| {
            json!({
                "type": order.key.order_type.as_str(),
                "reqNO": order.key.req_no.as_str(),
                "phase": order.phase,
            })
        });
        let body = json!({
            "v": 1,
            "command": command.name(),
            "dry_run": true,
            "selection": &token,
            "selected": orders.len(),
            "more": more,
            "orders": shown.collect::<Vec<_>>(),
        });
        self.shown.show(&token, Arc::new(orders));
        Ok(Json(body).into_response())
    }

    /// The selection of this token: as it was shown here, else by the filter as far as it still shows
    /// the same (the dry run was another worker's).
    async fn shown_as(
        &self,
        token: &str,
        filter: &Filter,
        limit: usize,
        command: &Command,
    ) -> Result<Orders, Refusal> {
        // A token names its command: one that was made for another is none.
        if let Some(orders) = self.shown.shown(token)
            && selection::token(command, &orders) == token
        {
            return Ok(orders);
        }
        let found = self.walk(filter, Place::default(), limit, READS).await?;
        let orders = selection::chosen(found);
        if selection::token(command, &orders) == token {
            return Ok(Arc::new(orders));
        }
        Err(Refusal::new(
            StatusCode::CONFLICT,
            "selection-changed",
            "the filter shows other orders by now than this selection; nothing was done, make a dry run again",
        ))
    }

    /// Batch after batch, until all are done, one fails or the process stops.
    async fn carry_out_all(&self, orders: &[Chosen], command: &Command, who: &Who) -> Tally {
        let mut tally = Tally::default();
        for (n, batch) in orders.chunks(BATCH).enumerate() {
            if n > 0 {
                tokio::select! {
                    () = self.stop.cancelled() => break,
                    () = tokio::time::sleep(BATCH_TAKES) => {}
                }
            }
            let mut running = FuturesUnordered::new();
            for order in batch {
                running.push(self.carry_out_one(order, command, who));
            }
            while let Some(done) = running.next().await {
                tally.count(done);
            }
            if tally.failed > 0 {
                break;
            }
        }
        tracing::info!(
            command = command.name(),
            selected = orders.len(),
            appended = tally.appended,
            failed = tally.failed,
            actor = echo(&who.actor),
            reason = echo(&who.reason),
            "an operator's command by filter was carried out"
        );
        tally
    }

    async fn carry_out_one(
        &self,
        order: &Chosen,
        command: &Command,
        who: &Who,
    ) -> Result<Option<Hindrance>, Refusal> {
        let found = self.found(&order.key).await?;
        match command.judge_shown(&found, order.phase) {
            Ok(step) => self.append(&order.key, step, who).await.map(|_| None),
            Err(hindrance) => Ok(Some(hindrance)),
        }
    }
}

impl Tally {
    fn count(&mut self, done: Result<Option<Hindrance>, Refusal>) {
        match done {
            Ok(None) => self.appended += 1,
            Ok(Some(Hindrance::Alike | Hindrance::Settled(_))) => self.settled += 1,
            Ok(Some(_)) => self.moved_on += 1,
            Err(refusal) => {
                self.failed += 1;
                self.error.get_or_insert(refusal);
            }
        }
    }
}

fn told(command: &Command, token: &str, selected: usize, tally: Tally) -> Response {
    let looked_at = tally.appended + tally.settled + tally.moved_on;
    let mut body = json!({
        "v": 1,
        "command": command.name(),
        "dry_run": false,
        "selection": token,
        "selected": selected,
        "appended": tally.appended,
        "skipped": {"settled": tally.settled, "moved_on": tally.moved_on},
        "failed": tally.failed,
        "left": selected - looked_at,
    });
    let status = match tally.error {
        Some(refusal) => refusal.put_into(&mut body),
        None if looked_at < selected => {
            let stopping =
                Refusal::unavailable("stopping", "this worker stops; repeat it elsewhere");
            stopping.put_into(&mut body)
        }
        None => StatusCode::OK,
    };
    (status, Json(body)).into_response()
}
