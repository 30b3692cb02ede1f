//! One deployment: topics and a Redis of its own, a bank, workers; all as processes.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::checker::process::{Process, Worker, settled};
use crate::checker::{Site, size};
use crate::machine::{Meter, peak_mb};
use crate::page::Page;
use crate::plain_http::{get, send};
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::{self, unique};

/// N, the default of the product.
pub const SHARDS: i32 = 16;

/// Questions a second: a ceiling that stops nobody.
const NO_CEILING: u64 = 100_000;

/// What stands in a row.
pub struct Stage {
    pub name: &'static str,
    pub site: Site,
    bank: Process,
    pub bank_at: SocketAddr,
    pub workers: Vec<Worker>,
}

impl Stage {
    /// Topics, a bank with these options and one type for each of these schedules; no worker yet.
    pub async fn open(
        name: &'static str,
        bank: &[&str],
        types: &[(&'static str, &'static str)],
    ) -> Self {
        Self::under(name, NO_CEILING, bank, types).await
    }

    /// As [`Stage::open`], under a ceiling of so many questions a second for each type.
    pub async fn under(
        name: &'static str,
        ceiling: u64,
        bank: &[&str],
        types: &[(&'static str, &'static str)],
    ) -> Self {
        let redis = RedisServer::start(&[]).unwrap();
        let site = Site::on(support::kafka().unwrap(), redis, name, SHARDS);
        let (bank, bank_at) = start_bank(&site, bank).await;
        let text = format!(
            "{}{}",
            deployment(&site),
            order_types(bank_at, ceiling, types)
        );
        std::fs::write(site.config(), text).unwrap();
        site.create_topics();
        Self {
            name,
            site,
            bank,
            bank_at,
            workers: Vec::new(),
        }
    }

    /// As [`Stage::open`], with one worker that has every shard open.
    pub async fn with_a_worker(
        name: &'static str,
        bank: &[&str],
        types: &[(&'static str, &'static str)],
    ) -> Self {
        let mut stage = Self::open(name, bank, types).await;
        stage.grow(1).await;
        stage
    }

    /// So many workers more; returns when every shard is open and each worker has some.
    pub async fn grow(&mut self, workers: usize) {
        for _ in 0..workers {
            let worker = self.worker(&[]).await;
            self.workers.push(worker);
        }
        self.all_open().await;
    }

    /// Changes how the bank behaves, as `PATCH /behaviour` takes it; when that was said, in Unix
    /// milliseconds.
    pub async fn bank_is(&self, change: &str) -> u64 {
        let reply = send(self.bank_at, "PATCH", "/behaviour", change.as_bytes()).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        crate::load::now()
    }

    /// One more worker; it may own nothing yet.
    pub async fn worker(&self, variables: &[(&str, &str)]) -> Worker {
        let log = self.site.file(&unique("worker"));
        Worker::start(self.site.config().to_str().unwrap(), log, variables).await
    }

    /// Waits until the workers together have every shard open, and each of them some.
    pub async fn all_open(&self) {
        eventually("every shard is open", Duration::from_mins(2), async || {
            let mut open = Vec::new();
            for worker in &self.workers {
                open.push(Page::of(worker.admin).await.open());
            }
            let all = open.iter().sum::<u64>() == SHARDS as u64;
            (all && !open.contains(&0)).then_some(())
        })
        .await;
    }

    /// The page of the first worker.
    pub async fn page(&self) -> Page {
        Page::of(self.workers[0].admin).await
    }

