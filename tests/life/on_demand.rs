//! Crowds at the API of a real worker, with the owner as the witness: one question for any number of
//! callers of one order, and a ceiling that holds when each of very many asks for an order of its own.
//!
//! `SETTLED_DEMAND_CALLERS=10000 cargo test --release --test life on_demand -- --nocapture`, which
//! `scripts/figures --only callers` does too; it takes as many file descriptors, here and in the worker.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::checker::owner::Owner;
use crate::checker::process::Worker;
use crate::checker::{Site, event, size};
use crate::plain_http::{self, Reply, get, send};
use crate::support::eventually;
use crate::support::topics::Isolation;

const WITHIN: Duration = Duration::from_secs(30);

/// The client's own work on a busy machine, beside the wait that it asked for.
const SLACK: Duration = Duration::from_millis(1_500);

/// Questions a second, and the most that a sliding second may see: 2 % and one block more.
const CEILING: usize = 500;
const CEILING_AND_BLOCK: usize = CEILING + CEILING / 50 + CEILING / 10;

fn site(name: &str, owner: &Owner, schedule: &str) -> Option<Site> {
    let types = format!(
        r#"
[order_types.transfer]
query = {{ url = "http://{}/query" }}
schedule = {{ in_progress = ["{schedule}"] }}
ceiling = {{ questions_per_second = {CEILING}, in_flight = 64 }}
"#,
        owner.at
    );
    Site::create(name, 4, &types)
}

/// Everyone connects, then all ask at once; each reply with the time from request to last byte.
async fn crowd(api: SocketAddr, paths: Vec<String>) -> Vec<(Reply, Duration)> {
    let start = Arc::new(Barrier::new(paths.len()));
    let connecting = Arc::new(Semaphore::new(200));
    let mut callers = JoinSet::new();
    for path in paths {
        let (start, connecting) = (Arc::clone(&start), Arc::clone(&connecting));
        callers.spawn(async move {
            let turn = connecting.acquire().await.unwrap();
            let mut stream = TcpStream::connect(api).await.unwrap();
            drop(turn);
            start.wait().await;
            let began = Instant::now();
            let request = plain_http::request("GET", &path, b"");
            stream.write_all(&request).await.unwrap();
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).await.unwrap();
            (plain_http::parse(&reply), began.elapsed())
        });
    }
    callers.join_all().await
}

