//! The owner of every shard of a world: the shards' tasks on the real handles, without the listeners
//! and the wiring of the command, so that a test decides how often a floor is committed. What the
//! shards log is kept; they run on the test's own thread for that.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use settled::clock::Clock;
use settled::config::{OrderTypeConfig, Secret};
use settled::domain::order::TypeName;
use settled::domain::schedule::{Ladder, Schedule};
use settled::inquiry::{Around, Engine};
use settled::kafka::ends::EndAsker;
use settled::kafka::floor::Floors;
use settled::kafka::publisher::PublisherPool;
use settled::kafka::settings::Settings;
use settled::kafka::thread::KafkaThread;
use settled::kafka::{member, producer, reader};
use settled::metrics::Metrics;
use settled::shard::core::plan::{Plan, TypePlan};
use settled::shard::{Ownership, Ports, Retention, Shard};
use settled::store::redis::RedisStore;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::subscriber::DefaultGuard;

use crate::support::redis::RedisServer;
use crate::{DEADLINE, every_type, support};

/// What an owner differs in.
pub struct Terms {
    /// The query interface of every order type.
    pub query_url: String,
    /// Order types, each with its ladder.
    pub types: BTreeMap<&'static str, &'static str>,
    /// How often a floor is committed, in milliseconds.
    pub floor_every: u64,
    /// How long `order-results` says that it keeps its records.
    pub results_kept: Duration,
    /// Where forwards are sent; `None`: to the topic of the events.
    pub forwards_to: Option<String>,
}

/// A running owner.
pub struct Owner {
    pub store: Arc<RedisStore>,
    pub ports: Arc<Ports<RedisStore>>,
    /// As the group gave them, by shard.
    pub ownerships: Vec<Ownership>,
    metrics: Arc<Metrics>,
    lines: Lines,
    stop: CancellationToken,
    shards: JoinSet<()>,
    threads: Vec<KafkaThread>,
    _changes: mpsc::Receiver<member::Ownership>,
    _retention: watch::Sender<Retention>,
    _logging: DefaultGuard,
}

impl Owner {
    /// Starts a task for each shard. The calling test has one thread.
    pub async fn start(settings: &Settings, redis: &RedisServer, terms: Terms) -> Self {
        let (lines, logging) = Lines::begin();
        let types = order_types(&terms);
        let plans: Vec<_> = types.iter().map(plan_of).collect();
        let urls = [Secret::new(redis.url.clone())];
        let store = Arc::new(RedisStore::connect(&urls, "").await.unwrap());
        let (clock, stop) = (Clock::start(), CancellationToken::new());
        let metrics = Metrics::new(clock, types.keys()).unwrap();
        let around = Around {
            clock,
            metrics: Arc::clone(&metrics),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
        };
        let engine = Engine::new(&types, &store, &around).unwrap();
        let (reader, reading) = reader::spawn(settings, every_type()).unwrap();
        let mut sends = settings.clone();
        sends.topics.events = terms.forwards_to.unwrap_or(sends.topics.events);
        let (producer, producing) = producer::spawn(&sends).unwrap();
        let (sink, changes) = mpsc::channel(64);
        let (member, membership) = member::spawn(settings, Box::new(|_| {}), sink).unwrap();
        let ends = EndAsker::new(settings).unwrap();
        let (keep, retention) = watch::channel(Retention {
            events: None,
            results: Some(terms.results_kept),
        });
        let ports = Arc::new(Ports {
            app: settings.app.as_str().into(),
            shards: settings.shards,
            window: settings.window,
            types: watch::channel(plans.clone().into()).1,
            retention,
            store: Arc::clone(&store),
            reader,
            publishers: PublisherPool::start(settings).unwrap(),
            producer,
            floors: Floors::new(ends.clone()),
            ends,
            member,
            engine,
            metrics: Arc::clone(&metrics),
            clock,
        });
        let mut shards = JoinSet::new();
        let ownerships: Vec<_> = (0..settings.shards).map(|_| Ownership::default()).collect();
        for (shard, ownership) in (0..settings.shards).zip(&ownerships) {
            let mut plan = Plan::new(shard, settings.shards, settings.window, plans.clone());
            plan.survey_every = 100;
            plan.floor_every = terms.floor_every;
            let shard = Shard::new(Arc::clone(&ports), plan, 1 << 32, ownership.clone());
            shards.spawn(shard.run(stop.clone()));
        }
        Self {
            store,
            ports,
            ownerships,
            metrics,
            lines,
            stop,
            shards,
            threads: vec![reading, producing, membership],
            _changes: changes,
            _retention: keep,
            _logging: logging,
        }
    }

    /// Which shards were found without a view, and from where each was folded again.
    pub fn rebuilds(&self) -> Vec<(u64, String)> {
        self.said("view is empty, rebuilding from ")
    }

    /// What was logged so far with this beginning: the shard and the rest of the message.
    fn said(&self, beginning: &str) -> Vec<(u64, String)> {
        let said = self.lines.all().into_iter().filter_map(|line| {
            let fields = &line["fields"];
            let rest = fields["message"].as_str()?.strip_prefix(beginning)?;
            Some((fields["shard"].as_u64()?, rest.to_owned()))
        });
        said.collect()
    }

    /// Waits until the timers were opened so often, in all shards together.
    pub async fn opened(&self, times: usize) {
        support::eventually("the timers are open", DEADLINE, async || {
            (self.said("the timer is open").len() >= times).then_some(())
        })
        .await;
    }

    /// The sum of the series of the metrics page that begin so.
    pub fn metric(&self, series: &str) -> u64 {
        let page = self.metrics.page().unwrap();
        let lines = page.lines().filter(|line| line.starts_with(series));
        let values = lines.map(|line| line.rsplit_once(' ').unwrap().1);
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    }

    /// Ends everything.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.shards.join_next().await {
            ended.unwrap();
        }
        for thread in self.threads {
            assert!(thread.stop(DEADLINE).await);
        }
    }
}

fn order_types(terms: &Terms) -> BTreeMap<TypeName, OrderTypeConfig> {
    let types = terms.types.iter().map(|(name, ladder)| {
        let ladder = Ladder::parse(&[(*ladder).to_owned()]).unwrap();
        let config = OrderTypeConfig {
            schedule: Schedule {
                in_progress: ladder.clone(),
                unknown: ladder,
                ..Schedule::default()
            },
            ..OrderTypeConfig::new(terms.query_url.clone())
        };
        (TypeName::new(name).unwrap(), config)
    });
    types.collect()
}

fn plan_of((name, config): (&TypeName, &OrderTypeConfig)) -> TypePlan {
    TypePlan {
        name: name.clone(),
        schedule: config.schedule.clone(),
        timeout: config.query.timeout.as_millis() as u64,
    }
}

/// The log lines of this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn begin() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn all(&self) -> Vec<Value> {
        let written = self.0.lock().unwrap();
        let lines = written.split(|byte| *byte == b'\n');
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
