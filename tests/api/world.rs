//! The rest of the program, scripted, behind a running `[api]` listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use settled::api::listener::Listener;
use settled::api::ports::{AppendError, AppendEvent, AskNow, Port, Ports, Said, port};
use settled::api::{Api, MAX_FLIGHTS};
use settled::clock::Clock;
use settled::domain::answer::Answer;
use settled::domain::order::{OrderKey, TypeName};
use settled::domain::record::Record;
use settled::domain::result::{OrderResult, Outcome};
use settled::domain::status::{Open, Terminal};
use settled::domain::wire_time;
use settled::kafka::At;
use settled::metrics::Metrics;
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
    /// Orders of which the view knows something else, by their number.
    pub others: BTreeMap<&'static str, Found>,
    pub result: Option<OrderResult>,
    pub said: Answer,
    pub took: Duration,
    pub trouble: Option<Trouble>,
    pub deadline: Duration,
    /// A question waits for a permit, and a read of a result.
    pub gate: Arc<Semaphore>,
    pub max_flights: usize,
}

/// Which neighbour fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    ViewDown,
    ViewHangs,
    QuestionHangs,
    /// Those about this order hang.
    QuestionsHangAbout(&'static str),
    FirstQuestionPanics,
    BrokerDown,
    BrokerHangs,
}

impl Default for World {
    fn default() -> Self {
        Self {
            found: Found::Unknown,
            others: BTreeMap::new(),
            result: None,
            said: Answer::InProgress,
            took: Duration::from_millis(5),
            trouble: None,
            deadline: Duration::from_secs(30),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            max_flights: MAX_FLIGHTS,
        }
    }
}

/// A running `[api]` listener and what it did to its neighbours.
pub struct Served {
    pub address: SocketAddr,
    /// Orders looked for in the view, and in how many looks.
    pub finds: watch::Sender<usize>,
    pub looks: watch::Sender<usize>,
    pub reads: watch::Sender<usize>,
    pub questions: watch::Sender<Vec<AskNow>>,
    pub events: watch::Sender<Vec<AppendEvent>>,
    pub metrics: Arc<Metrics>,
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
    pub tasks: JoinSet<()>,
}

impl World {
    pub async fn serve(self) -> Served {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let (finds, looks) = (watch::Sender::new(0), watch::Sender::new(0));
        let reads = watch::Sender::new(0);
        let questions = watch::Sender::new(Vec::new());
        let events = watch::Sender::new(Vec::new());
        let metrics = Metrics::new(Clock::start(), &[name("transfer")]).unwrap();
        let api = Api {
            clock: Clock::start(),
            shards: SHARDS,
            window: WINDOW,
            deadlines: [(name("transfer"), self.deadline)].into(),
            tracker: tracker.clone(),
            metrics: Arc::clone(&metrics),
            max_flights: self.max_flights,
            ports: Ports {
                find: self.finding(finds.clone(), looks.clone()),
                read_result: self.reading(reads.clone()),
                ask_now: self.asking(questions.clone()),
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
            looks,
            reads,
            questions,
            events,
            metrics,
            tracker,
            stop,
            tasks,
        }
    }

    fn finding(
        &self,
        finds: watch::Sender<usize>,
        looks: watch::Sender<usize>,
    ) -> Port<(u16, Vec<OrderKey>), Result<Vec<Found>, StoreError>> {
        let (found, others, trouble) = (self.found.clone(), self.others.clone(), self.trouble);
        port(move |(shard, keys): (u16, Vec<OrderKey>)| {
            assert!(keys.iter().all(|key| key.shard(SHARDS) == shard));
            finds.send_modify(|n| *n += keys.len());
            looks.send_modify(|n| *n += 1);
            let found = keys
                .iter()
                .map(|key| others.get(key.req_no.as_str()).unwrap_or(&found).clone())
                .collect();
            async move {
                match trouble {
                    Some(Trouble::ViewDown) => {
                        Err(StoreError::Unavailable("connection refused".into()))
                    }
                    Some(Trouble::ViewHangs) => std::future::pending().await,
                    _ => Ok(found),
                }
            }
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

    pub fn asking(&self, questions: watch::Sender<Vec<AskNow>>) -> Port<AskNow, Said> {
        let (said, gate, took) = (self.said.clone(), Arc::clone(&self.gate), self.took);
        let trouble = self.trouble;
        port(move |question: AskNow| {
            let about = question.key.req_no;
            questions.send_modify(|questions| questions.push(question));
            let first = questions.borrow().len() == 1;
            let (said, gate) = (said.clone(), Arc::clone(&gate));
            async move {
                match trouble {
                    Some(Trouble::QuestionHangs) => std::future::pending().await,
                    Some(Trouble::QuestionsHangAbout(order)) if about.as_str() == order => {
                        std::future::pending::<()>().await;
                    }
                    Some(Trouble::FirstQuestionPanics) => assert!(!first, "the first one panics"),
                    _ => {}
                }
                gate.acquire().await.unwrap().forget();
                Said {
                    answer: said,
                    data: serde_json::from_str(r#"{"amount":"1.00"}"#).ok(),
                    took,
                }
            }
        })
    }

    pub fn appending(
        &self,
        events: watch::Sender<Vec<AppendEvent>>,
    ) -> Port<AppendEvent, Result<At, AppendError>> {
        let trouble = self.trouble;
        port(move |event: AppendEvent| {
            let at = At {
                partition: event.shard,
                offset: 41,
            };
            events.send_modify(|events| events.push(event));
            async move {
                match trouble {
                    Some(Trouble::BrokerDown) => Err(AppendError("timed out".into())),
                    Some(Trouble::BrokerHangs) => std::future::pending().await,
                    _ => Ok(at),
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

    /// Many at once.
    pub async fn query(&self, body: &str) -> Reply {
        let reply = send(self.address, "POST", "/v1/orders:query", body.as_bytes()).await;
        if reply.status == 200 {
            assert_valid("api-answers", &reply.json());
            for answer in reply.json()["answers"].as_array().unwrap() {
                match answer.get("error") {
                    Some(_) => assert_valid("api-error", answer),
                    None => assert_valid("api-order", answer),
                }
            }
        }
        reply
    }

    pub fn questions(&self) -> Vec<AskNow> {
        self.questions.borrow().clone()
    }

    pub async fn asked(&self, count: usize) {
        let mut questions = self.questions.subscribe();
        questions
            .wait_for(|asked| asked.len() >= count)
            .await
            .unwrap();
    }

    pub fn events(&self) -> Vec<AppendEvent> {
        self.events.borrow().clone()
    }

    /// How many callers were told so.
    pub fn callers(&self, outcome: &str) -> u64 {
        self.series(&format!(
            "settled_callers_total{{outcome=\"{outcome}\",type=\"transfer\"}}"
        ))
    }

    /// A series of the metrics page.
    pub fn series(&self, series: &str) -> u64 {
        let page = self.metrics.page().unwrap();
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }
}

/// A body for [`Served::query`] about these numbers.
pub fn wanted(numbers: &[&str]) -> Value {
    let orders: Vec<_> = numbers
        .iter()
        .map(|number| json!({"type": "transfer", "reqNO": number}))
        .collect();
    json!({"orders": orders})
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

pub fn settled_as_b1() -> World {
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
