//! A worker killed, a view wiped, a worker stopped for longer than its session, each while many
//! orders are unsettled: each order still gets one result.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::checker::logs::Tail;
use crate::checker::metrics::Page;
use crate::checker::process::{Bank, Worker};
use crate::checker::{Site, event, key, size};
use crate::random::Random;
use crate::support::eventually;

/// What a run of orders through an accident needs.
struct Run {
    workers: Vec<Worker>,
    _bank: Bank,
    site: Site,
    tail: Tail,
    published: BTreeSet<String>,
    /// At least so many orders are unsettled when the accident happens.
    unsettled: usize,
}

impl Run {
    /// Starts the workers, publishes three times as many orders as are to be unsettled, and waits
    /// until some of them are settled.
    async fn begin(name: &str, workers: usize) -> Option<Self> {
        let unsettled = size("SETTLED_LIFE_UNSETTLED", 500);
        let site = Site::plan(name, 16)?;
        let bank = site.bank(&["--in-progress", "2", "--latency", "5ms"]).await;
        site.configure(&format!(
            r#"
[order_types.transfer]
query = {{ url = "http://{}/", timeout = "1s" }}
schedule = {{ in_progress = ["1s x 100"] }}
ceiling = {{ questions_per_second = {}, in_flight = 256 }}
"#,
            bank.at,
            unsettled * 2
        ));
        site.create_topics();
        let mut run = Self {
            workers: Vec::new(),
            tail: site.tail(),
            published: BTreeSet::new(),
            unsettled,
            site,
            _bank: bank,
        };
        for _ in 0..workers {
            run.workers.push(run.site.worker().await);
        }
        run.all_open().await;
        let events: Vec<Value> = (0..unsettled * 3)
            .map(|n| event("transfer", &format!("TX{n:08}"), "3"))
            .collect();
        run.published = events.iter().map(key).collect();
        let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
        run.site.publish_without_keys(&lines);
        run.tail.wait_for(unsettled / 10, Duration::from_mins(1));
        Some(run)
    }

    async fn all_open(&self) {
        let workers: Vec<_> = self.workers.iter().collect();
        self.site.all_open(&workers).await;
    }

    /// How many orders are unsettled now; call it after the accident.
    fn unsettled_now(&mut self) -> usize {
        self.tail.read();
        let now = self.published.len() - self.tail.settled.len();
        assert!(now >= self.unsettled, "only {now} orders are unsettled");
        now
    }

