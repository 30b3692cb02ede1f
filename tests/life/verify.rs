//! `settled verify` on a running system and on one that was tampered with: it agrees with what was
//! published, and names the order that is gone from Redis and the one that was settled twice.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::checker::{Site, event};
use crate::support::topics::{Isolation, Raw, produce};

/// Orders that are settled.
const SETTLED: usize = 300;
/// Orders that are not asked about for an hour; one has a number that stands in Redis as it is.
const HELD: usize = 40;
const NUMBER: &str = "HELD-AB";

#[tokio::test(flavor = "multi_thread")]
async fn verify_agrees_with_a_running_system_and_names_what_was_taken_or_repeated() {
    let Some(site) = Site::plan("verify", 4) else {
        return;
    };
    let bank = site.bank(&["--in-progress", "1"]).await;
    site.configure(&format!(
        r#"
[order_types.transfer]
query = {{ url = "http://{0}/" }}
schedule = {{ in_progress = ["300ms x 50"] }}
[order_types.held]
query = {{ url = "http://{0}/" }}
schedule = {{ in_progress = ["1h x 3"] }}
"#,
        bank.at
    ));
    site.create_topics();
    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;

    let mut tail = site.tail();
    let settled = (0..SETTLED).map(|n| event("transfer", &format!("TX{n:08}"), "3"));
    let held = (1..HELD).map(|n| event("held", &format!("TX{n:08}"), "3"));
    let events = settled.chain(held).chain([event("held", NUMBER, "3")]);
    let lines: Vec<_> = events.map(|event| event.to_string()).collect();
    site.publish_without_keys(&lines);
    let during = site.settled(&["verify"]);
    assert!(during.status.success(), "{during:?}");

    tail.wait_for(SETTLED, Duration::from_mins(1));
    let after = verified(&site.settled(&["verify", "--json"]), 0);
    let sum = &after["sum"];
    let told = ["accepted", "settled", "exhausted", "pending"].map(|of| sum[of].as_u64().unwrap());
    let (settled, held) = (SETTLED as u64, HELD as u64);
    assert_eq!(told, [settled + held, settled, 0, held], "{after}");
    assert_eq!(after["differences"], json!({}));
    assert!(sum["misplaced"].as_u64().unwrap() > held, "{after}");

    worker.process.terminate(Duration::from_secs(10)).await;
    site.take_from_the_view(NUMBER);
    let taken = site.settled(&["verify"]);
    let told = String::from_utf8(taken.stdout.clone()).unwrap();
    assert_eq!(taken.status.code(), Some(1), "{told}");
    assert!(told.contains("unaccounted: held/HELD-AB: shard "), "{told}");
    let error = String::from_utf8_lossy(&taken.stderr);
    assert!(error.ends_with("settled: 1 difference\n"), "{error}");

    let (bootstrap, results) = (&site.broker.bootstrap, &site.names.results);
    let first = site
        .names
        .read(bootstrap, results, Isolation::Committed)
        .remove(0);
    let key = String::from_utf8(first.key.clone().unwrap()).unwrap();
    let again = Raw {
        partition: Some(first.partition),
        key: first.key,
        value: first.value,
        ..Raw::default()
    };
    produce(bootstrap, results, [again]);
    let repeated = verified(&site.settled(&["verify", "--json"]), 1);
    let differences = json!({"unaccounted": 1, "repeated": 1});
    assert_eq!(repeated["differences"], differences, "{repeated}");
    let mut told = repeated["examples"].as_array().unwrap().iter();
    let named = told.find(|example| example["kind"] == "repeated").unwrap();
    assert_eq!(named["order"], key.as_str());
}

fn verified(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
