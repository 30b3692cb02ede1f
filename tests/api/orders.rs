//! `GET /v1/orders/{type}/{reqNO}`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use settled::domain::answer::{Answer, CouldNotAsk};
use settled::domain::order::OrderKey;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::plain_http::{self, get, send};
use crate::world::{
    SHARDS, Trouble, World, assert_refused, assert_says, pending, settled_as_b1, success,
};

#[tokio::test]
async fn a_settled_order_is_told_from_the_view_with_what_its_result_adds() {
    let served = settled_as_b1().serve().await;
    let reply = served.order("transfer/TX1").await;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("cache-control: no-store"), "{reply:?}");
    assert_says(
        &reply.json(),
        &json!({"v": 1, "type": "transfer", "reqNO": "TX1", "known": true, "state": "settled",
            "status": "1", "final": true, "fresh": false, "source": "view", "rspNO": "B1", "asked": 3}),
    );
    // The record at that offset is another order's: nothing of it may be told.
    let other = served.order("transfer/TX2").await.json();
    assert_says(
        &other,
        &json!({"status": "1", "final": true, "rspNO": null}),
    );
    assert!(served.questions().is_empty());
}

#[tokio::test]
async fn a_settled_status_does_not_wait_for_the_results_log() {
    let gate = Arc::new(Semaphore::new(0));
    let served = World {
        gate: Arc::clone(&gate),
        ..settled_as_b1()
    }
    .serve()
    .await;
    let without = json!({"state": "settled", "status": "1", "final": true, "rspNO": null});
    for _ in 0..3 {
        assert_says(&served.order("transfer/TX1").await.json(), &without);
    }
    // Nor is it read again by each who did not wait.
    gate.add_permits(1);
    let with = json!({"state": "settled", "status": "1", "final": true, "rspNO": "B1"});
    assert_says(&served.order("transfer/TX1").await.json(), &with);
    assert_eq!(*served.reads.borrow(), 1);
}

#[tokio::test]
async fn any_number_of_concurrent_callers_cost_one_question() {
    const CALLERS: usize = 1_000;
    let gate = Arc::new(Semaphore::new(0));
    let served = World {
        found: pending(),
        gate: Arc::clone(&gate),
        ..World::default()
    }
    .serve()
    .await;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let address = served.address;
        callers.spawn(async move { get(address, "/v1/orders/transfer/TX1").await });
    }
    let mut finds = served.finds.subscribe();
    finds.wait_for(|n| *n == CALLERS).await.unwrap();
    gate.add_permits(CALLERS);
    let replies = callers.join_all().await;
    assert_eq!(replies.len(), CALLERS);
    for reply in replies {
        assert_says(
            &reply.json(),
            &json!({"state": "pending", "status": "3", "final": false, "fresh": true,
                "source": "inquiry", "asked": 2, "known": true, "data": {"amount": "1.00"}}),
        );
    }
    let questions = served.questions();
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0].query.as_deref(), Some(r#"{"bank":"CMB"}"#));
    assert_eq!(questions[0].traceparent.as_deref(), Some("00-ab-cd-01"));
    // Who came a moment after the landing found it kept.
    let others = served.callers("shared") + served.callers("kept");
    assert_eq!((served.callers("asked"), others), (1, CALLERS as u64 - 1));
    println!("figure: on demand: {CALLERS} concurrent callers of one order: 1 question");
}

#[tokio::test]
async fn a_terminal_answer_is_in_the_log_before_it_is_final() {
    let served = World {
        found: pending(),
        said: success(),
        ..World::default()
    }
    .serve()
    .await;
    let body = served.order("transfer/TX1").await.json();
    assert_says(
        &body,
        &json!({"state": "settled", "status": "1", "final": true, "fresh": true, "rspNO": "B88213",
            "retCd": "0000", "retMsg": "ok", "reason": null}),
    );
    let events = served.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].key, OrderKey::parse("transfer/TX1").unwrap());
    assert_eq!(events[0].shard, events[0].key.shard(SHARDS));
    let event: Value = serde_json::from_slice(&events[0].value).unwrap();
    assert_says(
        &event,
        &json!({"v": 1, "type": "transfer", "reqNO": "TX1", "status": "1", "source": "api",
            "rspNO": "B88213", "retCd": "0000", "retMsg": "ok"}),
    );
    assert!(event.get("data").is_none(), "{event}");
}

#[tokio::test]
async fn an_answer_that_the_broker_did_not_take_is_not_final() {
    let served = World {
        found: pending(),
        said: success(),
        trouble: Some(Trouble::BrokerDown),
        ..World::default()
    }
    .serve()
    .await;
    let body = served.order("transfer/TX1").await.json();
    assert_says(
        &body,
        &json!({"state": "pending", "status": "1", "final": false, "fresh": true}),
    );
    assert!(body["reason"].is_string(), "{body}");
}

#[tokio::test]
async fn an_order_that_the_view_does_not_know_is_answered_and_not_published() {
    let served = World {
        said: success(),
        ..World::default()
    }
    .serve()
    .await;
    let body = served.order("transfer/TX1").await.json();
    assert_says(
        &body,
        &json!({"known": false, "state": "unknown", "status": "1", "final": false, "fresh": true,
            // A view that is folded again does not know every order that had an event.
            "reason": "no event of this order is known at this moment; nothing is recorded"}),
    );
    assert!(served.events().is_empty());
}

