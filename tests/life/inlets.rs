//! Partitions of `order-events` beyond the shards: a topic that was made larger.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::checker::metrics::Page;
use crate::checker::{Site, event};
use crate::support::eventually;
use crate::support::topics::{Raw, produce};

const SHARDS: i32 = 4;
const INLETS: [i32; 2] = [4, 5];
/// Orders published into each inlet at a time.
const EACH: usize = 20;
const WITHIN: Duration = Duration::from_secs(30);

const TYPES: &str = r#"
[order_types.patient]
query = { url = "http://127.0.0.1:9/query" }
schedule = { in_progress = ["1h x 2"] }
"#;

impl Site {
    async fn grow_events(&self, partitions: usize) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let grown = NewPartitions::new(&self.names.events, partitions);
        let made = admin.create_partitions([&grown], &AdminOptions::new());
        for made in made.await.unwrap() {
            made.unwrap();
        }
    }

    /// Publishes orders that are settled already, into the inlets.
    fn publish_into_inlets(&self, name: &str) {
        let records = INLETS.into_iter().flat_map(|inlet| {
            (0..EACH).map(move |n| {
                let event = event("patient", &format!("{name}-{inlet}-{n}"), "1");
                Raw::to(inlet, event.to_string())
            })
        });
        produce(&self.broker.bootstrap, &self.names.events, records);
    }

    /// Waits until the group has committed `next` for both inlets.
    async fn inlets_committed(&self, next: usize) {
        let reader: BaseConsumer = self
            .client()
            .set("group.id", &self.names.app)
            .create()
            .unwrap();
        eventually("the inlets are committed", WITHIN, async || {
            let mut places = TopicPartitionList::new();
            for inlet in INLETS {
                places.add_partition(&self.names.events, inlet);
            }
            let committed = reader.committed_offsets(places, WITHIN).unwrap();
            let elements = committed.elements();
            let next = Offset::Offset(i64::try_from(next).unwrap());
            elements
                .iter()
                .all(|place| place.offset() == next)
                .then_some(())
        })
        .await;
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.bootstrap);
        config
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_beyond_the_shards_is_forwarded_once_and_goes_on_where_it_was_committed() {
    let Some(site) = Site::create("inlets", SHARDS, TYPES) else {
        return;
    };
    site.grow_events(6).await;
    let mut tail = site.tail();
    site.publish_into_inlets("A");
    // Garbage and a second misfit stay where they were found.
    let forwarded = Raw {
        headers: vec![("settled-forwarded".to_owned(), b"1".to_vec())],
        ..Raw::to(INLETS[0], event("patient", "TWICE", "1").to_string())
    };
    let garbage = Raw::to(INLETS[1], "no json");
    let (bootstrap, events) = (&site.broker.bootstrap, &site.names.events);
    produce(bootstrap, events, [forwarded, garbage]);

    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;
    tail.wait_for(2 * EACH, WITHIN);
    site.inlets_committed(EACH + 1).await;
    let letters = site.dead_letters();
    let reasons: Vec<_> = letters
        .values()
        .map(|(reason, _)| reason.as_str())
        .collect();
    assert_eq!(reasons, ["misrouted", "not-json"]);
    worker.process.terminate(Duration::from_secs(10)).await;

    site.publish_into_inlets("B");
    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;
    tail.wait_for(4 * EACH, WITHIN);
    site.inlets_committed(2 * EACH + 1).await;
    site.at_rest().await;
    let page = Page::of(worker.admin).await;
    let forwarded = page.sum("settled_events_total", &[("outcome", "forwarded")]);
    assert_eq!(forwarded, 2 * EACH as u64, "nothing of A once more");
    assert_eq!(page.sum("settled_shards_owned", &[]), 4);
    worker.process.terminate(Duration::from_secs(10)).await;
    assert_eq!(site.resolutions().len(), 4 * EACH);
    assert_eq!(site.dead_letters().len(), 2);
}
