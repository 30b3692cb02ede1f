//! The shipped alerts on a real run: Debian's Prometheus scrapes two workers while orders exhaust and
//! run late, a shard loses unread events, another one's view is damaged, the workers are killed
//! and the views wiped. Each is heard of once, and not any more when it is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::Producer;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::checker::logs::{Tail, shard_of};
use crate::checker::metrics::Page;
use crate::checker::process::{Bank, Worker};
use crate::checker::{Site, command, event, key};
use crate::prometheus::Prometheus;
use crate::support::eventually;
use crate::support::topics::{Raw, open_transaction, produce};

const SHARDS: i32 = 4;
/// Loses events that nobody has read.
const TRIMMED: i32 = 0;
/// Its view gets a key of the wrong type.
const DAMAGED: i32 = 1;
/// The shards that have nothing but work.
const SOUND: [i32; 2] = [2, 3];

/// By two questions a second, the last of them waits for 45 s.
const CROWD: usize = 90;

const WITHIN: Duration = Duration::from_secs(30);

/// What lasts until somebody mends it.
const LASTING: [&str; 4] = [
    "SettledOrdersExhausted hasty",
    "SettledOrdersOverdue crowded",
    "SettledShardStopped out_of_range",
    "SettledShardStopped view_corrupt",
];

/// Why a shard stands still: the reason of the gauge, and the cause of its recoveries.
const STALLS: [[&str; 2]; 2] = [["out_of_range"; 2], ["view_corrupt", "damaged"]];

/// How the line begins that says the way out.
const OUTSIDE: &str = "the position lies outside the log";

/// Events about so many orders of these shards.
fn events(order_type: &str, shards: &[i32], count: usize, status: &str) -> Vec<Value> {
    (0..)
        .map(|n| event(order_type, &format!("TX{n:08}"), status))
        .filter(|event| shards.contains(&shard_of(&key(event), SHARDS)))
        .take(count)
        .collect()
}

/// Two workers, and what there is to be heard of them.
struct Run {
    prometheus: Prometheus,
    workers: [Worker; 2],
    tail: Tail,
    /// Two orders of which the bank never says more than «in progress».
    hasty: Vec<Value>,
    /// Orders that must wait for their question.
    crowd: Vec<Value>,
    _banks: [Bank; 2],
    site: Site,
}

/// What is told of the trimmed and of the damaged shard.
#[derive(Default)]
struct Standing {
    /// Whether they stand still.
    stalled: [u64; 2],
    /// How often they were looked at.
    looks: [u64; 2],
    /// Changes of ownership.
    changes: usize,
}

impl Run {
    /// Starts all; `None`: skipped aloud.
    async fn begin() -> Option<Self> {
        let site = Site::plan("alerts", SHARDS)?;
        let never = site.bank(&["--in-progress", "1000000"]).await;
        let at_once = site.bank(&["--in-progress", "0"]).await;
        site.configure(&format!(
            r#"
[order_types.hasty]
query = {{ url = "http://{}/" }}
schedule = {{ in_progress = ["200ms x 2"] }}
[order_types.crowded]
query = {{ url = "http://{}/" }}
ceiling = {{ questions_per_second = 2, in_flight = 1 }}
[order_types.patient]
query = {{ url = "http://127.0.0.1:9/" }}
"#,
            never.at, at_once.at
        ));
        site.create_topics();
        let workers = [site.worker().await, site.worker().await];
        let prometheus = Prometheus::scraping(&workers.each_ref().map(|w| w.admin)).await?;
        site.all_open(&workers.each_ref()).await;
        for worker in &workers {
            let alarms = Page::of(worker.admin).await;
            let alarms = alarms.sum("settled_alarms_total", &[]);
            assert_eq!(alarms, 0, "a first start loses nothing");
        }
        Some(Self {
            prometheus,
            workers,
            tail: site.tail(),
            hasty: events("hasty", &SOUND, 2, "3"),
            crowd: events("crowded", &SOUND, CROWD, "3"),
            _banks: [never, at_once],
            site,
        })
    }

    /// Waits until what lasts fires, or does not.
    async fn lasting(&self, fire: bool) {
        for alert in LASTING {
            self.prometheus.alert(alert, fire).await;
        }
    }

    /// How things stand with the two shards, by pages and logs.
    async fn standing(&self) -> Standing {
        let mut now = Standing::default();
        for worker in &self.workers {
            let page = Page::of(worker.admin).await;
            let lines = worker.process.log_lines();
            for (n, [reason, cause]) in STALLS.into_iter().enumerate() {
                now.stalled[n] += page.sum("settled_stalled_shards", &[("reason", reason)]);
                now.looks[n] += page.sum("settled_recoveries_total", &[("cause", cause)]);
            }
            now.changes += told(&lines, "ownership changed").count();
        }
        now
    }

    /// Waits until both shards stand still and were looked at once more by the same owners, and holds
    /// the pages to it all the while.
    async fn both_stand_still(&self) {
        loop {
            let before = eventually("both stand still", WITHIN, async || {
                let now = self.standing().await;
                (now.stalled == [1, 1]).then_some(now)
            })
            .await;
            let by_the_same = eventually("both are looked at again", WITHIN, async || {
                let now = self.standing().await;
                if now.changes > before.changes {
                    // A slow machine loses a short session; a new owner has not looked yet.
                    return Some(false);
                }
                assert_eq!(now.stalled, [1, 1]);
                let again = [0, 1].map(|n| now.looks[n] > before.looks[n]);
                (again == [true; 2]).then_some(true)
            })
            .await;
            if by_the_same {
                break;
            }
        }
    }

