//! The only wiring: makes every part of a worker, hands each what it needs, owns every long-lived
//! task and thread, and takes all of it down again. A part that ends unasked ends the process.

mod alarms;
pub mod check;
pub mod dev;
pub mod history;
mod http;
pub mod operator;
mod pauses;
mod probe;
pub mod reload;
mod shards;
pub mod verify;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::health::Health;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::order::{Millis, TypeName};
use crate::inquiry::{Around, Engine};
use crate::kafka::ends::EndAsker;
use crate::kafka::floor::Floors;
use crate::kafka::publisher::PublisherPool;
use crate::kafka::settings::{Settings, World};
use crate::kafka::thread::{KafkaThread, ThreadError};
use crate::kafka::{member, producer, reader};
use crate::metrics::Metrics;
use crate::shard::Ports;
use crate::shard::core::plan::TypePlan;
use crate::store::Store;
use crate::store::operator::OperatorStore;
use pauses::Pauses;
use reload::{Effects, Reloader, Reread};
use shards::Shards;

/// How long a graceful end may take in all; the README promises 10 s.
const DRAIN: Duration = Duration::from_secs(8);

/// How long transactions may take to end before the group is left: five times what one takes.
const TRANSACTIONS: Duration = Duration::from_millis(100);

/// Changes of ownership that may wait to be followed.
const CHANGES: usize = 64;

/// Where a running worker listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// `[api]`.
    pub api: SocketAddr,
    /// `[admin]`.
    pub admin: SocketAddr,
}

/// What a worker is started from.
pub struct Start<'a> {
    /// As it was read.
    pub config: &'a Config,
    /// Where its topics are.
    pub world: World,
    /// Reads it again; without it the worker knows nothing of reloads.
    pub reread: Option<Reread>,
}

/// Runs one worker until `stop`, then drains. `ready` is told the addresses once both ports are bound
/// and the group was joined.
///
/// # Errors
/// A part that could not start, or that ended unasked.
#[expect(clippy::too_many_lines, reason = "the wiring, part by part")]
pub async fn run<S: Store + OperatorStore>(
    start: Start<'_>,
    store: Arc<S>,
    stop: CancellationToken,
    ready: impl FnOnce(Addresses),
) -> anyhow::Result<()> {
    let Start {
        config,
        world,
        reread,
    } = start;
    let clock = Clock::start();
    let metrics = Metrics::new(clock, config.order_types.keys()).context("metrics")?;
    let health = Health::new(clock, Arc::clone(&metrics));
    let listeners = http::bind(config, Arc::clone(&health)).await?;
    let addresses = listeners.addresses();

    let tasks = TaskTracker::new();
    tasks.spawn(alarms::follow(
        Arc::clone(&metrics),
        clock,
        stop.child_token(),
    ));
    // A dispatcher that dies cancels this one.
    let asking = stop.child_token();
    let around = around(clock, &metrics, &tasks, &asking);
    let engine = Engine::new(&config.order_types, &store, &around)?;
    let settings = Settings::new(config, world);
    let (types_sink, types) = watch::channel(type_plans(config));
    let pauses = Pauses::new((&store, &engine, &metrics), clock, &types);
    tasks.spawn(Arc::clone(&pauses).follow(stop.child_token()));
    let configured = types.clone();
    let (reader, reader_thread) = reader::spawn(
        &settings,
        Arc::new(move |name| is_configured(&configured.borrow(), name)),
    )?;
    let (producer, producer_thread) = producer::spawn(&settings)?;
    let ends = EndAsker::new(&settings)?;
    let owned = shards::Owned::default();
    let publishers = PublisherPool::start(&settings).context("publisher threads")?;
    let (changes_sink, changes) = mpsc::channel(CHANGES);
    let (member, member_thread) = member::spawn(&settings, owned.on_revoke(), changes_sink)?;
    let ports = Arc::new(Ports {
        app: config.app.as_str().into(),
        shards: config.shards,
        window: config.dedupe_window.as_millis() as Millis,
        types,
        retention: check::follow_retention(config, world, &tasks, stop.child_token()).await,
        store,
        reader,
        publishers: publishers.clone(),
        producer,
        floors: Floors::new(ends.clone()),
        ends,
        member,
        engine,
        metrics: Arc::clone(&metrics),
        clock,
    });
    tasks.spawn(probe::run(
        Arc::clone(&ports),
        Arc::clone(&health),
        stop.child_token(),
    ));
    let (reloads, requests) = reload::channel();
    let around = (&ports, &pauses, reloads);
    let (shared, serving) = listeners.serve(config, around, (&tasks, &stop));
    let serving = tasks.spawn(serving);
    if let Some(reread) = reread {
        let effects = Effects {
            types: types_sink,
            engine: ports.engine.clone(),
            api: shared,
            pauses: Box::new(move || pauses.apply_all()),
            metrics: Arc::clone(&ports.metrics),
        };
        let reloader = Reloader::new((reread, requests), config.clone(), world, effects)
            .context("SIGHUP cannot be listened to")?;
        tasks.spawn(reloader.run(stop.child_token()));
    }
    ready(addresses);

    let mut running = Running {
        reader: reader_thread,
        producer: producer_thread,
        member: member_thread,
        changes,
        shards: Shards::new(Arc::clone(&ports), owned, tasks.clone()),
        serving,
    };
    let ended = running.until(&stop, &asking, &health).await;
    stop.cancel();
    let Running { shards, member, .. } = running;
    drain(shards, &publishers, member, &tasks).await;
    alarms::tell_the_rest(&metrics, clock);
    ended
}