#[tokio::test]
async fn an_owner_that_cannot_be_asked_leaves_what_the_view_knows() {
    let served = World {
        found: pending(),
        said: Answer::CouldNotAsk {
            why: CouldNotAsk::Unreachable,
            retry_after: None,
        },
        ..World::default()
    }
    .serve()
    .await;
    let body = served.order("transfer/TX1").await.json();
    assert_says(
        &body,
        &json!({"known": true, "state": "pending", "status": "3", "final": false, "fresh": false,
            "source": "view", "reason": "the owner could not be asked: not reachable"}),
    );
}

#[tokio::test]
async fn an_engine_that_never_answers_is_given_up_at_the_deadline() {
    let served = World {
        found: pending(),
        trouble: Some(Trouble::QuestionHangs),
        deadline: Duration::from_millis(20),
        ..World::default()
    }
    .serve()
    .await;
    let body = served.order("transfer/TX1?wait_ms=20000").await.json();
    assert_says(
        &body,
        &json!({"fresh": false, "reason": "the owner could not be asked: no answer in time"}),
    );
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_lose_a_terminal_answer() {
    let gate = Arc::new(Semaphore::new(0));
    let served = World {
        found: pending(),
        said: success(),
        gate: Arc::clone(&gate),
        ..World::default()
    }
    .serve()
    .await;
    let mut finds = served.finds.subscribe();
    let mut stream = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let request = plain_http::request("GET", "/v1/orders/transfer/TX1", b"");
    stream.write_all(&request).await.unwrap();
    finds.wait_for(|n| *n == 1).await.unwrap();
    drop(stream);
    // A second request on its own connection shows that the server has gone on.
    assert_refused(&get(served.address, "/").await, 404, "not-found");
    gate.add_permits(1);
    let mut events = served.events.subscribe();
    events.wait_for(|events| events.len() == 1).await.unwrap();
}

#[tokio::test]
async fn over_the_limit_of_open_questions_callers_get_what_is_known() {
    let gate = Arc::new(Semaphore::new(0));
    let served = World {
        found: pending(),
        gate: Arc::clone(&gate),
        max_flights: 1,
        ..World::default()
    }
    .serve()
    .await;
    let mut first = JoinSet::new();
    let address = served.address;
    first.spawn(async move { get(address, "/v1/orders/transfer/TX1").await });
    served.asked(1).await;
    let over = served.order("transfer/TX2").await.json();
    assert_says(
        &over,
        &json!({"known": true, "state": "pending", "status": "3", "final": false, "fresh": false,
            "source": "view", "reason": "too many questions are open at this moment; ask again"}),
    );
    assert_eq!(served.callers("busy"), 1);
    assert_eq!(served.questions().len(), 1, "nothing queues");
    gate.add_permits(1);
    let first = first.join_next().await.unwrap().unwrap().json();
    assert_says(&first, &json!({"fresh": true}));
}

#[tokio::test]
async fn what_cannot_be_served_says_why_in_json() {
    let served = World::default().serve().await;
    for (path, status, code) in [
        ("/v1/orders/Transfer/TX1", 400, "bad-type"),
        ("/v1/orders/transfer/a%2Fb", 400, "bad-number"),
        ("/v1/orders/transfer/%FF", 400, "bad-path"),
        ("/v1/orders/refund/TX1", 404, "unknown-type"),
        ("/v1/orders/transfer", 404, "not-found"),
        ("/metrics", 404, "not-found"),
        ("/v1/orders", 405, "method-not-allowed"),
    ] {
        assert_refused(&get(served.address, path).await, status, code);
    }
    let deleted = send(served.address, "DELETE", "/v1/orders/transfer/TX1", b"").await;
    assert_refused(&deleted, 405, "method-not-allowed");
    assert!(served.questions().is_empty());
}

#[tokio::test]
async fn a_view_that_does_not_answer_is_503_not_an_unknown_order() {
    let served = World {
        trouble: Some(Trouble::ViewDown),
        ..World::default()
    }
    .serve()
    .await;
    let reply = served.order("transfer/TX1").await;
    assert_refused(&reply, 503, "view-unavailable");
    assert!(served.questions().is_empty());
}

#[tokio::test]
async fn a_question_that_panics_is_an_error_and_gives_its_place_back() {
    let served = World {
        trouble: Some(Trouble::FirstQuestionPanics),
        max_flights: 1,
        ..World::default()
    }
    .serve()
    .await;
    assert_refused(&served.order("transfer/TX1").await, 500, "internal");
    assert_eq!(served.order("transfer/TX1").await.status, 200);
    let open = "settled_caller_questions_open{type=\"transfer\"}";
    assert_eq!(served.series(open), 0);
    assert_eq!(served.callers("broken"), 1);
}

#[tokio::test]
async fn callers_of_different_orders_do_not_wait_on_each_other() {
    let served = World {
        found: pending(),
        trouble: Some(Trouble::QuestionsHangAbout("TX1")),
        ..World::default()
    }
    .serve()
    .await;
    let (address, mut hanging) = (served.address, JoinSet::new());
    hanging.spawn(async move { get(address, "/v1/orders/transfer/TX1").await });
    served.asked(1).await;
    let open = "settled_caller_questions_open{type=\"transfer\"}";
    assert_eq!(served.series(open), 1);
    let other = served.order("transfer/TX2").await.json();
    assert_says(&other, &json!({"fresh": true, "status": "3"}));
    assert!(hanging.try_join_next().is_none(), "it hangs still");
}
