//! The verbs of the `[admin]` listener: what they append, what they refuse, and who may use them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use settled::api::admin::Admin;
use settled::api::desk::Desk;
use settled::api::desk::ports::{DeskPorts, Reloaded, TypeCount, Word};
use settled::api::health::Health;
use settled::api::listener::Listener;
use settled::api::ports::{AppendEvent, AskNow, Port, Ports, port};
use settled::api::{Api, MAX_FLIGHTS};
use settled::clock::Clock;
use settled::config;
use settled::domain::event::{Body, decode};
use settled::domain::order::OrderKey;
use settled::domain::record::Record;
use settled::domain::status::Terminal;
use settled::metrics::Metrics;
use settled::store::StoreError;
use settled::store::operator::{Exhausted, ExhaustedPage, Span, TypePause};
use settled::store::script::Found;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::plain_http::{Reply, exchange, get, send};
use crate::world::{
    SHARDS, Trouble, WINDOW, World, any, assert_refused, assert_says, assert_valid, name, pending,
    said, success,
};

const TOKEN: &str = "c4nary";

/// An `[admin]` listener over a scripted program.
struct Counter {
    address: SocketAddr,
    events: watch::Sender<Vec<AppendEvent>>,
    questions: watch::Sender<Vec<AskNow>>,
    /// What the view says of orders; of all others nothing.
    view: Arc<Mutex<BTreeMap<String, Found>>>,
    words: Arc<Mutex<Vec<Word>>>,
    stop: CancellationToken,
    _tasks: JoinSet<()>,
}

fn record(exhausted: bool, phase: u16) -> Found {
    let Found::Open { record, query } = pending() else {
        unreachable!("pending is open")
    };
    Found::Open {
        record: Record {
            exhausted,
            phase,
            bucket: 0,
            ..record
        },
        query,
    }
}

impl Counter {
    #[expect(clippy::too_many_lines, reason = "its ports, one by one")]
    async fn open(world: World, token: Option<&str>) -> Self {
        let events = watch::Sender::new(Vec::new());
        let questions = watch::Sender::new(Vec::new());
        let view = Arc::new(Mutex::new(BTreeMap::<String, Found>::new()));
        let words = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let finding = Arc::clone(&view);
        let down = world.trouble == Some(Trouble::ViewDown);
        let metrics = Metrics::new(Clock::start(), &[name("transfer")]).unwrap();
        let shared = Api {
            clock: Clock::start(),
            shards: SHARDS,
            window: WINDOW,
            deadlines: [(name("transfer"), world.deadline)].into(),
            tracker: TaskTracker::new(),
            metrics: Arc::clone(&metrics),
            max_flights: MAX_FLIGHTS,
            ports: Ports {
                find: port(move |(_, keys): (u16, Vec<OrderKey>)| {
                    let view = finding.lock().unwrap();
                    let find = |key: &OrderKey| view.get(&key.to_string()).cloned();
                    let found = keys.iter().map(|key| find(key).unwrap_or(Found::Unknown));
                    let found: Vec<_> = found.collect();
                    async move {
                        if down {
                            Err(StoreError::Unavailable("connection refused".into()))
                        } else {
                            Ok(found)
                        }
                    }
                }),
                read_result: port(|_| async { None }),
                ask_now: world.asking(questions.clone()),
                append_event: world.appending(events.clone()),
            },
        }
        .share();
        let ports = DeskPorts {
            exhausted: listing(&view),
            result_at: port(|(_, time)| async move { Ok((time < 2_000).then_some(time)) }),
            reload: port(|()| {
                std::future::ready(Ok(Reloaded {
                    added: settled::domain::order::TypeName::new("new")
                        .into_iter()
                        .collect(),
                    ..Reloaded::default()
                }))
            }),
            counts: port(|shard| {
                let count = TypeCount {
                    order_type: name("transfer"),
                    pending: 2,
                    exhausted: u64::from(shard),
                };
                async move { Ok(vec![count]) }
            }),
            pauses: port(|()| async { Vec::new() }),
            say: saying(&words),
        };
        let desk = Desk {
            shared,
            ports,
            token: token.map(|token| config::Secret::new(token.to_owned())),
            stop: stop.clone(),
        };
        let clock = Clock::start();
        let health = Health::new(clock, Arc::clone(&metrics));
        let listener = Listener::bind("admin", any()).await.unwrap();
        let address = listener.local_addr();
        let router = Admin { metrics, health }.router_with(desk);
        let mut tasks = JoinSet::new();
        let stopped = stop.clone();
        tasks.spawn(async move { listener.serve(router, stopped).await.unwrap() });
        Self {
            address,
            events,
            questions,
            view,
            words,
            stop,
            _tasks: tasks,
        }
    }

