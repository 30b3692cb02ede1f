//! The rest of the program, scripted, behind a running `[api]` listener.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use settled::api::listener::Listener;
use settled::api::ports::{AppendError, AppendEvent, AskNow, Port, Ports, Said, port};
use settled::api::{Api, FRESH, MAX_FLIGHTS};
use settled::clock::Clock;
use settled::domain::answer::Answer;
use settled::domain::order::{OrderKey, TypeName};
use settled::domain::record::Record;
use settled::domain::result::OrderResult;
use settled::domain::status::{Open, Terminal};
use settled::domain::wire_time;
use settled::kafka::At;
use settled::store::StoreError;
use settled::store::script::Found;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::plain_http::{Reply, get, send};

pub const SHARDS: u16 = 16;

pub const WINDOW: Duration = Duration::from_hours(24);

/// The rest of the program, scripted.
pub struct World {
    pub found: Found,
    pub result: Option<OrderResult>,
    pub said: Answer,
    pub trouble: Option<Trouble>,
    pub deadline: Duration,
    /// A question waits for a permit, and a read of a result.
    pub gate: Arc<Semaphore>,
    pub max_flights: usize,
    pub fresh: Duration,
}

/// Which neighbour fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
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
pub struct Served {
    pub address: SocketAddr,
    pub finds: watch::Sender<usize>,
    pub reads: watch::Sender<usize>,
    pub questions: Arc<Mutex<Vec<AskNow>>>,
    pub events: watch::Sender<Vec<AppendEvent>>,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
    pub tasks: JoinSet<()>,
}

impl World {
    pub async fn serve(self) -> Served {
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
    pub async fn order(&self, order: &str) -> Reply {
        let reply = get(self.address, &format!("/v1/orders/{order}")).await;
        if reply.status == 200 {
            assert_valid("api-order", &reply.json());
        }
        reply
    }

    pub async fn post(&self, body: &str) -> Reply {
        send(self.address, "POST", "/v1/orders", body.as_bytes()).await
    }

    pub fn questions(&self) -> Vec<AskNow> {
        self.questions.lock().unwrap().clone()
    }

    pub fn events(&self) -> Vec<AppendEvent> {
        self.events.borrow().clone()
    }
}

pub fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// The time of so long ago, on the wire.
pub fn ago(age: Duration) -> String {
    wire_time::format(Clock::start().wall() - age.as_millis() as u64)
}

/// An event of so long ago.
pub fn said(age: Duration) -> String {
    let at = ago(age);
    format!(
        r#"{{"v":1,"type":"transfer","reqNO":"TX1","status":"4","at":"{at}","source":"pay-core"}}"#
    )
}

pub fn name(text: &str) -> TypeName {
    TypeName::new(text).unwrap()
}

pub fn success() -> Answer {
    Answer::Terminal {
        status: Terminal::Success,
        rsp_no: Some("B88213".into()),
        ret_cd: Some("0000".into()),
        ret_msg: Some("ok".into()),
    }
}

pub fn pending() -> Found {
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
pub fn assert_says(body: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(
            body.get(field).unwrap_or(&Value::Null),
            value,
            "{field} in {body}"
        );
    }
}

/// `body` as `schemas/` describes it.
pub fn assert_valid(schema: &str, body: &Value) {
    let root = env!("CARGO_MANIFEST_DIR");
    let file = std::fs::read_to_string(format!("{root}/schemas/{schema}.schema.json")).unwrap();
    let schema = serde_json::from_str(&file).unwrap();
    let faults = jsonschema::validate(&schema, body);
    assert!(faults.is_ok(), "{faults:?}: {body}");
}

pub fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_valid("api-error", &reply.json());
    let error = &reply.json()["error"];
    assert_eq!(error["code"], code, "{reply:?}");
    assert!(!error["message"].as_str().unwrap().is_empty(), "{reply:?}");
}