    /// Waits until so many results were read back.
    pub async fn settled(&self, count: usize, within: Duration) {
        eventually("all is settled", within, async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let settled = self.page().await.sum("settled_results_total");
            (settled >= count as f64).then_some(())
        })
        .await;
    }

    /// Waits until so many orders were folded into the view.
    pub async fn added(&self, count: usize, within: Duration) {
        eventually("all are in the view", within, async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let page = self.page().await;
            let added = page.sum(r#"settled_events_total{outcome="added""#);
            (added >= count as f64).then_some(())
        })
        .await;
    }

    /// Waits until so many results lie in their topic, whoever wrote them.
    pub async fn all_decided(&self, count: usize) {
        let mut tail = self.site.tail();
        let counting = tokio::task::spawn_blocking(move || {
            tail.wait_for(count, Duration::from_mins(2));
        });
        counting.await.unwrap();
    }

    /// Measures what everything costs.
    pub fn meter(&self) -> Meter {
        let [redis, kafka] = [self.site.redis.pid(), self.site.broker.pid()];
        let mut processes: Vec<(&str, u32)> = self
            .workers
            .iter()
            .map(|worker| ("settled", worker.process.pid()))
            .collect();
        processes.extend(redis.map(|pid| ("redis", pid)));
        processes.extend(kafka.map(|pid| ("kafka", pid)));
        processes.push(("bank", self.bank.pid()));
        Meter::start(&processes)
    }

    /// Ends the workers as an operator would, and tells the peak of their memory.
    pub async fn close(mut self) {
        for worker in &mut self.workers {
            let peak = peak_mb(self.name, worker.process.pid());
            println!("figure: {}: RSS of the worker at most {peak} MB", self.name);
            worker.process.terminate(Duration::from_secs(15)).await;
        }
    }
}

async fn start_bank(site: &Site, options: &[&str]) -> (Process, SocketAddr) {
    let mut command: Command = settled();
    command.args(["bank", "--listen", "127.0.0.1:0", "--failures", "0"]);
    command.args(options);
    let process = Process::of(command, site.file("bank.log"));
    let at = eventually("the bank listens", Duration::from_secs(10), async || {
        let log = process.log();
        let mut lines = log.lines();
        let at = lines.find_map(|line| line.strip_prefix("bank listening on "))?;
        at.parse().ok()
    })
    .await;
    (process, at)
}

/// The product's defaults.
fn deployment(site: &Site) -> String {
    let names = &site.names;
    format!(
        r#"
app = "{}"
shards = {SHARDS}
kafka = {{ bootstrap = "{}", events = "{}", results = "{}", dead_letters = "{}" }}
redis.urls = ["{}"]
api.listen = "127.0.0.1:0"
admin.listen = "127.0.0.1:0"
"#,
        names.app,
        site.broker.bootstrap,
        names.events,
        names.results,
        names.dead_letters,
        site.redis.url
    )
}

fn order_types(bank: SocketAddr, ceiling: u64, types: &[(&str, &str)]) -> String {
    let in_flight = size("SETTLED_FIGURES_IN_FLIGHT", 1_024);
    let mut text = String::new();
    for (name, schedule) in types {
        text += &format!(
            r#"
[order_types.{name}]
query = {{ url = "http://{bank}/", timeout = "2s" }}
schedule = {{ in_progress = ["{schedule}"] }}
ceiling = {{ questions_per_second = {ceiling}, in_flight = {in_flight} }}
"#
        );
    }
    text
}

/// A question as it arrived at the bank.
pub struct Question {
    /// The order's number, as in [`crate::load::key`].
    pub order: u64,
    /// Unix milliseconds of this machine.
    pub arrived: u64,
    /// Whether it got no answer.
    pub hangs: bool,
    /// Whether it got a status.
    pub answered: bool,
}

impl Stage {
    /// The bank's own log, in the order of arrival.
    pub async fn questions(&self) -> Vec<Question> {
        let summary = get(self.bank_at, "/questions?summary=1").await.json();
        assert_eq!(summary["dropped"], 0, "more questions than the bank keeps");
        let log = get(self.bank_at, "/questions").await.body;
        let read = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let order = line["order"].as_str().unwrap();
            let given = line["given"].as_str().unwrap();
            Question {
                order: crate::load::number(order),
                arrived: line["arrived"].as_u64().unwrap(),
                hangs: given == "hang",
                answered: given.len() == 1,
            }
        };
        log.lines().map(read).collect()
    }
}