    /// Loopback, no token, nothing wrong.
    async fn plain() -> Self {
        Self::open(World::default(), None).await
    }

    fn knows(&self, order: &str, found: Found) {
        self.view.lock().unwrap().insert(order.to_owned(), found);
    }

    /// Orders that are exhausted in phase 0.
    fn knows_exhausted(&self, count: usize) {
        for n in 0..count {
            self.knows(&format!("transfer/TX{n:04}"), record(true, 0));
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        let reply = send(self.address, "POST", path, body.to_string().as_bytes()).await;
        if reply.status >= 400 {
            assert_valid("api-error", &reply.json());
        }
        reply
    }

    async fn get(&self, path: &str) -> Value {
        let reply = get(self.address, path).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    fn events(&self) -> Vec<AppendEvent> {
        self.events.borrow().clone()
    }
}

/// The exhausted orders of the view, each shard's by made-up offsets.
fn listing(
    view: &Arc<Mutex<BTreeMap<String, Found>>>,
) -> Port<(u16, Span, usize), Result<ExhaustedPage, StoreError>> {
    let view = Arc::clone(view);
    port(move |(shard, span, limit): (u16, Span, usize)| {
        let view = view.lock().unwrap();
        let mut page = ExhaustedPage::default();
        for (offset, (key, found)) in view.iter().enumerate() {
            let (key, offset) = (OrderKey::parse(key).unwrap(), offset as u64);
            let Found::Open { record, .. } = found else {
                continue;
            };
            let within = offset >= span.from && span.to.is_none_or(|to| offset < to);
            if !record.exhausted || key.shard(SHARDS) != shard || !within {
                continue;
            }
            let record = *record;
            page.orders.push(Exhausted {
                key,
                record,
                offset,
            });
            if page.orders.len() == limit {
                page.next = Some(offset + 1);
                break;
            }
        }
        async move { Ok(page) }
    })
}

fn saying(words: &Arc<Mutex<Vec<Word>>>) -> Port<Word, Result<TypePause, StoreError>> {
    let words = Arc::clone(words);
    port(move |word: Word| {
        words.lock().unwrap().push(word.clone());
        async move {
            Ok(TypePause {
                order_type: word.order_type,
                at: 7,
                paused: word.paused,
                actor: word.actor,
                reason: word.reason,
            })
        }
    })
}

fn with_who(body: &Value) -> Value {
    let mut body = body.clone();
    body["actor"] = json!("li.wei");
    body["reason"] = json!("bank letter 4471");
    body
}

#[tokio::test]
async fn a_requeue_is_an_event_with_the_next_phase_and_what_the_view_keeps() {
    let desk = Counter::plain().await;
    desk.knows("transfer/TX1", record(true, 2));
    let reply = desk
        .post("/v1/orders/transfer/TX1/requeue", &with_who(&json!({})))
        .await;
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_valid("admin-receipt", &reply.json());
    assert_says(
        &reply.json(),
        &json!({"type": "transfer", "reqNO": "TX1", "command": "requeue", "phase": 3, "offset": 41}),
    );
    let events = desk.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].shard, events[0].key.shard(SHARDS));
    assert_eq!(events[0].traceparent.as_deref(), Some("00-ab-cd-01"));
    let value: Value = serde_json::from_slice(&events[0].value).unwrap();
    assert_valid("event", &value);
    assert_says(
        &value,
        &json!({"command": "requeue", "phase": 3, "query": {"bank": "CMB"}, "source": "operator",
            "actor": "li.wei", "reason": "bank letter 4471"}),
    );
}

