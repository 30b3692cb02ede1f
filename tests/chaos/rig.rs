//! One run: two workers on a broker and a Redis behind a proxy, load, the strike, rest, the verdict.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::callers::Callers;
use crate::checker::logs::shard_of;
use crate::checker::process::{Bank, Worker};
use crate::checker::{Site, event, key};
use crate::clock_rows::Clock;
use crate::exhausted;
use crate::kafka_nodes::KafkaNode;
use crate::kept::Logs;
use crate::nodes::RedisNode;
use crate::plain_http::get;
use crate::proxy::Proxy;
use crate::rows::{Row, Setup, Whose};
use crate::support::broker::Broker;
use crate::support::eventually;
use crate::support::redis::RedisServer;
use crate::support::topics::{Isolation, Seen, read_raw};
use crate::support::{self};
use crate::traffic::{IN_PROGRESS, Traffic, order_types, paces};
use crate::verdict::{Case, Verdict, judge};

const SHARDS: i32 = 6;
/// It strikes when this many results are there.
const AMID: usize = 60;
/// All is decided so long after the last event, or something is lost.
const DECIDED: Duration = Duration::from_mins(2);
/// So long it may take until all works again.
const WHOLE: Duration = Duration::from_mins(1);

/// How a run ended.
pub struct Ended {
    pub verdict: Verdict,
    /// From the end of the fault until every shard was open and had published what was said to it then.
    pub whole: Duration,
    pub took: Duration,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict {
            orders,
            results,
            aborted,
            questions,
            ..
        } = self.verdict;
        write!(
            f,
            "{orders} orders, {questions} questions, {results} results and {aborted} aborted;"
        )?;
        for (name, broken) in self.verdict.broken() {
            write!(f, " {name} {}", broken.len())?;
        }
        write!(
            f,
            "; stall {:.2} s, whole after {:.2} s, took {:.1} s",
            self.verdict.stall.as_secs_f64(),
            self.whole.as_secs_f64(),
            self.took.as_secs_f64()
        )
    }
}

/// Carries a run out on a runtime of its own.
pub fn carry_out(row: &Row, seed: u64) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let began = Instant::now();
        let rig = Rig::open(row, seed).await;
        let (verdict, whole) = rig.live_through(row).await;
        Ended {
            verdict,
            whole,
            took: began.elapsed(),
        }
    })
}

/// The brokers of a run's own, if it has any; where the checker finds one; and the proxy before it.
async fn brokers(setup: &Setup, seed: u64) -> (Vec<KafkaNode>, &'static Broker, Option<Proxy>) {
    let (nodes, proxy) = if setup.kafka_proxy {
        let (node, proxy) = KafkaNode::behind_proxy(seed).await;
        (vec![node], Some(proxy))
    } else if setup.own_brokers > 0 {
        (KafkaNode::start(setup.own_brokers).await, None)
    } else {
        return (Vec::new(), support::kafka().unwrap(), None);
    };
    let at: Vec<&str> = nodes.iter().map(|node| node.at.as_str()).collect();
    // A site borrows its broker for ever; this is no more than its address.
    let broker = Box::leak(Box::new(Broker::at(at.join(","))));
    (nodes, broker, proxy)
}

/// What a run consists of. The site is dropped last, its files with it.
pub struct Rig {
    /// The workers that run now.
    pub workers: Vec<Worker>,
    pub bank: Bank,
    pub traffic: Arc<Traffic>,
    /// What the proxy leads to.
    pub redis: RedisNode,
    /// The nodes of a Redis Cluster, masters first, where the run has one; that `redis` is idle then.
    pub redis_cluster: Vec<RedisNode>,
    /// The brokers, where they are this run's own.
    pub kafka: Vec<KafkaNode>,
    /// In the way of every connection of a worker to Redis.
    pub to_redis: Proxy,
    /// The same to the broker, where the row asks for it.
    pub to_kafka: Option<Proxy>,
    /// Of the clock that can be stepped.
    pub clock: Clock,
    stepped: Option<Whose>,
    /// Events that are in their log no longer, each once.
    pub gone: Vec<Seen>,
    logs: Logs,
    pub site: Site,
}

