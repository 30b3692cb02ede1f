//! `settled dev` with nothing embedded: a real Kafka, a real Redis, and an owner that is a process of
//! its own.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::topics::{Isolation, Seen, World, read_raw};
use crate::{get, line, settled, settled_all, support, text};

/// A running `settled bank`.
struct Bank {
    process: Child,
    at: String,
}

impl Bank {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_settled"))
            .args(["bank", "--listen", "127.0.0.1:0", "--in-progress", "1"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let listening = "bank listening on ";
        let told = line(&mut out, |line| line.starts_with(listening));
        let at = told.strip_prefix(listening).unwrap().to_owned();
        Self { process, at }
    }

    /// What it said last of each order.
    fn last_said(&self) -> BTreeMap<String, String> {
        let log = get(&self.at, "/questions").body;
        let questions = log
            .lines()
            .map(|line| -> Value { serde_json::from_str(line).unwrap() });
        let said = questions.map(|question| {
            let of = |name: &str| question[name].as_str().unwrap().to_owned();
            (of("order"), of("given"))
        });
        said.collect()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn on_a_real_kafka_and_redis_an_owner_of_ones_own_is_asked_and_every_order_is_verified() {
    let (Some(kafka), Some(redis)) = (support::kafka(), support::redis()) else {
        return;
    };
    let bank = Bank::start();
    let url = format!("http://{}/orders/query", bank.at);
    let run = ["--for", "2s", "--rate", "40", "--kafka", &kafka.bootstrap];
    let output = settled(&run)
        .args(["--redis", &redis.url, "--query-url", &url])
        .output()
        .unwrap();
    let first = text(&output);
    assert_eq!(output.status.code(), Some(0), "{first}");
    let accepted = settled_all(&first);
    assert!(accepted >= 40, "{first}");
    let heads = [
        format!("kafka   {}\n", kafka.bootstrap),
        "view    in Redis\n".to_owned(),
        "bank    none: your own endpoint, asked 100 times a second at most".to_owned(),
        "questions     not verified: there is no complete log of them\n".to_owned(),
    ];
    for said in heads {
        assert!(first.contains(&said), "{said}: {first}");
    }

    let world = World::by_default();
    let results = world.read(&kafka.bootstrap, &world.results, Isolation::Committed);
    assert_eq!(results.len(), accepted, "{first}");
    agree(&results, &bank.last_said());
    events_are_well_formed(&kafka.bootstrap, &world);
    assert_eq!(views(&redis.url), 4, "each shard's view is in Redis");

    // Another view and another bank on the same topics.
    let output = settled(&run).output().unwrap();
    let second = text(&output);
    assert_eq!(output.status.code(), Some(0), "{second}");
    assert!(second.contains("view    in memory"), "{second}");
    let both = settled_all(&second);
    assert!(both >= accepted + 40, "{second}");
    let results = world.read(&kafka.bootstrap, &world.results, Isolation::Committed);
    assert_eq!(results.len(), both, "{second}");
}

/// What was published as the owner's answer is what the owner said last.
fn agree(results: &[Seen], said: &BTreeMap<String, String>) {
    let mut asked = 0;
    for result in results {
        let key = String::from_utf8(result.key.clone().unwrap()).unwrap();
        let value: Value = serde_json::from_slice(result.value.as_deref().unwrap()).unwrap();
        if value["source"] == "inquiry" {
            asked += 1;
            let last = said.get(&key).map(String::as_str);
            assert_eq!(last, value["status"].as_str(), "{value}");
        }
    }
    assert!(asked * 2 > results.len(), "only {asked} were asked about");
}

/// Every event, but for those that the worker kept as dead letters.
fn events_are_well_formed(bootstrap: &str, world: &World) {
    let letters = world.read(bootstrap, &world.dead_letters, Isolation::Committed);
    let kept: Vec<_> = letters.into_iter().map(|letter| letter.key).collect();
    for event in read_raw(bootstrap, &world.events, Isolation::Committed) {
        let place = format!("{}/{}/{}", world.events, event.partition, event.offset);
        if !kept.contains(&Some(place.into_bytes())) {
            let value = event.value.as_deref().unwrap_or_default();
            world.hold(&world.events, value, &event.headers);
        }
    }
}

/// How many shards have a view under the prefix of `dev`.
fn views(url: &str) -> usize {
    let mut redis = redis::Client::open(url).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("dev-s{*}meta")
        .query(&mut redis)
        .unwrap();
    keys.len()
}
