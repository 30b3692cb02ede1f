//! Records that fit `order-events` and nothing that comes of them: each is dealt with, and the shard
//! goes on.

use std::time::Duration;

use crate::checker::logs::shard_of;
use crate::checker::metrics::Page;
use crate::checker::{Site, event, key};
use crate::support::eventually;
use crate::support::topics::{Isolation, Raw, create_topic, produce};

const TYPES: &str = r#"
[order_types.patient]
query = { url = "http://127.0.0.1:9/query" }
schedule = { in_progress = ["1h x 2"] }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_its_topic_does_not_take_neither_stops_a_shard_nor_is_lost_without_a_word() {
    let Some(site) = Site::plan("too-large", 4) else {
        return;
    };
    let small = [("max.message.bytes", "131072")];
    create_topic(site.broker, &site.names.dead_letters, 1, &small).await;
    site.configure(TYPES);
    site.create_topics();
    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;

    let traced = event("patient", "TRACED", "1");
    let partition = shard_of(&key(&traced), site.shards);
    let to = |value: String, header: Option<&str>| Raw {
        headers: header
            .map(|name| (name.to_owned(), vec![b'0'; 400_000]))
            .into_iter()
            .collect(),
        ..Raw::to(partition, value)
    };
    let records = [
        to("x".repeat(400_000), None),
        to("no json".to_owned(), Some("bulky")),
        to(traced.to_string(), Some("traceparent")),
    ];
    let (bootstrap, events) = (&site.broker.bootstrap, &site.names.events);
    produce(bootstrap, events, records);
    let mut tail = site.tail();
    tail.wait_for(1, Duration::from_secs(30));
    let letters = eventually("both are kept", Duration::from_secs(30), async || {
        let letters = site.dead_letters();
        (letters.len() == 2).then_some(letters)
    })
    .await;
    let kept: Vec<_> = letters
        .values()
        .map(|(reason, value)| (reason.as_str(), value.as_slice()))
        .collect();
    assert_eq!(kept, [("too-large", &b""[..]), ("not-json", b"no json")]);
    let read = |topic| site.names.read(bootstrap, topic, Isolation::Committed);
    for letter in read(&site.names.dead_letters) {
        let detail = letter.header("settled-detail").unwrap();
        assert!(detail.ends_with("read it where it lies"), "{detail}");
        assert_eq!(letter.header("orig-bulky"), None);
    }

    let page = eventually("all is counted", Duration::from_secs(30), async || {
        let page = Page::of(worker.admin).await;
        (page.sum("settled_dead_letters_total", &[]) == 2).then_some(page)
    })
    .await;
    for cause in ["commit", "delivery"] {
        let recoveries = page.sum("settled_recoveries_total", &[("cause", cause)]);
        assert_eq!(recoveries, 0, "{cause}");
    }
    site.publish(&[event("patient", "NEXT", "2")]);
    tail.wait_for(2, Duration::from_secs(30));
    worker.process.terminate(Duration::from_secs(10)).await;
    assert_eq!(site.resolutions().len(), 2);
    for result in read(&site.names.results) {
        assert_eq!(result.header("traceparent"), None);
    }
}
