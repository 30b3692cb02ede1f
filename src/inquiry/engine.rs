//! The query engine as its callers hold it: the shards ask and report what they have claimed, the
//! API asks now. Each order type is a lane of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Question;
use super::budget::Budget;
use super::dispatch::{Dispatcher, Parts};
use super::http::Http;
use super::job::{AnswerNow, Job, QuestionNow, not_started};
use super::owner::Owner;
use super::pause::Pause;
use super::template::Template;
use crate::clock::Clock;
use crate::config::{OrderTypeConfig, QueryFault};
use crate::domain::answer::Contract;
use crate::domain::order::{OrderKey, TypeName};
use crate::store::Store;

/// The most people's questions that wait for one type at a time; more are turned away.
const NOW_MAX: usize = 256;

/// Bounds of a lane's queue. The budget decides within them, the upper one keeps it below 100 MB.
const QUEUE_MIN: u32 = 256;
const QUEUE_MAX: u32 = 262_144;

/// Asks owners. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Engine {
    lanes: Arc<BTreeMap<TypeName, Lane>>,
    clock: Clock,
}

/// The way to one order type's dispatcher.
#[derive(Debug)]
struct Lane {
    claimed: mpsc::Sender<Question>,
    now: mpsc::Sender<QuestionNow>,
    budget: Budget,
    owner: Arc<Owner>,
}

/// Why no engine can be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A request template cannot be used.
    #[error("order_types.{order_type}.query.{fault}")]
    Template {
        /// Whose.
        order_type: TypeName,
        /// What is wrong.
        fault: QueryFault,
    },
    /// A ceiling under which nothing could ever be asked, or one that is none.
    #[error(
        "order_types.{0}.ceiling: expected questions_per_second above 0 and at most 1000000, \
         and in_flight from 1 to 65536"
    )]
    Ceiling(TypeName),
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

impl Engine {
    /// Checks every order type and starts its dispatcher on `tasks`. Cancelling `stop` ends them;
    /// what waits then comes back as `NotStarted`, what was asked goes on until its deadline.
    ///
    /// All asking happens on the runtime in which this is called, so the caller decides whether it
    /// shares threads with the shards.
    ///
    /// # Errors
    /// The first order type that cannot be asked about; nothing was started.
    pub fn new<S: Store>(
        types: &BTreeMap<TypeName, OrderTypeConfig>,
        store: &Arc<S>,
        clock: Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, EngineError> {
        let mut lanes = BTreeMap::new();
        let mut dispatchers = Vec::new();
        for (order_type, config) in types {
            let (lane, parts) = Lane::new(order_type, config, store, clock, tasks)?;
            lanes.insert(order_type.clone(), lane);
            dispatchers.push(Dispatcher::new(parts));
        }
        for dispatcher in dispatchers {
            tasks.spawn(dispatcher.run(stop.clone()));
        }
        Ok(Self {
            lanes: Arc::new(lanes),
            clock,
        })
    }

    /// Hands over a question whose order is due; never blocks. The answer comes through its
    /// `asker`, `NotStarted` at once when the queue is full, the type is not configured or the
    /// engine has stopped.
    pub fn ask(&self, question: Question) {
        let unasked = match self.lanes.get(&question.key.order_type) {
            None => question,
            Some(lane) => match lane.claimed.try_send(question) {
                Ok(()) => return,
                Err(full_or_closed) => full_or_closed.into_inner(),
            },
        };
        Job::Claimed(unasked).refuse(not_started());
    }

    /// Asks for a person, who gets the answer within `deadline`. Takes its turn under the same
    /// ceiling, alternately with the shards' questions. Cancelling gives up the answer; the question
    /// may have left already.
    pub async fn ask_now(
        &self,
        key: OrderKey,
        query: Option<Box<str>>,
        traceparent: Option<Box<str>>,
        deadline: Duration,
    ) -> AnswerNow {
        let unasked = || AnswerNow {
            answer: not_started(),
            data: None,
            took: Duration::ZERO,
        };
        let Some(lane) = self.lanes.get(&key.order_type) else {
            return unasked();
        };
        let (caller, answer) = oneshot::channel();
        let until = self.clock.monotonic() + deadline.as_millis() as u64;
        let question = QuestionNow {
            key,
            query,
            traceparent,
            until,
            caller,
        };
        if lane.now.try_send(question).is_err() {
            return unasked();
        }
        // The question itself ends at `until`; the rest is for its answer to get here.
        let patience = deadline + Duration::from_millis(50);
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => unasked(),
        }
    }

    /// How many more orders of a type this worker may claim now: start times of the next second and
    /// a quarter and the cap in flight, less what the shards hold. 0 while more questions than may
    /// be in flight wait for their start, while the type is paused, and for a type that is not
    /// configured.
    pub fn permits(&self, order_type: &TypeName) -> u32 {
        self.lanes.get(order_type).map_or(0, |lane| {
            if lane.owner.pause.held(self.clock.monotonic()).is_some() {
                return 0;
            }
            let overdue = lane.claimed.max_capacity() - lane.claimed.capacity();
            lane.budget.permits(overdue)
        })
    }

    /// Pauses a type by an operator's word, or ends that: nothing is claimed for it, and what waits or
    /// comes is refused as `Paused`. A question in flight goes on. Of no effect for a type that is not
    /// configured.
    pub fn set_paused(&self, order_type: &TypeName, paused: bool) {
        if let Some(lane) = self.lanes.get(order_type) {
            lane.owner.pause.set_by_operator(paused);
        }
    }

    /// Says how many orders of a type a shard holds claimed, in its wheel and in open questions; 0
    /// when it was revoked. Replaces what it said before.
    pub fn report_claimed(&self, shard: u16, order_type: &TypeName, claimed: u32) {
        if let Some(lane) = self.lanes.get(order_type) {
            lane.budget.report(shard, claimed);
        }
    }
}

impl Lane {
    fn new<S>(
        order_type: &TypeName,
        config: &OrderTypeConfig,
        store: &Arc<S>,
        clock: Clock,
        tasks: &TaskTracker,
    ) -> Result<(Self, Parts<S>), EngineError> {
        let (per_second, in_flight) = (
            config.ceiling.questions_per_second,
            config.ceiling.in_flight,
        );
        if !(per_second > 0.0 && per_second <= 1e6 && (1..=65_536).contains(&in_flight)) {
            return Err(EngineError::Ceiling(order_type.clone()));
        }
        let template =
            Template::load(order_type, &config.query).map_err(|fault| EngineError::Template {
                order_type: order_type.clone(),
                fault,
            })?;
        let owner = Arc::new(Owner {
            order_type: order_type.clone(),
            template,
            http: Http::new(clock, in_flight, config.query.timeout)?,
            timeout: config.query.timeout,
            contract: Contract {
                not_found_is_unknown: config.query.not_found_is_unknown,
                mapping: config.answer.clone(),
            },
            pause: Pause::default(),
            clock,
        });
        let budget = Budget::new(per_second, in_flight);
        let queue = budget.limit().clamp(QUEUE_MIN, QUEUE_MAX) as usize;
        let (claimed, claimed_receiver) = mpsc::channel(queue);
        let (now, now_receiver) = mpsc::channel(NOW_MAX);
        let parts = Parts {
            owner: Arc::clone(&owner),
            store: Arc::clone(store),
            tasks: tasks.clone(),
            per_second,
            in_flight,
            now: now_receiver,
            claimed: claimed_receiver,
        };
        let lane = Self {
            claimed,
            now,
            budget,
            owner,
        };
        Ok((lane, parts))
    }
}
