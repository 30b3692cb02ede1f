//! `POST /v1/orders:query`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use settled::domain::order::OrderKey;
use settled::domain::status::Terminal;
use settled::store::script::Found;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::plain_http::{self, send};
use crate::world::{
    SHARDS, Served, Trouble, World, assert_refused, assert_says, pending, settled_as_b1, success,
    wanted,
};

async fn answers(served: &Served, body: &Value) -> Vec<Value> {
    let reply = served.query(&body.to_string()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.head.contains("cache-control: no-store"), "{reply:?}");
    reply.json()["answers"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_order_is_answered_in_its_place_as_its_own_get_would() {
    let served = World {
        found: Found::Unknown,
        others: [("P", pending()), ("Q", pending())].into(),
        said: success(),
        ..settled_as_b1()
    };
    let settled = Found::Settled {
        status: Terminal::Success,
        offset: 9,
    };
    let mut others = served.others.clone();
    others.insert("TX1", settled);
    let served = World { others, ..served }.serve().await;
    let told = answers(&served, &wanted(&["P", "TX1", "N", "Q"])).await;
    for (answer, expected) in told.iter().zip([
        json!({"reqNO": "P", "state": "settled", "final": true, "fresh": true, "rspNO": "B88213",
            "data": {"amount": "1.00"}}),
        json!({"reqNO": "TX1", "state": "settled", "final": true, "fresh": false, "rspNO": "B1"}),
        json!({"reqNO": "N", "known": false, "status": "1", "final": false, "fresh": true}),
        json!({"reqNO": "Q", "state": "settled", "final": true}),
    ]) {
        assert_says(answer, &expected);
    }
    assert_eq!(told.len(), 4);
    let published: BTreeSet<_> = served
        .events()
        .into_iter()
        .map(|e| e.key.to_string())
        .collect();
    assert_eq!(
        published,
        ["transfer/P", "transfer/Q"].map(str::to_owned).into()
    );
}

#[tokio::test]
async fn a_malformed_entry_spoils_no_other() {
    let served = World {
        found: pending(),
        ..World::default()
    }
    .serve()
    .await;
    let mut body = wanted(&["TX1"]);
    let orders = body["orders"].as_array_mut().unwrap();
    for bad in [
        json!(7),
        json!(null),
        json!(["transfer", "TX1"]),
        json!({"type": "transfer"}),
        json!({"type": "transfer", "reqNO": 17}),
        json!({"type": "transfer", "reqNO": "TX1", "wait_ms": 5}),
        json!({"type": "Transfer", "reqNO": "TX1"}),
        json!({"type": "transfer", "reqNO": "a/b"}),
        json!({"type": "refund", "reqNO": "TX1"}),
    ] {
        orders.push(bad);
    }
    orders.push(json!({"type": "transfer", "reqNO": "TX2"}));
    let told = answers(&served, &body).await;
    let codes: Vec<_> = told
        .iter()
        .map(|answer| answer["error"]["code"].as_str().unwrap_or("-"))
        .collect();
    assert_eq!(
        codes,
        [
            "-",
            "schema",
            "schema",
            "schema",
            "schema",
            "schema",
            "schema",
            "bad-type",
            "bad-number",
            "unknown-type",
            "-"
        ]
    );
    let fourth = told[4]["error"]["message"].as_str().unwrap();
    assert_eq!(fourth, "orders[4]: missing field `reqNO`");
    assert_says(&told[10], &json!({"reqNO": "TX2", "fresh": true}));
}

#[tokio::test]
async fn an_order_that_stands_there_twice_costs_one_question() {
    let served = World {
        found: pending(),
        ..World::default()
    }
    .serve()
    .await;
    let numbers = ["TX1"; 100];
    let told = answers(&served, &wanted(&numbers)).await;
    assert_eq!(told.len(), 100);
    for answer in told {
        assert_says(&answer, &json!({"reqNO": "TX1", "fresh": true}));
    }
    assert_eq!(served.questions().len(), 1);
    assert_eq!(*served.looks.borrow(), 1, "one look into the view");
}

#[tokio::test]
async fn the_view_is_looked_into_once_a_shard() {
    let served = World {
        found: pending(),
        ..World::default()
    }
    .serve()
    .await;
    let numbers: Vec<_> = (0..100).map(|n| format!("TX{n}")).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let shards: BTreeSet<_> = numbers
        .iter()
        .map(|number| OrderKey::parse(&format!("transfer/{number}")).unwrap())
        .map(|key| key.shard(SHARDS))
        .collect();
    let told = answers(&served, &wanted(&numbers)).await;
    let order: Vec<_> = told.iter().map(|a| a["reqNO"].as_str().unwrap()).collect();
    assert_eq!(order, numbers);
    assert_eq!(*served.looks.borrow(), shards.len());
    assert_eq!(served.questions().len(), 100);
}

#[tokio::test]
async fn an_owner_that_hangs_about_one_order_delays_no_answer_beyond_the_deadline() {
    let served = World {
        found: pending(),
        trouble: Some(Trouble::QuestionsHangAbout("TX1")),
        ..World::default()
    }
    .serve()
    .await;
    let mut body = wanted(&["TX1", "TX2"]);
    body["wait_ms"] = json!(300);
    let told = answers(&served, &body).await;
    assert_says(
        &told[0],
        &json!({"reqNO": "TX1", "fresh": false, "source": "view"}),
    );
    assert_says(&told[1], &json!({"reqNO": "TX2", "fresh": true}));
    body["wait_ms"] = json!(0);
    body["max_age_ms"] = json!(60_000);
    let told = answers(&served, &body).await;
    assert_says(&told[1], &json!({"reqNO": "TX2", "fresh": true}));
    assert_eq!(served.questions().len(), 2);
}

#[tokio::test]
async fn a_view_that_does_not_answer_is_said_of_each_order() {
    let served = World {
        trouble: Some(Trouble::ViewDown),
        ..World::default()
    }
    .serve()
    .await;
    for answer in answers(&served, &wanted(&["TX1", "TX2"])).await {
        assert_eq!(answer["error"]["code"], "view-unavailable");
    }
    assert_eq!(served.callers("view_unavailable"), 2);
    assert!(served.questions().is_empty());
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_whole() {
    let served = World::default().serve().await;
    let with = |field: &str, value: Value| {
        let mut body = wanted(&["TX1"]);
        body[field] = value;
        body.to_string()
    };
    let many = wanted(&["TX1"; 101]).to_string();
    for (body, status, code) in [
        ("<orders/>".to_owned(), 400, "not-json"),
        ("[]".to_owned(), 400, "schema"),
        ("{}".to_owned(), 400, "schema"),
        (r#"{"orders":[]}"#.to_owned(), 400, "schema"),
        (many, 400, "schema"),
        (with("waitMs", json!(1)), 400, "schema"),
        (with("wait_ms", json!("1")), 400, "schema"),
        (with("wait_ms", json!(-1)), 400, "schema"),
        (with("wait_ms", json!(60_001)), 400, "bad-parameter"),
        (with("max_age_ms", json!(60_001)), 400, "bad-parameter"),
        ("x".repeat(64 * 1024 + 1), 413, "too-large"),
    ] {
        assert_refused(&served.query(&body).await, status, code);
    }
    let body = wanted(&["TX1"]).to_string();
    let path = "/v1/orders:query?wait_ms=1";
    let reply = send(served.address, "POST", path, body.as_bytes()).await;
    assert_refused(&reply, 400, "bad-parameter");
    assert!(served.questions().is_empty());
}

#[tokio::test]
async fn a_caller_who_leaves_is_counted_and_loses_no_terminal_answer() {
    let gate = Arc::new(Semaphore::new(0));
    let served = World {
        found: pending(),
        said: success(),
        gate: Arc::clone(&gate),
        ..World::default()
    }
    .serve()
    .await;
    let mut stream = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let body = wanted(&["TX1", "TX2"]).to_string();
    let request = plain_http::request("POST", "/v1/orders:query", body.as_bytes());
    stream.write_all(&request).await.unwrap();
    served.asked(2).await;
    drop(stream);
    while served.callers("left") < 2 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(2);
    let mut events = served.events.subscribe();
    events.wait_for(|events| events.len() == 2).await.unwrap();
}
