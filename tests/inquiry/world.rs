//! An engine with a store that only keeps the ceiling, and somebody who asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use settled::clock::Clock;
use settled::config::OrderTypeConfig;
use settled::domain::answer::{Answer, CouldNotAsk};
use settled::domain::order::{OrderId, ReqNo, TypeId};
use settled::inquiry::{Answered, Around, Asker, Engine, Question, Standing, Ticket};
use settled::metrics::Metrics;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ceiling_store::CeilingStore;
use crate::{key, type_name};

/// Later than any test.
pub const FAR: u64 = 3_600_000;

#[derive(Debug)]
pub struct Generation(pub AtomicBool);

impl Standing for Generation {
    fn stands(&self) -> bool {
        self.0.load(SeqCst)
    }
}

pub struct World {
    pub engine: Engine,
    pub store: Arc<CeilingStore>,
    pub clock: Clock,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub generation: Arc<Generation>,
    sender: mpsc::Sender<Answered>,
    pub metrics: Arc<Metrics>,
    pub answers: mpsc::Receiver<Answered>,
}

impl World {
    pub fn new<const N: usize>(types: [(&str, OrderTypeConfig); N]) -> Self {
        let clock = Clock::start();
        let store = Arc::new(CeilingStore::new(clock));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let types: BTreeMap<_, _> = types
            .into_iter()
            .map(|(name, config)| (type_name(name), config))
            .collect();
        let metrics = Metrics::new(clock, types.keys()).unwrap();
        let around = Around {
            clock,
            metrics: Arc::clone(&metrics),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let engine = Engine::new(&types, &store, &around).unwrap();
        let (sender, answers) = mpsc::channel(10_000);
        Self {
            engine,
            store,
            clock,
            tasks,
            stop,
            generation: Arc::new(Generation(AtomicBool::new(true))),
            sender,
            metrics,
            answers,
        }
    }

    pub fn question(&self, order: &str, claim: u32, start_before: u64) -> Question {
        Question {
            key: key(order),
            query: None,
            traceparent: None,
            attempt: 1,
            fresh: true,
            start_before,
            asker: Asker {
                standing: self.generation.clone(),
                ticket: Ticket {
                    generation: 1,
                    id: OrderId {
                        type_id: TypeId(0),
                        req_no: ReqNo::new("TX").unwrap(),
                    },
                    claim,
                },
                answers: self.sender.clone(),
            },
        }
    }

    pub fn ask(&self, order: &str, claim: u32) {
        self.engine.ask(self.question(order, claim, FAR));
    }

    pub async fn answer(&mut self) -> Answered {
        self.answers.recv().await.unwrap()
    }
}

pub fn not_started() -> Answer {
    Answer::CouldNotAsk {
        why: CouldNotAsk::NotStarted,
        retry_after: None,
    }
}
