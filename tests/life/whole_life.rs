//! Many orders from event to result, a bank that says «in progress» once, garbage and repetitions
//! among the events, most of them in foreign partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::checker::metrics::Page;
use crate::checker::{Site, event, key, size};
use crate::support::eventually;

/// What one event in twenty looks like, and the reason that it is kept with.
const GARBAGE: [(&str, &str); 4] = [
    ("not json at all, number NN", "not-json"),
    (r#"{"v":1,"type":"transfer","reqNO":"NN"}"#, "schema"),
    (
        r#"{"v":1,"type":"Über","reqNO":"NN","status":"3","at":"2026-11-23T07:00:00.123Z","source":"x"}"#,
        "bad-type",
    ),
    (
        r#"{"v":1,"type":"transfer","reqNO":NN,"status":"3","at":"2026-11-23T07:00:00.123Z","source":"x"}"#,
        "bad-number",
    ),
];

/// What is published, and what is to become of it.
struct Published {
    lines: Vec<String>,
    orders: BTreeSet<String>,
    /// The reason with which each bad event is kept.
    garbage: BTreeMap<Vec<u8>, &'static str>,
    repeated: usize,
}

/// `count` events: a twentieth garbage, a twentieth repetitions.
fn events(count: usize) -> Published {
    let twentieth = count / 20;
    let good: Vec<_> = (0..count - 2 * twentieth)
        .map(|n| event("transfer", &format!("TX{n:08}"), "3"))
        .collect();
    let mut lines: Vec<String> = good.iter().map(ToString::to_string).collect();
    let mut garbage = BTreeMap::new();
    for n in 0..twentieth {
        let (form, reason) = GARBAGE[n % GARBAGE.len()];
        let line = form.replace("NN", &(1_000_000 + n).to_string());
        garbage.insert(line.clone().into_bytes(), reason);
        // Spread over the whole run, the repetitions far from what they repeat.
        lines.insert(n * 19, line);
        lines.push(good[n * 7 % good.len()].to_string());
    }
    assert_eq!(lines.len(), count);
    Published {
        lines,
        orders: good.iter().map(key).collect(),
        garbage,
        repeated: twentieth,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_good_order_gets_one_result_and_every_bad_event_one_dead_letter() {
    let Some(mut site) = Site::plan("life", 16) else {
        return;
    };
    // Counters are held to the record.
    site.session_ms = 6_000;
    let bank = site.bank(&["--in-progress", "1"]).await;
    site.configure(&format!(
        r#"
[order_types.transfer]
query = {{ url = "http://{}/" }}
schedule = {{ in_progress = ["300ms x 50"] }}
ceiling = {{ questions_per_second = 20000, in_flight = 256 }}
"#,
        bank.at
    ));
    site.create_topics();
    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;

    let published = events(size("SETTLED_LIFE_EVENTS", 4_000));
    let orders = published.orders.len();
    let mut tail = site.tail();
    let began = Instant::now();
    site.publish_without_keys(&published.lines);
    tail.wait_for(orders, Duration::from_mins(3));
    let took = began.elapsed();
    // The gauges are as old as the last survey; the counters are not.
    let page = eventually("all is counted", Duration::from_secs(30), async || {
        let page = Page::of(worker.admin).await;
        let letters = page.sum("settled_dead_letters_total", &[]);
        let counted = page.sum("settled_results_total", &[]) >= orders as u64
            && letters >= published.garbage.len() as u64;
        counted.then_some(page)
    })
    .await;

    let resolutions = site.resolutions();
    let settled: BTreeSet<String> = resolutions.keys().cloned().collect();
    assert_eq!(settled, published.orders);
    assert_eq!(tail.records, orders, "nothing but one result an order");
    let letters = site.dead_letters();
    let kept = letters.values();
    let kept: BTreeMap<_, _> = kept
        .map(|(why, bytes)| (bytes.clone(), why.as_str()))
        .collect();
    assert_eq!(kept, published.garbage);
    assert_eq!(letters.len(), kept.len(), "distinct dead letters");

    // What stands in a lease's bucket is a hint, and goes with the second in which the lease ends. The
    // ceiling of the type, of no order, stays for an hour.
    eventually("meta and marks only", Duration::from_secs(15), async || {
        let mut keys = site.keys();
        keys.remove("m");
        let left = [("meta".to_owned(), 16), ("t".to_owned(), 1)];
        (keys == BTreeMap::from(left)).then_some(())
    })
    .await;
    assert_eq!(site.marks(), orders);
    let forwarded = metrics_agree(&site, &page, &published, &resolutions);

    let ended = worker.process.terminate(Duration::from_secs(10)).await;
    println!(
        "figure: life: {} events ({orders} orders, {} garbage, {} repeated, {forwarded} \
         forwarded): {orders} results in {took:.2?}, {:.0} orders/s, SIGTERM took {ended:.2?}",
        published.lines.len(),
        published.garbage.len(),
        published.repeated,
        orders as f64 / took.as_secs_f64()
    );
}

/// What the metrics page says is what the topics hold. Returns how many events were forwarded.
fn metrics_agree(
    site: &Site,
    page: &Page,
    published: &Published,
    resolutions: &BTreeMap<String, String>,
) -> u64 {
    let (orders, garbage) = (published.orders.len() as u64, &published.garbage);
    for status in ["1", "2"] {
        let there = resolutions.values().filter(|of| *of == status).count();
        let labels = [("outcome", "settled"), ("status", status)];
        assert_eq!(page.sum("settled_results_total", &labels), there as u64);
    }
    assert_eq!(page.sum("settled_results_total", &[]), orders);
    for (_, reason) in GARBAGE {
        let there = garbage.values().filter(|of| **of == reason).count();
        let told = page.sum("settled_dead_letters_total", &[("reason", reason)]);
        assert_eq!(told, there as u64, "{reason}");
    }
    let there = site.events(|value| garbage.contains_key(value));
    let forwarded = there.iter().filter(|(_, forwarded)| *forwarded).count() as u64;
    let events = |outcome| page.sum("settled_events_total", &[("outcome", outcome)]);
    assert_eq!(events("added"), orders);
    assert_eq!(
        events("known") + events("settled"),
        published.repeated as u64
    );
    assert_eq!(events("dead_letter"), garbage.len() as u64);
    assert_eq!(events("forwarded"), forwarded);
    assert!(
        forwarded > orders / 2,
        "most events were in a foreign partition"
    );
    forwarded
}