impl Rig {
    async fn open(row: &Row, seed: u64) -> Self {
        let Setup {
            spread,
            redis,
            redis_cluster,
            group_protocol,
            stepped,
            ..
        } = row.setup.clone();
        let clock = Clock::right();
        let environment = clock.of(stepped == Some(Whose::Redis));
        let redis = RedisNode::start_in(redis, &environment).await;
        let to_redis = Proxy::start(redis.at(), seed).await;
        let redis_cluster = if redis_cluster {
            RedisNode::cluster().await
        } else {
            Vec::new()
        };
        let nodes = redis_cluster.iter().map(RedisNode::at);
        let mut urls: Vec<String> = nodes.map(|at| format!("redis://{at}/0")).collect();
        if urls.is_empty() {
            urls.push(format!("redis://{}/0", to_redis.at));
        }
        let url = RedisServer::at(urls.join(","));
        let name = format!("{}-{seed}", row.name);
        let (kafka, broker, to_kafka) = brokers(&row.setup, seed).await;
        let mut site = Site::on(broker, url, &name, SHARDS);
        site.kafka_behind = to_kafka.as_ref().map(|proxy| proxy.at.to_string());
        site.group_protocol = group_protocol;
        site.session_ms = 1_500;
        let bank = site
            .bank(&["--in-progress", IN_PROGRESS, "--latency", "5ms"])
            .await;
        site.configure(&order_types(bank.at));
        site.create_topics();
        let mut rig = Self {
            workers: Vec::new(),
            bank,
            traffic: Arc::new(Traffic::draw(seed, SHARDS, spread)),
            redis,
            redis_cluster,
            kafka,
            to_redis,
            to_kafka,
            clock,
            stepped,
            gone: Vec::new(),
            logs: Logs::of(&site, "chaos", &name),
            site,
        };
        for name in ["one", "other"] {
            let worker = rig.worker(name).await;
            rig.workers.push(worker);
        }
        rig.all_open().await;
        rig
    }

    /// Starts one more worker.
    pub async fn worker(&self, name: &str) -> Worker {
        let environment = self.clock.of(self.stepped == Some(Whose::Workers));
        let environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let log = self.site.file(&format!("{name}.log"));
        Worker::start(self.site.config().to_str().unwrap(), log, &environment).await
    }

    /// Waits until the workers together have every shard open.
    pub async fn all_open(&self) {
        let workers: Vec<&Worker> = self.workers.iter().collect();
        self.site.all_open(&workers).await;
    }

    async fn live_through(mut self, row: &Row) -> (Verdict, Duration) {
        let asked = self.workers.iter().map(|worker| worker.api).collect();
        let callers = Callers::start(asked, self.traffic.patient());
        let publishing = self.publishing();
        eventually("amid the work", Duration::from_secs(30), async || {
            (self.results().len() >= AMID).then_some(())
        })
        .await;
        (row.strike)(&mut self).await;
        let struck = Instant::now();
        tokio::time::timeout(WHOLE, self.works()).await.unwrap();
        let whole = struck.elapsed();
        publishing.await.unwrap();
        self.decided().await;
        self.all_open().await;
        exhausted::is_what_results_say(&self).await;
        let told = callers.told();
        drop(callers);
        let verified = self.site.settled(&["verify"]);
        assert!(verified.status.success(), "{verified:?}");
        for mut worker in self.workers {
            worker.process.terminate(Duration::from_secs(15)).await;
        }
        let questions = get(self.bank.at, "/questions").await.body;
        let verdict = judge(
            &self.site,
            &Case {
                orders: &self.traffic.orders(),
                paces: &paces(),
                questions: &questions,
                told: &told,
                gone: &self.gone,
            },
        );
        self.logs.kept_unless(&verdict);
        (verdict, whole)
    }

    /// Waits until every shard is open and has published what was said to it now.
    async fn works(&self) {
        let probes: Vec<Value> = (0..SHARDS)
            .map(|shard| {
                let probe = |n: u32| event("transfer", &format!("probe{n}"), "1");
                let mut probes = (0..).map(probe);
                let own = |probe: &Value| shard_of(&key(probe), SHARDS) == shard;
                probes.find(own).unwrap()
            })
            .collect();
        self.site.publish(&probes);
        let probes: BTreeSet<String> = probes.iter().map(key).collect();
        eventually("every shard publishes", WHOLE, async || {
            self.results().is_superset(&probes).then_some(())
        })
        .await;
        self.all_open().await;
    }

    fn publishing(&self) -> JoinHandle<()> {
        let (broker, topic) = (self.site.broker, self.site.names.events.clone());
        let traffic = Arc::clone(&self.traffic);
        tokio::task::spawn_blocking(move || traffic.publish(&broker.bootstrap, &topic))
    }

    /// Waits until every order has a result, or too long.
    async fn decided(&self) {
        let orders = self.traffic.orders();
        let deadline = Instant::now() + DECIDED;
        while Instant::now() < deadline && !self.results().is_superset(&orders) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The orders that have a committed result. The schemas have their turn at the end.
    pub fn results(&self) -> BTreeSet<String> {
        let (bootstrap, topic) = (&self.site.broker.bootstrap, &self.site.names.results);
        let results = read_raw(bootstrap, topic, Isolation::Committed);
        let keys = results.into_iter().filter_map(|result| result.key);
        keys.map(|key| String::from_utf8(key).unwrap()).collect()
    }
}
