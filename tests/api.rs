//! The two HTTP listeners over real sockets on port 0. The rest of the program is closures here, so
//! that each answer of a neighbour can be produced at will.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

#[path = "support/plain_http.rs"]
mod plain_http;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plain_http::{Reply, get, send};
use serde_json::{Value, json};
use settled::api::admin::{self, Admin};
use settled::api::health::{Health, Neighbour};
use settled::api::listener::{BindError, Listener};
use settled::api::ports::{AppendError, AppendEvent, AskNow, Port, Ports, Said, port};
use settled::api::{Api, FRESH, MAX_FLIGHTS};
use settled::clock::Clock;
use settled::config;
use settled::domain::answer::{Answer, CouldNotAsk};
use settled::domain::order::{OrderKey, TypeName};
use settled::domain::record::Record;
use settled::domain::result::{OrderResult, Outcome};
use settled::domain::status::{Open, Terminal};
use settled::domain::wire_time;
use settled::kafka::At;
use settled::metrics::Metrics;
use settled::metrics::label::{Phase, StallReason};
use settled::store::StoreError;
use settled::store::script::Found;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SHARDS: u16 = 16;

const WINDOW: Duration = Duration::from_hours(24);

/// The rest of the program, scripted.
struct World {
    found: Found,
    result: Option<OrderResult>,
    said: Answer,
    trouble: Option<Trouble>,
    deadline: Duration,
    /// A question waits for a permit, and a read of a result.
    gate: Arc<Semaphore>,
    max_flights: usize,
    fresh: Duration,
}

/// Which neighbour fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    ViewDown,
    QuestionHangs,
    BrokerDown,
}

impl Default for World {
    fn default() -> Self {
        Self {
            found: Found::Unknown,
            result: None,
            said: Answer::InProgress,
            trouble: None,
            deadline: Duration::from_secs(30),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            max_flights: MAX_FLIGHTS,
            fresh: FRESH,
        }
    }
}

