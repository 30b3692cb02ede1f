//! `GET /v1/orders/{type}/{reqNO}`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use settled::api::listener::Listener;
use settled::api::ports::{AppendError, AppendEvent, AskNow, Ports, Said, port};
use settled::api::{Api, FRESH};
use settled::clock::Clock;
use settled::domain::answer::{Answer, CouldNotAsk};
use settled::domain::order::OrderKey;
use settled::domain::result::{OrderResult, Outcome};
use settled::domain::status::Terminal;
use settled::store::script::Found;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::plain_http::{self, get, send};
use crate::world::{
    SHARDS, Trouble, WINDOW, World, any, assert_refused, assert_says, name, pending, success,
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
        fresh: Duration::from_mins(1),
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

fn settled_as_b1() -> World {
    World {
        found: Found::Settled {
            status: Terminal::Success,
            offset: 9,
        },
        result: Some(OrderResult {
            key: OrderKey::parse("transfer/TX1").unwrap(),
            phase: 0,
            outcome: Outcome::Settled {
                status: Terminal::Success,
                source: "inquiry".into(),
                rsp_no: Some("B1".into()),
                ret_cd: None,
                ret_msg: None,
            },
            asked: 3,
            first_seen: 1,
            at: 2,
            event: (7, 1),
            traceparent: None,
        }),
        ..World::default()
    }
}

#[tokio::test]
async fn any_number_of_concurrent_callers_cost_one_question() {
    const CALLERS: usize = 300;
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
}

#[tokio::test]
async fn an_answer_is_fresh_for_a_moment_only() {
    let served = World {
        fresh: Duration::ZERO,
        ..World::default()
    }
    .serve()
    .await;
    served.order("transfer/TX1").await;
    served.tracker.close();
    served.tracker.wait().await;
    served.order("transfer/TX1").await;
    assert_eq!(served.questions().len(), 2);
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
        deadline: Duration::ZERO,
        ..World::default()
    }
    .serve()
    .await;
    let body = served.order("transfer/TX1").await.json();
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
async fn open_questions_have_a_limit() {
    let gate = Arc::new(Semaphore::new(0));
    let served = World {
        gate: Arc::clone(&gate),
        max_flights: 1,
        ..World::default()
    }
    .serve()
    .await;
    let mut finds = served.finds.subscribe();
    let mut first = JoinSet::new();
    let address = served.address;
    first.spawn(async move { get(address, "/v1/orders/transfer/TX1").await });
    finds.wait_for(|n| *n == 1).await.unwrap();
    while served.questions().is_empty() {
        tokio::task::yield_now().await;
    }
    let refused = served.order("transfer/TX2").await;
    assert_refused(&refused, 503, "busy");
    assert!(refused.head.contains("retry-after: 1"), "{refused:?}");
    gate.add_permits(1);
    assert_eq!(first.join_next().await.unwrap().unwrap().status, 200);
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
    let asked = Arc::new(AtomicUsize::new(0));
    let ports = Ports {
        find: port(|_: (u16, OrderKey)| async { Ok(Found::Unknown) }),
        read_result: port(|_: (u16, u64)| async { None }),
        ask_now: {
            let asked = Arc::clone(&asked);
            port(move |_: AskNow| {
                let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                async move {
                    assert!(!first, "the first question panics");
                    Said {
                        answer: Answer::InProgress,
                        data: None,
                    }
                }
            })
        },
        append_event: port(|_: AppendEvent| async { Err(AppendError(String::new())) }),
    };
    let api = Api {
        clock: Clock::start(),
        shards: SHARDS,
        window: WINDOW,
        deadlines: [(name("transfer"), Duration::from_secs(1))].into(),
        ports,
        tracker: TaskTracker::new(),
        stop: CancellationToken::new(),
        max_flights: 1,
        fresh: FRESH,
    };
    let listener = Listener::bind("api", any()).await.unwrap();
    let address = listener.local_addr();
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(async move { listener.serve(api.router(), stop).await.unwrap() });
    let path = "/v1/orders/transfer/TX1";
    assert_refused(&get(address, path).await, 500, "internal");
    assert_eq!(get(address, path).await.status, 200);
}
