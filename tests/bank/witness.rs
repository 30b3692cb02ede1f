//! The bank's log and summary as a witness of when it was asked, and its own limit.

use std::time::Duration;

use serde_json::Value;
use settled::dev::bank::{BankOptions, OverLimit};

use crate::World;

impl World {
    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[tokio::test]
async fn the_summary_says_of_arrivals_what_the_log_says() {
    let world = World::new(BankOptions::default()).await;
    for n in 0..60 {
        world.ask(&format!("TX{n}")).await;
        tokio::time::sleep(Duration::from_millis(n % 5 * 5)).await;
    }
    let (_, log) = world.send("GET", "/questions", "").await;
    let arrived: Vec<u64> = log
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["arrived"]
                .as_u64()
                .unwrap()
        })
        .collect();
    let summary = world.json("/questions/summary").await;
    let within = |from: u64, ms: u64| {
        let inside = arrived.iter().filter(|at| (from..from + ms).contains(at));
        inside.count() as u64
    };
    let second = arrived.iter().map(|at| within(*at, 1_000)).max();
    let slot = arrived.iter().map(|at| within(at / 100 * 100, 100)).max();
    assert_eq!(summary["max_per_second"].as_u64(), second);
    assert_eq!(summary["max_per_100ms"].as_u64(), slot);
    assert_eq!(summary["first"].as_u64(), arrived.first().copied());
    assert_eq!(summary["last"].as_u64(), arrived.last().copied());
    let lasted = (arrived[59] - arrived[0]).max(1_000) as f64 / 1e3;
    let mean = summary["mean_per_second"].as_f64().unwrap();
    assert!((mean - 60.0 / lasted).abs() < 0.01, "{mean}");
    assert_eq!(world.json("/questions?summary=1").await, summary);
}

#[tokio::test]
async fn a_bank_with_a_limit_refuses_what_is_above_it() {
    let world = World::new(BankOptions {
        max_per_second: 5,
        in_progress: 1,
        ..BankOptions::default()
    })
    .await;
    // Far less than a second.
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(
            world.ask("TX1").await["status"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(statuses[5..], ["429", "429", "429"]);
    let summary = world.json("/questions/summary").await;
    assert_eq!(summary["tricks"]["429"], 3);
    assert_eq!(summary["max_per_second"], 8, "what is refused has arrived");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(world.ask("TX1").await["status"], "429");
}

#[tokio::test]
async fn a_bank_that_queues_is_slow_above_its_limit() {
    let world = World::new(BankOptions {
        max_per_second: 20,
        over_limit: OverLimit::Queue,
        ..BankOptions::default()
    })
    .await;
    let began = tokio::time::Instant::now();
    let orders: Vec<_> = (0..11).map(|n| format!("TX{n}")).collect();
    let answers = orders.iter().map(|order| world.ask(order));
    futures_util::future::join_all(answers).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(499), "{took:?}");
    assert_eq!(world.bank.summary().in_progress, 11);
}
