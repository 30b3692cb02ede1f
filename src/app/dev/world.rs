//! What the worker of `dev` finds: its configuration, a broker with topics, somebody to ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::options::DevOptions;
use crate::app::check;
use crate::clock::Clock;
use crate::config::{Ceiling, Config, Embedded, GroupProtocol};
use crate::dev::bank::{Bank, BankOptions};
use crate::dev::broker::Broker;
use crate::dev::own_events::OwnEvents;
use crate::domain::order::{Millis, TypeName};
use crate::domain::status::Open;
use crate::kafka::settings::{Settings, World};
use crate::kafka::topic_rules::Finding;
use crate::kafka::topics::TopicAdmin;

/// Far above what one process asks: the simulated bank needs no protection.
const BANK_CEILING: Ceiling = Ceiling {
    questions_per_second: 10_000.0,
    in_flight: 256,
    callers_share: 0.2,
    first_share: 0.5,
    refusals_in_a_row: 20,
};

/// More questions than any schedule of this world has.
const QUESTIONS: usize = 1_000;

/// All that stands before the worker starts; it falls with the value.
pub(super) struct Scene {
    pub config: Config,
    pub world: World,
    pub clock: Clock,
    pub seed: u64,
    pub bank: Option<Bank>,
    pub own_events: Option<OwnEvents>,
    pub broker: Option<Broker>,
    _bank_stop: DropGuard,
}

impl Scene {
    /// Sets it.
    pub async fn set(options: &DevOptions, clock: Clock) -> anyhow::Result<Self> {
        let seed = options.seed.unwrap_or_else(|| clock.wall());
        let bank_stop = CancellationToken::new();
        let bank = match options.query_url {
            Some(_) => None,
            None => Some(bank(options, seed, clock, bank_stop.clone()).await?),
        };
        let query_url = match (&options.query_url, &bank) {
            (Some(url), _) => url.clone(),
            (None, Some(bank)) => format!("http://{}/orders/query", reachable(bank.local_addr())),
            (None, None) => String::new(),
        };
        let mut config = config(options, seed, query_url);
        let mut own_events = None;
        if let Some(path) = &options.events {
            let window = config.dedupe_window.as_millis() as Millis;
            let mut events = OwnEvents::open(path, config.shards, window).await?;
            let like = config.order_types.values().next().cloned();
            for name in events.order_types().await? {
                config
                    .order_types
                    .extend(like.clone().map(|like| (name, like)));
            }
            own_events = Some(events);
        }
        if bank.is_some() {
            for order_type in config.order_types.values_mut() {
                order_type.ceiling = BANK_CEILING;
            }
        }
        let world = match options.kafka {
            Some(_) => World::Real,
            None => World::Embedded,
        };
        let broker = match world {
            World::Real => {
                topics(&config).await.context("--kafka")?;
                None
            }
            World::Embedded => {
                let broker = embedded(&config)?;
                broker.bootstrap().clone_into(&mut config.kafka.bootstrap);
                Some(broker)
            }
        };
        let bank_stop = bank_stop.drop_guard();
        Ok(Self {
            config,
            world,
            clock,
            seed,
            bank,
            own_events,
            broker,
            _bank_stop: bank_stop,
        })
    }

    /// The order type of sample orders.
    pub fn sample_type(&self) -> anyhow::Result<TypeName> {
        self.config
            .order_types
            .keys()
            .next()
            .cloned()
            .context("no order type is configured")
    }

    /// The ideal ages of an order's questions; all types have the same schedule.
    pub fn question_ages(&self) -> Vec<Millis> {
        let order_type = self.config.order_types.values().next();
        order_type.map_or_else(Vec::new, |known| {
            let steps = known.schedule.steps(Open::InProgress);
            steps.take(QUESTIONS).map(|step| step.age).collect()
        })
    }
}

fn config(options: &DevOptions, seed: u64, query_url: String) -> Config {
    let mut embedded = Embedded::new(options.kafka.clone().unwrap_or_default(), query_url);
    embedded.api = options.api_listen;
    embedded.admin = options.admin_listen;
    embedded.redis_urls.extend(options.redis.clone());
    if options.kafka.is_some() {
        // Brokers before Kafka 4 know no other.
        embedded.group_protocol = GroupProtocol::Classic;
    }
    let mut config = Config::for_embedded(embedded);
    config.redis.prefix = match options.kafka {
        Some(_) => "dev-".to_owned(),
        // The embedded broker forgets its logs; a view of them must not be met by the next run.
        None => format!("dev-{:x}-{seed:x}-", std::process::id()),
    };
    config
}

async fn bank(
    options: &DevOptions,
    seed: u64,
    clock: Clock,
    stop: CancellationToken,
) -> anyhow::Result<Bank> {
    let behaviour = BankOptions {
        in_progress: options.in_progress,
        seed,
        ..BankOptions::default()
    };
    let (listen, tasks) = (options.bank_listen, TaskTracker::new());
    Bank::start(listen, behaviour, clock, &tasks, stop).await.map_err(|error| {
        anyhow::anyhow!("--bank-listen {listen}: cannot listen: {error}; stop what holds the port or choose another one")
    })
}

fn embedded(config: &Config) -> anyhow::Result<Broker> {
    let kafka = &config.kafka;
    let topics = [
        (&kafka.events, config.shards),
        (&kafka.results, config.shards),
        (&kafka.dead_letters, 1),
    ];
    Ok(Broker::start(
        topics
            .map(|(name, partitions)| (name.clone(), partitions))
            .to_vec(),
    )?)
}

/// Makes the topics that are missing; those that are there must be as the promises need them.
async fn topics(config: &Config) -> anyhow::Result<()> {
    for created in check::create_topics(config).await? {
        tracing::info!("{created}");
    }
    let findings = TopicAdmin::new(&Settings::new(config, World::Real))?
        .check(check::needs(config))
        .await?;
    let refused: Vec<String> = findings
        .iter()
        .filter(|finding| Finding::is_refused(finding))
        .map(ToString::to_string)
        .collect();
    anyhow::ensure!(refused.is_empty(), "{}", refused.join("; "));
    Ok(())
}

/// Where a listener on every address is reached from this machine.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, listening.port()).into()
}
