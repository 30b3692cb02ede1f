//! A run on a scene that is set: worker, traffic and second reader together, from the first event to
//! the verdict. Whatever of them ends unasked ends the run.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::options::{DevOptions, Patience};
use super::session::{self, Session, View};
use super::told::{Started, Told};
use super::world::Scene;
use crate::app::{self, Addresses};
use crate::dev::audit::{Audit, Terms, Verdict};
use crate::dev::bank::Bank;
use crate::dev::sample::Sample;
use crate::dev::second_reader::{Reading, SecondReader, SharedAudit};
use crate::dev::traffic::{Ended, Source, Traffic};
use crate::kafka::settings::{Settings, World};
use crate::store::Store;
use crate::store::operator::OperatorStore;

/// Bad lines that wait to be told.
const BAD_LINES: usize = 100;

/// How long the second reader may take to end.
const LAST: Duration = Duration::from_secs(1);

/// Plays until `stop` or the end of the run, then until what is open was settled.
pub(super) async fn play<S: Store + OperatorStore>(
    options: DevOptions,
    mut scene: Scene,
    store: Arc<S>,
    stop: CancellationToken,
    mut tell: impl FnMut(Told),
) -> anyhow::Result<Verdict> {
    let settings = Settings::new(&scene.config, scene.world);
    let reader = second_reader(&settings).await?;
    let audit = Arc::new(Mutex::new(Audit::new(Terms {
        events_topic: settings.topics.events.clone(),
        shards: settings.shards,
        window: settings.window,
        configured: scene.config.order_types.keys().cloned().collect(),
        question_ages: scene.bank.is_some().then(|| scene.question_ages()),
        began_at: reader.ends_of_events(),
    })));
    let mut reading = reader.start(Arc::clone(&audit), Arc::clone(&options.keep))?;
    let broker = scene.broker.take();
    let verdict = Play {
        options,
        scene,
        settings,
        audit,
        stop,
    }
    .act(store, &mut reading, &mut tell)
    .await;
    // Its clients would complain of a broker that goes before them.
    reading.stop(LAST).await;
    drop(broker);
    verdict
}

/// A run that is set, with a second reader that reads.
struct Play {
    options: DevOptions,
    scene: Scene,
    settings: Settings,
    audit: SharedAudit,
    stop: CancellationToken,
}

impl Play {
    async fn act<S: Store + OperatorStore>(
        mut self,
        store: Arc<S>,
        reading: &mut Reading,
        tell: &mut impl FnMut(Told),
    ) -> anyhow::Result<Verdict> {
        let dealt_with = Arc::new(AtomicU64::new(0));
        let traffic = self.traffic(&dealt_with)?;
        let worker_stop = CancellationToken::new();
        let (ready, addresses) = oneshot::channel();
        let worker = app::run(
            app::Start {
                config: &self.scene.config,
                world: self.scene.world,
                reread: None,
            },
            store,
            worker_stop.clone(),
            |at| {
                // Nobody listens when the run was cancelled meanwhile.
                ready.send(at).unwrap_or_default();
            },
        );
        let mut worker = std::pin::pin!(worker);
        let addresses = tokio::select! {
            ended = &mut worker => return Err(ended_early(ended)),
            addresses = addresses => addresses.context("the worker has ended before it was ready")?,
        };
        tell(Told::Started(Box::new(self.started(addresses))));

        let patience = self.options.patience.unwrap_or_else(|| {
            Patience::for_schedule(&self.scene.question_ages(), self.options.in_progress)
        });
        let view = View {
            clock: self.scene.clock,
            admin: addresses.admin,
            bank: self.scene.bank.clone(),
            audit: Arc::clone(&self.audit),
            ends: reading.ends(),
            dealt_with,
        };
        let mut session = Session::new(view, self.options.run_for, patience);
        let verdict = tokio::select! {
            biased;
            ended = &mut worker => return Err(ended_early(ended)),
            ended = reading.ended() => {
                ended.context("the second reader")?;
                anyhow::bail!("the second reader has ended unasked");
            }
            verdict = course(&mut session, traffic, &self.stop, tell) => verdict?,
        };
        worker_stop.cancel();
        worker.await.context("the worker's end")?;
        session.last_verdict(verdict).await
    }

    fn traffic(&mut self, dealt_with: &Arc<AtomicU64>) -> anyhow::Result<Traffic> {
        let source = if let Some(events) = self.scene.own_events.take() {
            Source::Own(events)
        } else {
            let (rate, shards) = (self.options.rate, self.settings.shards);
            let order_type = self.scene.sample_type()?;
            Source::Sample(Sample::new(order_type, self.scene.seed, rate, shards))
        };
        let (audit, dealt_with) = (Arc::clone(&self.audit), Arc::clone(dealt_with));
        Ok(Traffic::new(
            &self.settings,
            source,
            audit,
            dealt_with,
            self.scene.clock,
        )?)
    }

    fn started(&self, worker: Addresses) -> Started {
        let (scene, topics) = (&self.scene, &self.settings.topics);
        Started {
            embedded: scene.world == World::Embedded,
            redis: !scene.config.redis.urls.is_empty(),
            bootstrap: scene.config.kafka.bootstrap.clone(),
            worker,
            bank: scene.bank.as_ref().map(Bank::local_addr),
            topics: [&topics.events, &topics.results, &topics.dead_letters].map(Clone::clone),
            order_types: scene.config.order_types.keys().cloned().collect(),
            seed: scene.seed,
        }
    }
}

async fn second_reader(settings: &Settings) -> anyhow::Result<SecondReader> {
    let settings = settings.clone();
    let looking = tokio::task::spawn_blocking(move || SecondReader::new(&settings));
    looking.await?.context("the second reader")
}

/// Traffic until `stop` or the run's end, then patience until there is a verdict.
async fn course(
    session: &mut Session,
    traffic: Traffic,
    stop: &CancellationToken,
    tell: &mut impl FnMut(Told),
) -> anyhow::Result<Verdict> {
    let (bad_lines, mut bad_lines_told) = mpsc::channel(BAD_LINES);
    let traffic_stop = CancellationToken::new();
    let mut traffic = std::pin::pin!(traffic.run(traffic_stop.clone(), bad_lines));
    let mut traffic_ended = false;
    let mut tick = tokio::time::interval(session::TICK);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled(), if !session.is_settling() => session.settle(tell),
            Some((line, why)) = bad_lines_told.recv() => tell(Told::BadLine(line, why)),
            ended = &mut traffic, if !traffic_ended => {
                let ended = ended?;
                traffic_ended = true;
                if ended != Ended::Stopped {
                    tell(Told::TrafficEnded(ended));
                }
                if ended == Ended::Full && !session.is_settling() {
                    session.settle(tell);
                }
            }
            _ = tick.tick() => {
                session.look(tell).await;
                if session.is_over() && !session.is_settling() {
                    session.settle(tell);
                }
                if traffic_ended && let Some(verdict) = session.verdict().await? {
                    return Ok(verdict);
                }
            }
        }
        if session.is_settling() {
            traffic_stop.cancel();
        }
    }
}

fn ended_early(ended: anyhow::Result<()>) -> anyhow::Error {
    match ended {
        Ok(()) => anyhow::anyhow!("the worker has ended unasked"),
        Err(error) => error,
    }
}