/// What runs until it is told to end; whatever of it ends unasked ends the process.
struct Running<S> {
    reader: KafkaThread,
    producer: KafkaThread,
    member: KafkaThread,
    changes: mpsc::Receiver<member::Ownership>,
    shards: Shards<S>,
    serving: JoinHandle<()>,
}

impl<S: Store> Running<S> {
    /// Follows the group until `stop`.
    async fn until(
        &mut self,
        stop: &CancellationToken,
        asking: &CancellationToken,
        health: &Health,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = asking.cancelled() => return Err(anyhow::anyhow!("the query engine has ended unasked")),
                _ = &mut self.serving => return Err(anyhow::anyhow!("a listener has ended unasked")),
                change = self.changes.recv() => match change {
                    Some(change) => {
                        self.shards.follow(change, &mut self.changes);
                        health.joined();
                    }
                    None => return Err(anyhow::anyhow!("the member group's thread has ended")),
                },
                ended = self.reader.ended() => return unasked("the reader", ended),
                ended = self.producer.ended() => return unasked("the producer", ended),
                ended = self.member.ended() => return unasked("the member", ended),
                ended = self.shards.panicked() => return Err(ended),
            }
        }
    }
}

fn around(
    clock: Clock,
    metrics: &Arc<Metrics>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Around {
    Around {
        clock,
        metrics: Arc::clone(metrics),
        tasks: tasks.clone(),
        stop: stop.clone(),
    }
}

/// Nothing starts any more; then the group learns that the shards are free, so that others take them
/// over while this process still ends. Transactions end first, within reason: the next owner's fence
/// waits longer for an open one.
async fn drain<S: Store>(
    mut shards: Shards<S>,
    publishers: &PublisherPool,
    member: KafkaThread,
    tasks: &TaskTracker,
) {
    shards.stop();
    let _late = tokio::time::timeout(TRANSACTIONS, publishers.idle()).await;
    let left_the_group = member.stop(DRAIN / 2).await;
    tasks.close();
    let drained = tokio::time::timeout(DRAIN / 2, tasks.wait()).await.is_ok();
    if !left_the_group || !drained {
        tracing::warn!(
            left_the_group,
            drained,
            "the drain took too long, what was under way is left to the next owner"
        );
    }
}

fn unasked(part: &str, ended: Result<(), ThreadError>) -> anyhow::Result<()> {
    match ended {
        Ok(()) => Err(anyhow::anyhow!("{part} has ended unasked")),
        Err(error) => Err(anyhow::Error::from(error).context(format!("{part} has ended"))),
    }
}

/// What each shard's core knows of the order types, sorted by name.
fn type_plans(config: &Config) -> Arc<[TypePlan]> {
    config
        .order_types
        .iter()
        .map(|(name, known)| TypePlan {
            name: name.clone(),
            schedule: known.schedule.clone(),
            timeout: known.query.timeout.as_millis() as Millis,
        })
        .collect()
}

fn is_configured(types: &[TypePlan], name: &TypeName) -> bool {
    types.binary_search_by(|known| known.name.cmp(name)).is_ok()
}

/// How long a caller of the API waits for an order's owner.
fn deadlines(config: &Config) -> BTreeMap<TypeName, Duration> {
    config
        .order_types
        .iter()
        .map(|(name, known)| (name.clone(), known.query.timeout))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Retention;
    use crate::store::memory::MemoryStore;

    /// A handle's thread that ends by itself once it may.
    fn thread(ends: bool) -> KafkaThread {
        let run = move |stop: &crate::kafka::thread::StopFlag| {
            while !ends && !stop.is_set() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        KafkaThread::spawn("t", run).unwrap()
    }

    /// What becomes of a worker of which this part has ended.
    async fn ended(part: &str) -> anyhow::Result<()> {
        let (clock, stop) = (Clock::start(), CancellationToken::new());
        let metrics = Metrics::new(clock, []).unwrap();
        let health = Health::new(clock, Arc::clone(&metrics));
        let (tasks, asking) = (TaskTracker::new(), stop.child_token());
        let store = Arc::new(MemoryStore::new(clock));
        let around = around(clock, &metrics, &tasks, &asking);
        let settings = Settings::of_no_broker();
        let ends = EndAsker::new(&settings).unwrap();
        let (changes_sink, changes) = mpsc::channel(1);
        let owned = shards::Owned::default();
        let (reader, _reading) = reader::spawn(&settings, Arc::new(|_| true)).unwrap();
        let (producer, _producing) = producer::spawn(&settings).unwrap();
        let (sink, _unheard) = mpsc::channel(1);
        let (member, _joining) = member::spawn(&settings, owned.on_revoke(), sink).unwrap();
        let ports = Ports {
            app: "pay".into(),
            shards: settings.shards,
            window: settings.window,
            types: watch::channel([].into()).1,
            retention: watch::channel(Retention::default()).1,
            engine: Engine::new(&BTreeMap::new(), &store, &around).unwrap(),
            store,
            reader,
            publishers: PublisherPool::start(&settings).unwrap(),
            producer,
            floors: Floors::new(ends.clone()),
            ends,
            member,
            metrics,
            clock,
        };
        let mut shards = Shards::new(Arc::new(ports), owned, tasks.clone());
        shards.run(7, tasks.spawn(std::future::pending()));
        let serving = if part == "a listener" {
            tasks.spawn(async {})
        } else {
            tasks.spawn(std::future::pending())
        };
        let mut running = Running {
            reader: thread(part == "the reader"),
            producer: thread(part == "the producer"),
            member: thread(part == "the member"),
            changes,
            shards,
            serving,
        };
        let _changes = (part != "the member group's thread").then_some(changes_sink);
        match part {
            "partition 8" => running
                .shards
                .run(8, tasks.spawn(async { panic!("a bug") })),
            "the query engine" => asking.cancel(),
            "nothing" => stop.cancel(),
            _ => {}
        }
        let ended = running.until(&stop, &asking, &health);
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .expect("it ends the process")
    }

    #[tokio::test]
    async fn whatever_part_ends_unasked_ends_the_process_and_is_named() {
        for part in [
            "the query engine",
            "a listener",
            "the member group's thread",
            "the reader",
            "the producer",
            "the member",
            "partition 8",
        ] {
            let error = ended(part).await.unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
        ended("nothing").await.unwrap();
    }
}
