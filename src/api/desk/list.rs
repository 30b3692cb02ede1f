//! `GET /v1/exhausted`: the orders that wait for a person, by type and time, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Clerk;
use super::filter::{Place, Written};
use super::strict::{bad, nearest};
use crate::api::refusal::Refusal;
use crate::domain::json::echo;
use crate::domain::order::Millis;
use crate::domain::status::Status;
use crate::domain::wire_time;
use crate::store::operator::Exhausted;

/// Entries of one page.
const LIMIT_MAX: usize = 1_000;
const LIMIT: usize = 100;

/// Pages of the view that one page of a list may read: where few are of the type that is asked for, a
/// page is short and says where to go on.
const READS: usize = 100;

/// For the times of all orders of a page that are still asked, which stand in the log alone.
const TIMES_WAIT: Duration = Duration::from_secs(1);

/// Reads of the log at one time; there are four handles.
const TIMES_AT_ONCE: usize = 4;

const PARAMETERS: [&str; 5] = ["type", "from", "to", "after", "limit"];

pub(super) async fn exhausted(
    State(clerk): State<Arc<Clerk>>,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Query(mut query) = query.map_err(|error| bad(error.body_text()))?;
    if let Some(unknown) = query
        .keys()
        .find(|name| !PARAMETERS.contains(&name.as_str()))
    {
        let meant = nearest(unknown, &PARAMETERS);
        let unknown = echo(unknown);
        return Err(bad(format!(
            "{unknown}: unknown parameter; did you mean {meant}?"
        )));
    }
    let filter = Written {
        order_type: query.remove("type"),
        from: query.remove("from"),
        to: query.remove("to"),
        numbers: None,
    };
    let filter = filter.read()?;
    let after = query
        .get("after")
        .map(|after| after.parse::<Place>())
        .transpose()?;
    let limit = match query.get("limit") {
        None => LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| bad(format!("limit: expected 1 to {LIMIT_MAX}")))?,
    };
    let found = clerk
        .walk(&filter, after.unwrap_or_default(), limit, READS)
        .await?;
    let times = clerk.times(&found.orders).await;
    let orders = found.orders.iter().map(|(shard, order)| {
        let since = order
            .since()
            .or(times.get(&(*shard, order.offset)).copied());
        entry(*shard, order, since)
    });
    let mut page = json!({"v": 1, "orders": orders.collect::<Vec<_>>()});
    if let Some(next) = found.next {
        page["next"] = json!(next.to_string());
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)))
}

fn entry(shard: u16, order: &Exhausted, since: Option<Millis>) -> Value {
    let record = &order.record;
    let mut entry = json!({
        "type": order.key.order_type.as_str(),
        "reqNO": order.key.req_no.as_str(),
        "phase": record.phase,
        "status": Status::from(record.last).code(),
        "asked": record.asked,
        "stillAsked": record.bucket > 0,
        "firstSeenAt": wire_time::format(record.first_seen),
        "result": {"partition": shard, "offset": order.offset},
    });
    if let Some(since) = since {
        entry["exhaustedAt"] = json!(wire_time::format(since));
    }
    entry
}

impl Clerk {
    /// When those orders were exhausted whose record does not tell, as far as the log says so in time.
    async fn times(&self, orders: &[(u16, Exhausted)]) -> BTreeMap<(u16, u64), Millis> {
        let untold = orders.iter().filter(|(_, order)| order.since().is_none());
        let places: Vec<_> = untold
            .map(|(shard, order)| (*shard, order.offset))
            .collect();
        let reads = places.into_iter().map(|place| {
            let read = (self.orders.ports.read_result)(place);
            async move { Some((place, read.await?.at)) }
        });
        let mut reads = stream::iter(reads).buffer_unordered(TIMES_AT_ONCE);
        let mut times = BTreeMap::new();
        let reading = async {
            while let Some(read) = reads.next().await {
                times.extend(read);
            }
        };
        // What was read in time is told; the rest is left out.
        timeout(TIMES_WAIT, reading).await.unwrap_or_default();
        times
    }
}