    /// Waits until all is settled and at rest, ends the last worker and judges the logs.
    async fn end(mut self, accident: &str, since: Instant) {
        self.tail
            .wait_for(self.published.len(), Duration::from_mins(2));
        let took = since.elapsed();
        let mut worker = self.workers.pop().unwrap();
        self.site.at_rest().await;
        let swept = Page::of(worker.admin)
            .await
            .sum("settled_swept_records_total", &[]);
        assert_eq!(swept, 0, "records had lost their bucket entry");
        let ended = worker.process.terminate(Duration::from_secs(10)).await;
        let settled: BTreeSet<String> = self.site.resolutions().into_keys().collect();
        assert_eq!(settled, self.published);
        println!(
            "figure: {accident}: {} orders, each settled once, the last {took:.2?} later; SIGTERM of the \
             last worker took {ended:.2?}",
            self.published.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_orders_are_settled_once_by_the_other() {
    let Some(mut run) = Run::begin("kill", 2).await else {
        return;
    };
    for worker in &run.workers {
        let owned = Page::of(worker.admin)
            .await
            .sum("settled_shards_owned", &[]);
        assert!((4..=12).contains(&owned), "the shards are shared: {owned}");
    }
    run.workers.remove(0).process.kill();
    let since = Instant::now();
    let unsettled = run.unsettled_now();
    run.end(
        &format!("kill -9 of one of two workers with {unsettled} unsettled"),
        since,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_view_is_rebuilt_by_every_shard_and_every_order_is_settled_once() {
    let Some(mut run) = Run::begin("flush", 1).await else {
        return;
    };
    let rebuilt = |run: &Run| -> Vec<u64> {
        let lines = run.workers[0].process.log_lines();
        let rebuilding = lines.iter().filter(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            message.starts_with("view is empty, rebuilding from E=")
        });
        rebuilding
            .map(|line| line["shard"].as_u64().unwrap())
            .collect()
    };
    let before = rebuilt(&run).len();
    run.site.flush_all();
    let since = Instant::now();
    let unsettled = run.unsettled_now();
    // A recovery that is tried again says it again.
    eventually("all shards rebuild", Duration::from_secs(30), async || {
        let shards: BTreeSet<_> = rebuilt(&run).split_off(before).into_iter().collect();
        (shards.len() >= 16).then_some(())
    })
    .await;
    run.end(&format!("FLUSHALL with {unsettled} unsettled"), since)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_for_longer_than_its_session_settles_nothing_twice() {
    let Some(mut run) = Run::begin("stop", 2).await else {
        return;
    };
    run.workers[0].process.signal("STOP");
    let since = Instant::now();
    let unsettled = run.unsettled_now();
    let survivor = run.workers[1].admin;
    eventually(
        "the other owns all shards",
        Duration::from_secs(30),
        async || {
            let owned = Page::of(survivor).await.sum("settled_shards_owned", &[]);
            (owned == 16).then_some(())
        },
    )
    .await;
    run.workers[0].process.signal("CONT");
    run.tail
        .wait_for(run.published.len(), Duration::from_mins(2));
    let mut stopped = run.workers.remove(0);
    stopped.process.terminate(Duration::from_secs(10)).await;
    run.all_open().await;
    run.end(
        &format!("SIGSTOP of one of two workers with {unsettled} unsettled"),
        since,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_accidents_in_any_order_lose_or_repeat_an_order() {
    let rounds = size("SETTLED_LIFE_ROUNDS", 3);
    let seed = size("SETTLED_LIFE_SEED", std::process::id() as usize);
    println!("SETTLED_LIFE_SEED={seed}");
    let Some(mut run) = Run::begin("accidents", 2).await else {
        return;
    };
    let since = Instant::now();
    let mut draws = Random::new(seed as u64);
    let mut happened = Vec::new();
    for round in 0..rounds {
        let accident = draws.below(5);
        let of = draws.below(2) as usize;
        happened.push(run.happens(accident, of, draws.below(4_000)).await);
        let events: Vec<_> = (0..300)
            .map(|n| event("transfer", &format!("R{round}-{n}"), "3"))
            .collect();
        run.published.extend(events.iter().map(key));
        let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
        run.site.publish_without_keys(&lines);
        tokio::time::sleep(Duration::from_millis(draws.below(3_000))).await;
    }
    run.tail
        .wait_for(run.published.len(), Duration::from_mins(2));
    let mut one = run.workers.remove(0);
    one.process.terminate(Duration::from_secs(10)).await;
    run.all_open().await;
    run.end(&format!("{happened:?} (seed {seed})"), since).await;
}

impl Run {
    /// One of five accidents, to one of two workers; one that has ended is started anew.
    async fn happens(&mut self, accident: u64, of: usize, ms: u64) -> &'static str {
        let worker = &mut self.workers[of].process;
        match accident {
            0 => {
                self.site.flush_all();
                return "FLUSHALL";
            }
            1 => {
                worker.signal("STOP");
                tokio::time::sleep(Duration::from_millis(ms)).await;
                worker.signal("CONT");
                return "STOP";
            }
            2 => drop(worker.terminate(Duration::from_secs(10)).await),
            3 => worker.kill(),
            _ => {
                worker.kill();
                self.site.flush_all();
            }
        }
        self.workers[of] = self.site.worker().await;
        ["TERM", "KILL", "KILL and FLUSHALL"][accident as usize - 2]
    }
}
