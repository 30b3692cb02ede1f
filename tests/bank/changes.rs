//! The bank's behaviour, changed while it runs.

use serde_json::{Value, json};
use settled::dev::bank::BankOptions;

use crate::World;

impl World {
    /// Changes the behaviour; what the bank tells then.
    async fn behave(&self, method: &str, change: Value) -> (u16, Value) {
        let (status, body) = self.send(method, "/behaviour", &change.to_string()).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn status_of(&self, order: &str) -> String {
        let (order_type, req_no) = order.split_once('/').unwrap();
        let body = json!({ "type": order_type, "reqNO": req_no }).to_string();
        let (status, body) = self.send("POST", "/", &body).await;
        if status != 200 {
            return status.to_string();
        }
        let body: Value = serde_json::from_str(&body).unwrap();
        body["status"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_change_hits_the_orders_that_are_meant_from_the_next_question_on() {
    let world = World::new(BankOptions::default()).await;
    assert_eq!(world.status_of("a/1").await, "3");
    let change = json!({ "orders": "a/", "tricks": { "503": 1.0 } });
    let (status, told) = world.behave("PATCH", change.clone()).await;
    assert_eq!((status, &told[1]), (200, &change));
    assert_eq!(world.status_of("a/1").await, "503");
    assert_eq!(world.status_of("b/1").await, "3");
    let (_, told) = world.behave("PUT", json!({ "orders": "a/" })).await;
    assert_eq!(told[1], json!({ "orders": "a/" }));
    assert_eq!(
        world.status_of("a/1").await,
        "3",
        "a question that went wrong has not brought the order on"
    );
}

#[tokio::test]
async fn an_outage_ends_by_itself() {
    let world = World::new(BankOptions::default()).await;
    let outage = json!({ "for": "300ms", "tricks": { "500": 1.0 } });
    assert_eq!(world.behave("PATCH", outage).await.0, 200);
    assert_eq!(world.status_of("a/1").await, "500");
    while world.status_of("a/1").await == "500" {}
    let (_, told) = world.send("GET", "/behaviour", "").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    let started_with = json!({
        "in_progress": 2, "failures": 0.1, "unknown": 0.0, "flips": 0.0, "latency": "0s",
        "tricks": {}, "trick_times": 0, "retry_after": "0s", "redirect": "169.254.169.254:80",
        "max_per_second": 0, "over_limit": "429",
    });
    assert_eq!(told[0], started_with);
}

#[tokio::test]
async fn a_bad_change_is_refused_in_one_line_and_changes_nothing() {
    let world = World::new(BankOptions::default()).await;
    for (body, told) in [
        (json!({ "trick": "html" }), "unknown field `trick`"),
        (
            json!({ "tricks": { "htlm": 1 } }),
            "\"htlm\": no such trick",
        ),
        (
            json!({ "failures": 2 }),
            "failures: \"2\": expected a number from 0 to 1",
        ),
        (
            json!({ "latency": "soon" }),
            "latency: \"soon\": expected a mean like 20ms",
        ),
        (
            json!({ "orders": "a/", "max_per_second": 1 }),
            "are the whole bank's",
        ),
    ] {
        let (status, answer) = world.behave("PATCH", body).await;
        let error = answer["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(told), "{status} {error}");
        assert_eq!(error.lines().count(), 1);
    }
    let (status, _) = world.send("PATCH", "/behaviour", "nonsense").await;
    assert_eq!(status, 400);
    let (status, answer) = world.behave("DELETE", json!({})).await;
    assert_eq!(
        (status, &answer["error"]),
        (405, &json!("expected GET, PUT or PATCH /behaviour"))
    );
    let (_, told) = world.behave("PUT", json!({})).await;
    assert_eq!(told[1], json!({}));
    assert_eq!(world.bank.summary().questions, 0);
}