    /// Kills a worker, and starts another at its address once its end was heard of.
    async fn replace(&mut self, worker: usize) {
        let at = self.workers[worker].admin;
        let down = format!("SettledWorkerDown {at}");
        self.workers[worker].process.kill();
        self.prometheus.alert(&down, true).await;
        self.workers[worker] = Worker::start(
            self.site.config().to_str().unwrap(),
            self.site.file(&format!("replaced-{worker}.log")),
            &[("SETTLED_ADMIN__LISTEN", &at.to_string())],
        )
        .await;
        self.prometheus.alert(&down, false).await;
    }

    /// Does with the trimmed shard what the log says.
    fn take_the_way_out(&self) {
        let lines = self.workers.each_ref().map(|w| w.process.log_lines());
        let line = lines.iter().flat_map(|lines| told(lines, OUTSIDE));
        let line = line.last().unwrap();
        assert_eq!(line["shard"], TRIMMED);
        let way_out = line["way_out"].as_str().unwrap();
        let mut words = way_out.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        let added = command.query::<i64>(&mut self.site.redis()).unwrap();
        assert_eq!(added, 0, "{way_out}: no such field");
    }
}

/// Where the damaged view's meta hash waits: in a cluster, on the same node.
fn kept() -> String {
    format!("s{{{DAMAGED}}}kept")
}

/// The lines that begin like this.
fn told<'a>(lines: &'a [Value], begins: &'a str) -> impl Iterator<Item = &'a Value> {
    let text = |line: &'a Value| line["message"].as_str().unwrap_or_default();
    lines
        .iter()
        .filter(move |line| text(line).starts_with(begins))
}

impl Site {
    /// Events that retention removes before they are read: somebody's open transaction hid them.
    /// Returns one that is left.
    async fn lose_events(&self) -> Value {
        let (bootstrap, topic) = (&self.broker.bootstrap, &self.names.events);
        let hidden = [Raw::to(TRIMMED, "no json")];
        let open = open_transaction(bootstrap, &self.names.app, topic, &hidden);
        let mut three = events("patient", &[TRIMMED], 3, "1");
        let records = three
            .iter()
            .map(|event| Raw::to(TRIMMED, event.to_string()));
        produce(bootstrap, topic, records);

        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", bootstrap);
        client.set("isolation.level", "read_uncommitted");
        let reader: BaseConsumer = client.create().unwrap();
        let (_, end) = reader.fetch_watermarks(topic, TRIMMED, WITHIN).unwrap();
        let mut place = TopicPartitionList::new();
        let last = Offset::Offset(end - 1);
        place.add_partition_offset(topic, TRIMMED, last).unwrap();
        let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
        let removed = admin.delete_records(&place, &AdminOptions::new());
        for removed in removed.await.unwrap().elements() {
            removed.error().unwrap();
        }
        open.abort_transaction(WITHIN).unwrap();
        three.remove(2)
    }

    /// Puts a string where the view's meta hash is, and keeps that.
    fn damage_the_view(&self) {
        let meta = format!("s{{{DAMAGED}}}meta");
        let mut damage = redis::pipe();
        damage.atomic().rename(&meta, kept()).set(&meta, "hands");
        damage.exec(&mut self.redis()).unwrap();
    }

    fn restore_the_view(&self) {
        let mut restore = redis::pipe();
        restore.rename(kept(), format!("s{{{DAMAGED}}}meta"));
        restore.exec(&mut self.redis()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_of_a_real_run_fires_once_and_clears() {
    let Some(mut run) = Run::begin().await else {
        return;
    };
    run.site.publish(&run.hasty);
    run.site.publish(&run.crowd);
    let left = run.site.lose_events().await;
    run.site.damage_the_view();
    let behind = events("patient", &[DAMAGED], 1, "1").remove(0);
    run.site.publish(std::slice::from_ref(&behind));
    run.both_stand_still().await;
    run.lasting(true).await;

    // So every shard has another owner than before.
    run.replace(0).await;
    run.replace(1).await;
    run.lasting(true).await;

    // Meanwhile the other shards did their work, and of these nothing was guessed.
    let crowd: BTreeSet<String> = run.crowd.iter().map(key).collect();
    run.tail.wait_for(1, WITHIN);
    let settled = &run.tail.settled;
    assert!(settled.is_subset(&crowd), "{settled:?}");

    run.site.restore_the_view();
    run.take_the_way_out();
    let number = |event: &Value| event["reqNO"].as_str().unwrap().to_owned();
    let by_hand = json!({"command": "settle", "status": "2"});
    run.site.publish(&[
        command("hasty", &number(&run.hasty[0]), &by_hand),
        event("hasty", &number(&run.hasty[1]), "1"),
    ]);
    run.lasting(false).await;
    run.tail.wait_for(CROWD + 4, WITHIN);

    run.site.all_open(&run.workers.each_ref()).await;
    run.site.flush_all();
    let rebuilt = "SettledAlarm view_rebuilt";
    run.prometheus.alert(rebuilt, true).await;
    let down = run.workers.each_ref().map(|worker| worker.admin);
    let down = down.map(|at| format!("SettledWorkerDown {at}"));
    let once = LASTING.into_iter().chain([rebuilt]).map(str::to_owned);
    let once: BTreeMap<_, _> = once.chain(down).map(|alert| (alert, 1)).collect();
    assert_eq!(run.prometheus.fired().await, once);

    let settled: BTreeSet<String> = run.site.resolutions().into_keys().collect();
    let others = [&left, &behind, &run.hasty[0], &run.hasty[1]];
    let all: BTreeSet<_> = others.into_iter().map(key).chain(crowd).collect();
    assert_eq!(settled, all);
    run.prometheus.stop().await;
}
