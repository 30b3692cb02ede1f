//! The simulated bank from outside: what it answers, and what its log says.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something unexpected happened"
)]

mod changes;
mod tricks;
mod witness;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use settled::clock::Clock;
use settled::dev::bank::{Bank, BankOptions, Latency, Trick, Tricks};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct World {
    bank: Bank,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl World {
    #[expect(
        clippy::large_types_passed_by_value,
        reason = "written out at each call"
    )]
    async fn new(options: BankOptions) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let bank = Bank::start(listen, options, Clock::start(), &tasks, stop);
        Self {
            bank: bank.await.unwrap(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.bank.local_addr()))
            .header("settled-attempt", "7")
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let answer = self.client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ask(&self, req_no: &str) -> Value {
        let body = json!({ "type": "transfer", "reqNO": req_no, "query": {} });
        let (status, body) = self.send("POST", "/orders/query", &body.to_string()).await;
        match status {
            200 => serde_json::from_str(&body).unwrap(),
            other => json!({ "status": other.to_string() }),
        }
    }

    /// All answers that each order gets in `rounds` rounds.
    async fn fates(&self, orders: &[String], rounds: usize) -> BTreeMap<String, Vec<String>> {
        let mut fates: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for _ in 0..rounds {
            for order in orders {
                let answer = self.ask(order).await;
                let status = answer["status"].as_str().unwrap().to_owned();
                fates.entry(order.clone()).or_default().push(status);
            }
        }
        fates
    }
}

#[tokio::test]
async fn an_order_is_in_progress_for_a_while_and_then_ends() {
    let world = World::new(BankOptions {
        in_progress: 2,
        failure_share: 0.0,
        ..BankOptions::default()
    })
    .await;
    for _ in 0..2 {
        let answer = world.ask("TX1").await;
        assert_eq!(
            (&answer["status"], &answer["reqNO"]),
            (&json!("3"), &json!("TX1"))
        );
    }
    let end = world.ask("TX1").await;
    assert_eq!(end["status"], "1");
    assert_eq!(end["reqNO"], "TX1");
    assert!(end["rspNO"].is_string());
    assert_eq!(world.ask("TX1").await, end);
}

#[tokio::test]
async fn what_an_order_gets_does_not_depend_on_the_order_of_arrivals() {
    let options = BankOptions {
        failure_share: 0.4,
        unknown_share: 0.3,
        latency: Latency::Between(Duration::ZERO, Duration::from_millis(1)),
        tricks: Tricks::default().with(Trick::Code(500), 0.2).unwrap(),
        seed: 42,
        ..BankOptions::default()
    };
    let mut orders: Vec<_> = (0..40).map(|i| format!("TX{i}")).collect();
    let forwards = World::new(options).await.fates(&orders, 5).await;
    orders.reverse();
    let backwards = World::new(options).await.fates(&orders, 5).await;
    assert_eq!(forwards, backwards);
    let all: Vec<_> = forwards.values().flatten().collect();
    for status in ["1", "2", "3", "4", "500"] {
        assert!(all.iter().any(|seen| *seen == status), "no {status} at all");
    }
    let other = BankOptions {
        seed: 43,
        ..options
    };
    assert_ne!(World::new(other).await.fates(&orders, 5).await, forwards);
}

#[tokio::test]
async fn the_log_names_every_question_and_the_summary_counts_them() {
    let world = World::new(BankOptions {
        in_progress: 1,
        failure_share: 1.0,
        ..BankOptions::default()
    })
    .await;
    for order in ["TX1", "TX2", "TX1"] {
        world.ask(order).await;
    }
    let (_, log) = world.send("GET", "/questions", "").await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["order"].as_str().unwrap(),
                line["given"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("transfer/TX1", "3"),
            ("transfer/TX2", "3"),
            ("transfer/TX1", "2")
        ]
    );
    assert!(lines.iter().all(|line| line["attempt"] == 7));
    let arrived: Vec<_> = lines
        .iter()
        .map(|l| l["arrived"].as_u64().unwrap())
        .collect();
    assert!(
        arrived.is_sorted() && arrived[0] > 1_700_000_000_000,
        "{arrived:?}"
    );
    let (_, summary) = world.send("GET", "/questions?summary=1", "").await;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    for (name, count) in [
        ("questions", 3),
        ("orders", 2),
        ("in_progress", 2),
        ("failure", 1),
    ] {
        assert_eq!(summary[name], count, "{name}");
    }
    let busiest = summary["max_per_second"].as_u64().unwrap();
    assert!((1..=3).contains(&busiest));
}

#[tokio::test]
async fn a_long_log_is_told_whole() {
    let world = World::new(BankOptions::default()).await;
    for i in 0..1_203 {
        world.ask(&format!("TX{i}")).await;
    }
    let (_, log) = world.send("GET", "/questions", "").await;
    for (i, line) in log.lines().enumerate() {
        assert!(line.contains(&format!("\"transfer/TX{i}\"")), "{line}");
    }
    assert_eq!(log.lines().count(), 1_203);
}

#[tokio::test]
async fn a_get_template_reaches_the_same_order() {
    let world = World::new(BankOptions::default()).await;
    world.ask("TX1").await;
    world.ask("TX1").await;
    let (status, body) = world.send("GET", "/any/transfer/TX1", "").await;
    assert_eq!(status, 200);
    assert!(!body.contains(r#""status":"3""#), "{body}");
    assert_eq!(world.bank.summary().orders, 1);
}

#[tokio::test]
async fn what_is_no_question_is_refused_and_not_logged() {
    let world = World::new(BankOptions::default()).await;
    for (method, path, body) in [
        ("POST", "/questions/summary", "nonsense"),
        ("POST", "/orders/query", "nonsense"),
        ("POST", "/orders/query", r#"{"type":"transfer"}"#),
        ("GET", "/", ""),
        ("GET", "/Transfer/TX1", ""),
    ] {
        let (status, _) = world.send(method, path, body).await;
        assert_eq!(status, 400, "{method} {path} {body}");
    }
    let large = "x".repeat(100_000);
    let (status, _) = world.send("POST", "/orders/query", &large).await;
    assert_eq!(status, 400);
    assert_eq!(world.bank.summary().questions, 0);
}