/// The most questions in any second.
fn busiest_second(mut times: Vec<Instant>) -> usize {
    times.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while times[first] + Duration::from_secs(1) <= *at {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

/// Resident memory, MiB.
fn resident_mib(worker: &Worker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024
}

fn valid(site: &Site, reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    site.names
        .book
        .validate("api-order", reply.body.as_bytes())
        .unwrap();
    reply.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_of_one_order_cost_one_question_and_one_result() {
    const CALLERS: usize = 1_000;
    let owner = Owner::start().await;
    let Some(site) = site("storm", &owner, "1h x 2") else {
        return;
    };
    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;
    let orders: Vec<_> = (0..8).map(|n| format!("P{n}")).collect();
    let events: Vec<_> = orders.iter().map(|no| event("transfer", no, "3")).collect();
    site.publish(&events);
    for no in &orders {
        eventually("the order is in the view", WITHIN, async || {
            let path = format!("/v1/orders/transfer/{no}?wait_ms=0");
            let answer = get(worker.api, &path).await.json();
            (answer["known"] == true).then_some(())
        })
        .await;
    }
    assert!(owner.times().is_empty(), "nobody was asked about them yet");

    owner.says("P0", "1");
    let path = "/v1/orders/transfer/P0?wait_ms=20000&max_age_ms=20000";
    let began = Instant::now();
    let replies = crowd(worker.api, vec![path.to_owned(); CALLERS]).await;
    let took = began.elapsed();
    for (reply, _) in &replies {
        let told = valid(&site, reply);
        assert_eq!(
            (&told["state"], &told["status"], &told["final"]),
            (&json!("settled"), &json!("1"), &json!(true)),
            "{told}"
        );
    }
    assert_eq!(owner.questions("P0").len(), 1);
    println!(
        "figure: on demand: {CALLERS} concurrent callers of one order: {} question, all told final \
         in {took:.2?}",
        owner.times().len()
    );

    // Any worker answers for every shard; who asks for many gets each in its place.
    let mut other = site.worker().await;
    site.all_open(&[&worker, &other]).await;
    let numbers = orders.iter().map(String::as_str).chain(["N", "a/b"]);
    let wanted: Vec<_> = numbers
        .map(|no| json!({"type": "transfer", "reqNO": no}))
        .collect();
    let body = json!({"orders": wanted, "wait_ms": 10_000}).to_string();
    for api in [worker.api, other.api] {
        let reply = send(api, "POST", "/v1/orders:query", body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let book = &site.names.book;
        book.validate("api-answers", reply.body.as_bytes()).unwrap();
        let told = reply.json()["answers"].as_array().unwrap().clone();
        let seen: Vec<_> = told
            .iter()
            .map(|a| (a["known"] == true, a["final"] == true, a["fresh"] == true))
            .collect();
        assert_eq!(seen[0], (true, true, told[0]["source"] == "inquiry"));
        assert_eq!(seen[1..8], [(true, false, true); 7], "{told:?}");
        assert_eq!(seen[8], (false, false, true), "never seen: {:?}", told[8]);
        assert_eq!(told[9]["error"]["code"], "bad-number");
    }
    let mut tail = site.tail();
    tail.wait_for(1, WITHIN);
    worker.process.terminate(Duration::from_secs(10)).await;
    other.process.terminate(Duration::from_secs(10)).await;
    let results = site.results(Isolation::Committed);
    let told: Vec<_> = results
        .iter()
        .map(|result| (result.key.as_str(), result.text("source")))
        .collect();
    assert_eq!(told, [("transfer/P0", "api")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_very_many_orders_are_answered_in_time_and_the_ceiling_holds() {
    const WAIT: Duration = Duration::from_secs(3);
    let callers = size("SETTLED_DEMAND_CALLERS", 2_000);
    let owner = Owner::start().await;
    let Some(site) = site("flood", &owner, "1s x 600") else {
        return;
    };
    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;
    // The timer has its own questions meanwhile.
    let due: Vec<_> = (0..100)
        .map(|n| event("transfer", &format!("P{n}"), "3"))
        .collect();
    site.publish(&due);
    eventually("the timer asks", WITHIN, async || {
        (owner.times().len() > 100).then_some(())
    })
    .await;

    let before = resident_mib(&worker);
    let wait = WAIT.as_millis();
    let paths = (0..callers).map(|n| format!("/v1/orders/transfer/N{n}?wait_ms={wait}"));
    let replies = crowd(worker.api, paths.collect()).await;
    let after = resident_mib(&worker);
    assert_eq!(replies.len(), callers);
    let mut told: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for (reply, took) in &replies {
        let answer = valid(&site, reply);
        let why = answer["reason"].as_str().unwrap_or("fresh, by the owner");
        assert_eq!(
            answer["fresh"] == true,
            answer["reason"].is_null(),
            "{answer}"
        );
        told.entry(why.to_owned()).or_default().push(*took);
    }
    let slowest = replies.iter().map(|(_, took)| *took).max().unwrap();
    let most = busiest_second(owner.times());
    println!(
        "figure: on demand: {callers} callers over {callers} orders at once, ceiling {CEILING}/s, \
         wait {wait} ms: slowest {slowest:.2?}; busiest second {most} questions of \
         {CEILING_AND_BLOCK} allowed; resident {before} -> {after} MiB"
    );
    for (why, took) in &mut told {
        took.sort_unstable();
        let [p50, p99] = [50, 99].map(|part| took[took.len() * part / 100]);
        let count = took.len();
        println!("figure: on demand: {count} told in p50 {p50:.2?}, p99 {p99:.2?}: {why}");
    }
    assert!(slowest <= WAIT + SLACK, "{slowest:?} of {WAIT:?}");
    assert!(
        told.contains_key("fresh, by the owner"),
        "none was asked for"
    );
    assert!(most <= CEILING_AND_BLOCK, "{most}");
    worker.process.terminate(Duration::from_secs(10)).await;
}
