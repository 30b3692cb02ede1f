//! Hostile owners, from outside: `settled run` on a real Kafka and Redis, and `settled bank` playing
//! every trick it has. What was published, what was counted, attempts before and after; where the
//! worker connects, and how much memory it takes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on ends so, and tells its figures"
)]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../checker/mod.rs"]
mod checker;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/plain_http.rs"]
mod plain_http;
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod elsewhere;
mod flips;
mod memory;
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use checker::process::{Bank, Worker};
use checker::{Site, event};
use plain_http::get;

/// Much longer than anything takes.
const WITHIN: Duration = Duration::from_mins(1);

/// A question of the bank's log.
#[derive(Clone, Debug)]
struct Question {
    order: String,
    attempt: u64,
    arrived: u64,
    given: String,
}

/// The bank's log.
async fn questions(bank: &Bank) -> Vec<Question> {
    let log = get(bank.at, "/questions").await.body;
    // HTTP/1.0 leaves the pieces of the body as they are: whole lines.
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|line| Question {
            order: line["order"].as_str().unwrap().to_owned(),
            attempt: line["attempt"].as_u64().unwrap(),
            arrived: line["arrived"].as_u64().unwrap(),
            given: line["given"].as_str().unwrap().to_owned(),
        })
        .collect()
}

/// What a worker has counted of a type: answers by their labels, those that never occurred left out.
async fn counted(worker: &Worker, order_type: &str) -> BTreeMap<String, u64> {
    let page = get(worker.admin, "/metrics").await.body;
    let prefix = "settled_questions_total{answer=\"";
    page.lines()
        .filter_map(|line| {
            let (answer, rest) = line.strip_prefix(prefix)?.split_once('"')?;
            let count = rest.strip_prefix(&format!(",type=\"{order_type}\"}} "))?;
            Some((answer.to_owned(), count.parse().ok()?))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// A worker and a bank, and a deployment that they alone use.
struct Desk {
    // First, as what a worker stands on must outlive it.
    worker: Worker,
    bank: Bank,
    site: Site,
}

impl Desk {
    /// `types` is the configuration of the order types once the bank is known.
    async fn open(
        name: &str,
        bank: &[&str],
        variables: &[(&str, &str)],
        types: impl FnOnce(&Bank) -> String,
    ) -> Option<Self> {
        let mut site = Site::plan(name, 2)?;
        // Counters are held to the record.
        site.session_ms = 6_000;
        let bank = site.bank(bank).await;
        site.configure(&types(&bank));
        site.create_topics();
        let config = site.config();
        let log = site.file("worker.log");
        let worker = Worker::start(config.to_str().unwrap(), log, variables).await;
        site.all_open(&[&worker]).await;
        Some(Self { worker, bank, site })
    }

    fn publish(&self, orders: impl IntoIterator<Item = (String, String)>) {
        let events = orders
            .into_iter()
            .map(|(order_type, req_no)| event(&order_type, &req_no, "3"));
        self.site.publish(&events.collect::<Vec<_>>());
    }
}