/// A running `[api]` listener and what it did to its neighbours.
struct Served {
    address: SocketAddr,
    finds: watch::Sender<usize>,
    reads: watch::Sender<usize>,
    questions: Arc<Mutex<Vec<AskNow>>>,
    events: watch::Sender<Vec<AppendEvent>>,
    tracker: TaskTracker,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl World {
    async fn serve(self) -> Served {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let finds = watch::Sender::new(0);
        let reads = watch::Sender::new(0);
        let questions = Arc::new(Mutex::new(Vec::new()));
        let events = watch::Sender::new(Vec::new());
        let api = Api {
            clock: Clock::start(),
            shards: SHARDS,
            window: WINDOW,
            deadlines: [(name("transfer"), self.deadline)].into(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            max_flights: self.max_flights,
            fresh: self.fresh,
            ports: Ports {
                find: self.finding(finds.clone()),
                read_result: self.reading(reads.clone()),
                ask_now: self.asking(Arc::clone(&questions)),
                append_event: self.appending(events.clone()),
            },
        };
        let listener = Listener::bind("api", any()).await.unwrap();
        let address = listener.local_addr();
        let mut tasks = JoinSet::new();
        let (router, stopped) = (api.router(), stop.clone());
        tasks.spawn(async move { listener.serve(router, stopped).await.unwrap() });
        Served {
            address,
            finds,
            reads,
            questions,
            events,
            tracker,
            stop,
            tasks,
        }
    }

    fn has(&self, trouble: Trouble) -> bool {
        self.trouble == Some(trouble)
    }

    fn finding(
        &self,
        finds: watch::Sender<usize>,
    ) -> Port<(u16, OrderKey), Result<Found, StoreError>> {
        let (found, down) = (self.found.clone(), self.has(Trouble::ViewDown));
        port(move |_| {
            finds.send_modify(|n| *n += 1);
            let found = if down {
                Err(StoreError::Unavailable("connection refused".into()))
            } else {
                Ok(found.clone())
            };
            async move { found }
        })
    }

    fn reading(&self, reads: watch::Sender<usize>) -> Port<(u16, u64), Option<OrderResult>> {
        let (result, gate) = (self.result.clone(), Arc::clone(&self.gate));
        port(move |_| {
            reads.send_modify(|n| *n += 1);
            let (result, gate) = (result.clone(), Arc::clone(&gate));
            async move {
                gate.acquire().await.unwrap().forget();
                result
            }
        })
    }

    fn asking(&self, questions: Arc<Mutex<Vec<AskNow>>>) -> Port<AskNow, Said> {
        let (said, gate) = (self.said.clone(), Arc::clone(&self.gate));
        let hangs = self.has(Trouble::QuestionHangs);
        port(move |question| {
            questions.lock().unwrap().push(question);
            let (said, gate) = (said.clone(), Arc::clone(&gate));
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                gate.acquire().await.unwrap().forget();
                Said {
                    answer: said,
                    data: serde_json::from_str(r#"{"amount":"1.00"}"#).ok(),
                }
            }
        })
    }

    fn appending(
        &self,
        events: watch::Sender<Vec<AppendEvent>>,
    ) -> Port<AppendEvent, Result<At, AppendError>> {
        let down = self.has(Trouble::BrokerDown);
        port(move |event: AppendEvent| {
            let at = At {
                partition: event.shard,
                offset: 41,
            };
            events.send_modify(|events| events.push(event));
            async move {
                if down {
                    Err(AppendError("timed out".into()))
                } else {
                    Ok(at)
                }
            }
        })
    }
}

impl Served {
    async fn order(&self, order: &str) -> Reply {
        let reply = get(self.address, &format!("/v1/orders/{order}")).await;
        if reply.status == 200 {
            assert_valid("api-order", &reply.json());
        }
        reply
    }

    async fn post(&self, body: &str) -> Reply {
        send(self.address, "POST", "/v1/orders", body.as_bytes()).await
    }

    fn questions(&self) -> Vec<AskNow> {
        self.questions.lock().unwrap().clone()
    }

    fn events(&self) -> Vec<AppendEvent> {
        self.events.borrow().clone()
    }
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The time of so long ago, on the wire.
fn ago(age: Duration) -> String {
    wire_time::format(Clock::start().wall() - age.as_millis() as u64)
}

/// An event of so long ago.
fn said(age: Duration) -> String {
    let at = ago(age);
    format!(
        r#"{{"v":1,"type":"transfer","reqNO":"TX1","status":"4","at":"{at}","source":"pay-core"}}"#
    )
}

fn name(text: &str) -> TypeName {
    TypeName::new(text).unwrap()
}

fn success() -> Answer {
    Answer::Terminal {
        status: Terminal::Success,
        rsp_no: Some("B88213".into()),
        ret_cd: Some("0000".into()),
        ret_msg: Some("ok".into()),
    }
}

fn pending() -> Found {
    let record = Record {
        claim: 3,
        bucket: 9,
        leased: false,
        exhausted: false,
        has_query: true,
        last: Open::InProgress,
        due: 1_800_000_000_000,
        phase: 0,
        asked: 2,
        drawn_in_progress: 2,
        drawn_unknown: 0,
        streak: 0,
        first_seen: 1_795_417_200_123,
        event_offset: 5,
    };
    Found::Open {
        record,
        query: Some(r#"{"query":{"bank":"CMB"},"traceparent":"00-ab-cd-01"}"#.into()),
    }
}

/// The fields of `body` that `expected` names.
fn assert_says(body: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(
            body.get(field).unwrap_or(&Value::Null),
            value,
            "{field} in {body}"
        );
    }
}

/// `body` as `schemas/` describes it.
fn assert_valid(schema: &str, body: &Value) {
    let root = env!("CARGO_MANIFEST_DIR");
    let file = std::fs::read_to_string(format!("{root}/schemas/{schema}.schema.json")).unwrap();
    let schema = serde_json::from_str(&file).unwrap();
    let faults = jsonschema::validate(&schema, body);
    assert!(faults.is_ok(), "{faults:?}: {body}");
}

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_valid("api-error", &reply.json());
    let error = &reply.json()["error"];
    assert_eq!(error["code"], code, "{reply:?}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "{reply:?}");
}

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
async fn an_event_is_accepted_after_the_brokers_acknowledgement() {
    let served = World::default().serve().await;
    let event = format!(
        r#"{{"v":1,"type":"transfer","reqNO":"TX1","status":"3","at":"{}","source":"pay-core","query":{{"bank":"CMB"}}}}"#,
        ago(Duration::ZERO)
    );
    let reply = served.post(&event).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_valid("api-accepted", &reply.json());
    let key = OrderKey::parse("transfer/TX1").unwrap();
    assert_says(
        &reply.json(),
        &json!({"v": 1, "type": "transfer", "reqNO": "TX1", "partition": key.shard(SHARDS), "offset": 41}),
    );
    let events = served.events();
    assert_eq!(events.len(), 1);
    assert_eq!(String::from_utf8_lossy(&events[0].value), event);
    assert_eq!(events[0].key, key);
}

#[tokio::test]
async fn an_event_that_is_not_taken_here_is_refused_with_the_way() {
    let served = World::default().serve().await;
    let at = format!(r#""at":"{}","source":"pay-core""#, ago(Duration::ZERO));
    let large = "x".repeat(64 * 1024 + 1);
    for (body, status, code) in [
        (
            format!(r#"{{"v":1,"type":"transfer","reqNO":"1","status":"1",{at}}}"#),
            403,
            "not-here",
        ),
        (
            format!(
                r#"{{"v":1,"type":"transfer","reqNO":"1","command":"settle","status":"2",{at},"actor":"li.wei","reason":"letter"}}"#
            ),
            403,
            "not-here",
        ),
        (
            format!(r#"{{"v":1,"type":"refund","reqNO":"1","status":"3",{at}}}"#),
            404,
            "unknown-type",
        ),
        (
            format!(r#"{{"v":1,"type":"transfer","reqNO":1,"status":"3",{at}}}"#),
            400,
            "bad-number",
        ),
        (
            format!(r#"{{"v":1,"type":"Transfer","reqNO":"1","status":"3",{at}}}"#),
            400,
            "bad-type",
        ),
        (
            format!(r#"{{"v":1,"type":"transfer","reqNO":"1","status":"9",{at}}}"#),
            400,
            "schema",
        ),
        ("<order/>".to_owned(), 400, "not-json"),
        (large, 413, "too-large"),
    ] {
        assert_refused(&served.post(&body).await, status, code);
    }
    assert!(served.events().is_empty());
}

#[tokio::test]
async fn a_broker_that_is_down_is_503_for_an_event() {
    let served = World {
        trouble: Some(Trouble::BrokerDown),
        ..World::default()
    }
    .serve()
    .await;
    assert_refused(
        &served.post(&said(Duration::ZERO)).await,
        503,
        "kafka-unavailable",
    );
}

#[tokio::test]
async fn an_event_that_would_become_a_dead_letter_as_stale_is_refused() {
    let served = World::default().serve().await;
    // It may wait for the broker's acknowledgement, and be appended only then.
    let waits = Duration::from_secs(10);
    for age in [WINDOW * 2, WINDOW, WINDOW.saturating_sub(waits)] {
        let reply = served.post(&said(age + Duration::from_millis(1))).await;
        assert_refused(&reply, 400, "stale");
        assert!(reply.body.contains("remembered for 86400 s"), "{reply:?}");
    }
    assert!(served.events().is_empty());
    let in_time = WINDOW.saturating_sub(Duration::from_mins(10));
    let in_time = served.post(&said(in_time)).await;
    assert_eq!(in_time.status, 202, "{in_time:?}");
}

#[tokio::test]
async fn a_stop_lets_a_begun_request_end() {
    let gate = Arc::new(Semaphore::new(0));
    let mut served = World {
        found: pending(),
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
    served.stop.cancel();
    gate.add_permits(1);
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    assert_eq!(plain_http::parse(&reply).status, 200);
    served.tasks.join_next().await.unwrap().unwrap();
    served.tracker.close();
    served.tracker.wait().await;
    assert!(
        tokio::net::TcpStream::connect(served.address)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_port_in_use_fails_the_start_with_one_line() {
    let taken = Listener::bind("api", any()).await.unwrap();
    let error = Listener::bind("admin", taken.local_addr())
        .await
        .unwrap_err();
    let line = error.to_string();
    assert!(
        line.starts_with(&format!("[admin] listen = \"{}\"", taken.local_addr())),
        "{line}"
    );
    assert!(!line.contains('\n'), "{line}");
}

#[tokio::test]
async fn the_admin_listener_leaves_loopback_only_with_a_token() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let without = config::Admin {
        listen,
        token: None,
    };
    let refused = admin::bind(&without).await.unwrap_err();
    assert!(matches!(refused, BindError::Open { address } if address == listen));
    let with = config::Admin {
        listen,
        token: Some(config::Secret::new("hush".into())),
    };
    admin::bind(&with).await.unwrap();
}

#[tokio::test]
async fn readiness_lists_what_does_not_work() {
    let clock = Clock::start();
    let metrics = Metrics::new(clock, &[name("transfer")]).unwrap();
    let health = Health::new(clock, Arc::clone(&metrics));
    let config = config::Admin {
        listen: any(),
        token: None,
    };
    let listener = admin::bind(&config).await.unwrap();
    let address = listener.local_addr();
    let admin = Admin {
        metrics: Arc::clone(&metrics),
        health: Arc::clone(&health),
    };
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let stopped = stop.clone();
    tasks.spawn(async move { listener.serve(admin.router(), stopped).await.unwrap() });

    let reasons = async || {
        let reply = get(address, "/readyz").await;
        let body = reply.json();
        assert_valid("readiness", &body);
        assert_eq!(reply.status, if body["ready"] == true { 200 } else { 503 });
        serde_json::from_value::<Vec<String>>(body["reasons"].clone()).unwrap()
    };
    assert_eq!(reasons().await.len(), 3);
    let posted = send(address, "POST", "/readyz", b"").await;
    assert_refused(&posted, 405, "method-not-allowed");
    health.reached(Neighbour::Kafka);
    health.reached(Neighbour::Redis);
    health.joined();
    assert_eq!(reasons().await, Vec::<String>::new());
    let shard = metrics.shard(3);
    assert_eq!(reasons().await, ["shard 3 is assigned"]);
    shard.stall(StallReason::OutOfRange);
    assert_eq!(reasons().await, ["shard 3 is stalled out_of_range"]);
    shard.set_phase(Phase::Open);
    shard.tick(clock.monotonic());
    assert_eq!(reasons().await, Vec::<String>::new());
    health.lost(Neighbour::Redis);
    assert!(reasons().await[0].starts_with("Redis has not answered for "));

    assert_eq!(get(address, "/livez").await.status, 200);
    let page = get(address, "/metrics").await;
    assert!(page.head.contains("text/plain; version=0.0.4"), "{page:?}");
    assert!(page.body.contains("settled_shards_owned 1\n"), "{page:?}");
    assert_refused(&get(address, "/v1/orders").await, 404, "not-found");
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
