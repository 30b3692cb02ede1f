//! The orders that wait for a person: as a worker lists them, entry by entry, and as they should be by
//! what order-results holds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::checker::event;
use crate::plain_http::get;
use crate::rig::Rig;
use crate::support::eventually;
use crate::support::topics::{Isolation, Seen};
use crate::traffic::SPENT;

/// Entries by `<type>/<reqNO>`.
type List = BTreeMap<String, Value>;

const WITHIN: Duration = Duration::from_secs(20);

/// What a worker lists, of one type or of all. `None`: it cannot say now.
async fn listed(rig: &Rig, order_type: Option<&str>) -> Option<List> {
    let of = order_type.map(|name| format!("&type={name}"));
    let of = of.unwrap_or_default();
    let (mut list, mut after) = (List::new(), String::new());
    loop {
        let path = format!("/v1/exhausted?limit=1000{of}{after}");
        let reply = get(rig.workers[0].admin, &path).await;
        if reply.status != 200 {
            return None;
        }
        let page = reply.json();
        for entry in page["orders"].as_array().unwrap() {
            let (kind, number) = (&entry["type"], &entry["reqNO"]);
            let key = format!("{}/{}", kind.as_str().unwrap(), number.as_str().unwrap());
            let twice = list.insert(key.clone(), entry.clone());
            assert!(twice.is_none(), "{key} is listed twice");
        }
        let Some(next) = page["next"].as_str() else {
            return Some(list);
        };
        after = format!("&after={next}");
    }
}

/// So many orders of a type of their own are exhausted, and no more of it will come: their list, which
/// is to be the same for ever.
pub async fn closed_set(rig: &Rig, count: usize) -> List {
    let orders = (0..count).map(|n| event(SPENT, &format!("spent{n:02}"), "3"));
    rig.site.publish(&orders.collect::<Vec<_>>());
    eventually("the closed set is exhausted", WITHIN, async || {
        listed(rig, Some(SPENT))
            .await
            .filter(|list| list.len() == count)
    })
    .await
}

/// Waits until every entry of the closed set is what it was, field by field.
///
/// # Panics
/// It does not become so.
pub async fn is_as_before(rig: &Rig, before: &List) {
    let now = becomes(rig, Some(SPENT), before).await;
    assert_eq!(now, *before, "the list is another one than before");
}

/// Waits until the list of all orders is the one that order-results makes, at rest.
///
/// # Panics
/// It does not become so.
pub async fn is_what_results_say(rig: &Rig) {
    let names = &rig.site.names;
    let read = names.read(
        &rig.site.broker.bootstrap,
        &names.results,
        Isolation::Committed,
    );
    let wanted = by_results(&read);
    let now = becomes(rig, None, &wanted).await;
    assert_eq!(now, wanted, "the list is not what order-results says");
}

/// The list once it is `wanted`, or what it is after too long.
async fn becomes(rig: &Rig, order_type: Option<&str>, wanted: &List) -> List {
    let mut last = List::new();
    for _ in 0..WITHIN.as_millis() / 100 {
        if let Some(list) = listed(rig, order_type).await {
            last = list;
        }
        if last == *wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    last
}

/// An exhausted order stays so until it is settled. Here everything exhausted is so by its first phase,
/// owners having said «in progress» to the last.
fn by_results(results: &[Seen]) -> List {
    let mut list = List::new();
    for record in results {
        let value: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        if value["outcome"] == "settled" {
            list.remove(&key);
            continue;
        }
        let appended = i128::from(record.time) * 1_000_000;
        let entry = json!({
            "type": value["type"], "reqNO": value["reqNO"], "phase": value["phase"],
            "asked": value["asked"], "firstSeenAt": value["firstSeenAt"], "status": "3",
            "stillAsked": false, "exhaustedAt": crate::checker::wire(appended),
            "result": {"partition": record.partition, "offset": record.offset},
        });
        list.insert(key, entry);
    }
    list
}