#[tokio::test]
async fn an_order_is_settled_by_hand_once_and_never_otherwise() {
    let desk = Counter::plain().await;
    desk.knows("transfer/TX1", record(true, 0));
    desk.knows("transfer/TX2", pending());
    desk.knows("gone/TX3", record(true, 0));
    for order in ["transfer/TX1", "transfer/TX2", "gone/TX3"] {
        let body = with_who(&json!({"status": 2, "rspNO": "B1"}));
        let reply = desk
            .post(&format!("/v1/orders/{order}/settle"), &body)
            .await;
        assert_eq!(reply.status, 202, "{order}: {reply:?}");
        assert_valid("admin-receipt", &reply.json());
    }
    let events = desk.events();
    assert_eq!(events.len(), 3);
    let event = decode(&events[0].value).unwrap();
    let Body::Terminal(said) = event.body else {
        panic!("{event:?}")
    };
    assert_eq!(
        (said.status, said.source.as_str()),
        (Terminal::Failure, "operator")
    );
    let settled = Found::Settled {
        status: Terminal::Failure,
        offset: 3,
    };
    desk.knows("transfer/TX1", settled);
    let settle = |status| with_who(&json!({"status": status}));
    let path = "/v1/orders/transfer/TX1/settle";
    let alike = desk.post(path, &settle("2")).await;
    assert_eq!(
        (alike.status, &alike.json()["already"]),
        (200, &json!(true))
    );
    assert_valid("admin-receipt", &alike.json());
    assert_refused(&desk.post(path, &settle("1")).await, 409, "settled");
    assert_eq!(desk.events().len(), 3);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_makes_no_sense_is_refused_and_nothing_is_appended() {
    let desk = Counter::plain().await;
    desk.knows("transfer/P", pending());
    desk.knows("transfer/X", record(true, 0));
    let requeue = with_who(&json!({}));
    let settle = with_who(&json!({"status": "1"}));
    let without = |body: &Value, field: &str| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let with = |body: &Value, field: &str, value: Value| {
        let mut body = body.clone();
        body[field] = value;
        body
    };
    let long = "x".repeat(129);
    for (path, body, status, code) in [
        (
            "/v1/orders/transfer/NONE/requeue",
            &requeue,
            404,
            "unknown-order",
        ),
        (
            "/v1/orders/transfer/NONE/settle",
            &settle,
            404,
            "unknown-order",
        ),
        ("/v1/orders/gone/X/requeue", &requeue, 404, "unknown-type"),
        (
            "/v1/orders/transfer/P/requeue",
            &requeue,
            409,
            "not-exhausted",
        ),
        (
            "/v1/orders/transfer/X/requeue",
            &without(&requeue, "actor"),
            400,
            "bad-request",
        ),
        (
            "/v1/orders/transfer/X/requeue",
            &without(&requeue, "reason"),
            400,
            "bad-request",
        ),
        (
            "/v1/orders/transfer/X/requeue",
            &with(&requeue, "phase", json!(1)),
            400,
            "bad-request",
        ),
        (
            "/v1/orders/transfer/X/settle",
            &without(&settle, "status"),
            400,
            "bad-request",
        ),
        (
            "/v1/orders/transfer/X/settle",
            &with(&settle, "status", json!("3")),
            400,
            "bad-request",
        ),
        (
            "/v1/orders/transfer/X/settle",
            &with(&settle, "actor", json!(long)),
            400,
            "bad-request",
        ),
        (
            "/v1/orders/transfer/X/settle",
            &with(&settle, "rspNO", json!(long)),
            400,
            "schema",
        ),
        ("/v1/orders/Transfer/X/settle", &settle, 400, "bad-request"),
        ("/v1/types/gone/pause", &requeue, 404, "unknown-type"),
        (
            "/v1/types/transfer/pause",
            &without(&requeue, "reason"),
            400,
            "bad-request",
        ),
    ] {
        assert_refused(&desk.post(path, body).await, status, code);
    }
    let misspelt = with(&requeue, "reasom", json!("x"));
    let told = desk.post("/v1/orders/transfer/X/requeue", &misspelt).await;
    let message = &told.json()["error"]["message"];
    assert_eq!(message, "\"reasom\": unknown field; did you mean reason?");
    assert!(desk.events().is_empty());
    assert!(desk.words.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_broker_or_a_view_that_is_away_is_said_and_may_be_tried_again() {
    for (trouble, code) in [
        (Trouble::BrokerDown, "kafka-unavailable"),
        (Trouble::ViewDown, "view-unavailable"),
    ] {
        let world = World {
            trouble: Some(trouble),
            ..World::default()
        };
        let desk = Counter::open(world, None).await;
        desk.knows("transfer/TX1", record(true, 0));
        let path = "/v1/orders/transfer/TX1/requeue";
        assert_refused(&desk.post(path, &with_who(&json!({}))).await, 503, code);
    }
}

#[tokio::test]
async fn an_operator_asks_as_a_caller_does_and_posts_any_event() {
    let world = World {
        said: success(),
        ..World::default()
    };
    let desk = Counter::open(world, None).await;
    desk.knows("transfer/TX1", record(true, 0));
    let told = desk.post("/v1/orders/transfer/TX1/ask", &json!({})).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_valid("api-order", &told.json());
    assert_says(
        &told.json(),
        &json!({"state": "settled", "status": "1", "final": true}),
    );
    assert_eq!(desk.questions.borrow().len(), 1);
    assert_eq!(desk.events().len(), 1);
    let event = said(Duration::ZERO).replace("\"4\"", "\"1\"");
    let posted = send(desk.address, "POST", "/v1/orders", event.as_bytes()).await;
    assert_eq!(posted.status, 202, "{posted:?}");
    assert_eq!(desk.events().len(), 2);
}

#[tokio::test]
async fn the_list_is_walked_to_its_end_page_by_page() {
    let desk = Counter::plain().await;
    desk.knows_exhausted(250);
    desk.knows("transfer/pending", pending());
    desk.knows("other/TX1", record(true, 0));
    let mut numbers = Vec::new();
    let mut after = String::new();
    for pages in 1.. {
        let page = desk
            .get(&format!("/v1/exhausted?type=transfer&limit=99{after}"))
            .await;
        assert_valid("admin-exhausted", &page);
        let orders = page["orders"].as_array().unwrap();
        numbers.extend(orders.iter().map(|order| order["reqNO"].to_string()));
        let Some(next) = page["next"].as_str() else {
            assert_eq!(pages, 3);
            break;
        };
        after = format!("&after={next}");
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 250);
    // Times become offsets: here a millisecond is an offset.
    let timed = "/v1/exhausted?from=1970-01-01T00:00:00.010Z&to=1970-01-01T00:00:00.020Z";
    let page = desk.get(timed).await;
    assert_eq!(page["orders"].as_array().unwrap().len(), 10);
    for (bad, said) in [
        ("typ=transfer", "did you mean type?"),
        ("limit=0", "limit: expected 1 to 1000"),
        ("after=7", "after: expected"),
        ("from=now", "from: \"now\""),
    ] {
        let reply = get(desk.address, &format!("/v1/exhausted?{bad}")).await;
        assert_refused(&reply, 400, "bad-request");
        assert!(
            reply.body.contains(&said.replace('"', "\\\"")),
            "{}",
            reply.body
        );
    }
}

#[tokio::test]
async fn what_was_shown_is_what_is_done() {
    let desk = Counter::plain().await;
    desk.knows_exhausted(250);
    let filter = json!({"type": "transfer"});
    let dry = json!({"filter": filter, "dry_run": true});
    let shown = desk.post("/v1/exhausted:requeue", &dry).await.json();
    assert_valid("admin-selection", &shown);
    assert_says(
        &shown,
        &json!({"selected": 250, "more": false, "command": "requeue"}),
    );
    assert!(desk.events().is_empty());
    let selection = shown["selection"].clone();
    // One more is exhausted, one is settled and one goes on since.
    desk.knows("transfer/LATE", record(true, 0));
    desk.knows("transfer/TX0001", record(true, 1));
    let settled = Found::Settled {
        status: Terminal::Success,
        offset: 3,
    };
    desk.knows("transfer/TX0000", settled);
    let run = with_who(&json!({"filter": filter, "dry_run": false, "selection": selection}));
    let done = desk.post("/v1/exhausted:requeue", &run).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_valid("admin-run", &done.json());
    assert_says(
        &done.json(),
        &json!({"selected": 250, "appended": 248, "failed": 0, "left": 0,
            "skipped": {"settled": 1, "moved_on": 1}}),
    );
    let events = desk.events();
    assert_eq!(events.len(), 248);
    assert!(
        events
            .iter()
            .all(|event| event.key.req_no.as_str() != "LATE")
    );
}

#[tokio::test]
async fn no_selection_is_carried_out_that_was_not_shown() {
    let desk = Counter::plain().await;
    desk.knows_exhausted(3);
    let other = Counter::plain().await;
    other.knows_exhausted(3);
    let dry = json!({"filter": {"type": "transfer"}});
    let shown = desk.post("/v1/exhausted:requeue", &dry).await.json();
    let run = |selection: &Value| {
        with_who(&json!({"filter": {"type": "transfer"}, "dry_run": false, "selection": selection}))
    };
    let path = "/v1/exhausted:requeue";
    let made_up = desk.post(path, &run(&json!("00"))).await;
    assert_refused(&made_up, 409, "selection-changed");
    let none = with_who(&json!({"dry_run": false}));
    assert_refused(&desk.post(path, &none).await, 400, "bad-request");
    // A requeue was shown, not a settle.
    let mut settle = run(&shown["selection"]);
    settle["status"] = json!("1");
    let settled = desk.post("/v1/exhausted:settle", &settle).await;
    assert_refused(&settled, 409, "selection-changed");
    // Another worker carries it out where it finds the same, and refuses where it does not.
    let run = run(&shown["selection"]);
    other.knows("transfer/LATE", record(true, 0));
    assert_refused(&other.post(path, &run).await, 409, "selection-changed");
    other.view.lock().unwrap().remove("transfer/LATE");
    let done = other.post(path, &run).await.json();
    assert_says(&done, &json!({"appended": 3, "left": 0}));
    assert!(desk.events().is_empty());
}

#[tokio::test]
async fn a_run_that_breaks_off_says_what_was_done() {
    let world = World {
        trouble: Some(Trouble::BrokerDown),
        ..World::default()
    };
    let desk = Counter::open(world, None).await;
    desk.knows_exhausted(150);
    let dry = json!({"filter": {"type": "transfer"}, "status": "2"});
    let shown = desk.post("/v1/exhausted:settle", &dry).await.json();
    let mut run = with_who(&dry);
    run["dry_run"] = json!(false);
    run["selection"] = shown["selection"].clone();
    let broken = desk.post("/v1/exhausted:settle", &run).await;
    assert_refused(&broken, 503, "kafka-unavailable");
    assert_valid("admin-run", &broken.json());
    let counts = json!({"selected": 150, "appended": 0, "failed": 100, "left": 150});
    assert_says(&broken.json(), &counts);

    // A worker that stops ends between two batches.
    let desk = Counter::plain().await;
    desk.knows_exhausted(150);
    let shown = desk.post("/v1/exhausted:settle", &dry).await.json();
    run["selection"] = shown["selection"].clone();
    let mut events = desk.events.subscribe();
    let stop = desk.stop.clone();
    let stopping = async {
        events.wait_for(|events| events.len() == 100).await.unwrap();
        stop.cancel();
    };
    let (stopped, ()) = tokio::join!(desk.post("/v1/exhausted:settle", &run), stopping);
    assert_refused(&stopped, 503, "stopping");
    assert_says(&stopped.json(), &json!({"appended": 100, "left": 50}));
}

#[tokio::test]
async fn types_are_told_for_the_whole_cluster_and_a_word_is_passed_on() {
    let desk = Counter::plain().await;
    let types = desk.get("/v1/types").await;
    assert_valid("admin-types", &types);
    let sum: u64 = (0..u64::from(SHARDS)).sum();
    assert_says(
        &types["types"][0],
        &json!({"type": "transfer", "paused": false, "pending": 32, "exhausted": sum}),
    );
    let paused = desk
        .post("/v1/types/transfer/pause", &with_who(&json!({})))
        .await;
    assert_eq!(paused.status, 200, "{paused:?}");
    assert_valid("admin-type", &paused.json());
    assert_says(&paused.json(), &json!({"paused": true, "actor": "li.wei"}));
    let resumed = desk
        .post("/v1/types/transfer/resume", &with_who(&json!({})))
        .await;
    assert_says(&resumed.json(), &json!({"paused": false}));
    let words = desk.words.lock().unwrap();
    assert_eq!(
        words.iter().map(|word| word.paused).collect::<Vec<_>>(),
        [true, false]
    );
}

#[tokio::test]
async fn a_reload_says_which_order_types_it_has_changed() {
    let desk = Counter::plain().await;
    let refused = desk.post("/v1/config:reload", &json!({})).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let said = desk.post("/v1/config:reload", &with_who(&json!({}))).await;
    assert_eq!(said.status, 200, "{said:?}");
    assert_valid("admin-reload", &said.json());
    assert_says(&said.json(), &json!({"added": ["new"], "changed": []}));
}

#[tokio::test]
async fn no_verb_works_without_the_token_and_health_never_needs_it() {
    let desk = Counter::open(World::default(), Some(TOKEN)).await;
    desk.knows("transfer/TX1", record(true, 0));
    let ask = async |method: &str, path: &str, header: &str| {
        let head = format!("{method} {path} HTTP/1.0\r\n{header}content-length: 2\r\n\r\n{{}}");
        exchange(desk.address, head.as_bytes()).await
    };
    let verbs = [
        ("GET", "/v1/exhausted"),
        ("GET", "/v1/types"),
        ("POST", "/v1/exhausted:requeue"),
        ("POST", "/v1/exhausted:settle"),
        ("POST", "/v1/orders"),
        ("POST", "/v1/orders/transfer/TX1/ask"),
        ("POST", "/v1/orders/transfer/TX1/requeue"),
        ("POST", "/v1/orders/transfer/TX1/settle"),
        ("POST", "/v1/types/transfer/pause"),
        ("POST", "/v1/types/transfer/resume"),
        ("POST", "/v1/config:reload"),
    ];
    for (method, path) in verbs {
        for header in [
            "",
            "authorization: Bearer c4nar\r\n",
            "authorization: c4nary\r\n",
        ] {
            let reply = ask(method, path, header).await;
            assert_refused(&reply, 401, "unauthorized");
            assert!(reply.head.contains("www-authenticate: bearer"), "{reply:?}");
            assert!(!reply.body.contains(TOKEN));
        }
        let right = ask(method, path, "authorization: Bearer c4nary\r\n").await;
        assert_ne!(right.status, 401, "{path}");
        let page = "authorization: Bearer c4nary\r\norigin: http://evil.example\r\n";
        assert_refused(&ask(method, path, page).await, 403, "from-a-page");
    }
    assert!(desk.events().is_empty());
    for path in ["/metrics", "/livez", "/readyz"] {
        let status = get(desk.address, path).await.status;
        assert!(status == 200 || status == 503, "{path}: {status}");
    }
}
