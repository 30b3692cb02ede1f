//! The query engine as its callers hold it: the shards ask and report what they have claimed, the
//! API asks now. Each order type is a lane of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Question;
use super::dispatch::Dispatcher;
use super::job::{AnswerNow, Job, QuestionNow, not_started, refused};
use super::lane::Lane;
use super::owner::Owner;
use super::turns::Turns;
use crate::clock::Clock;
use crate::config::{OrderTypeConfig, QueryFault};
use crate::domain::answer::CouldNotAsk;
use crate::domain::order::{OrderKey, TypeName};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::script::BATCH;

/// Asks owners. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Engine {
    lanes: Arc<RwLock<BTreeMap<TypeName, Arc<Lane>>>>,
    around: Arc<Around>,
    dispatch: Dispatch,
}

/// Starts a lane's dispatcher, which ends when its token is cancelled.
#[derive(Clone)]
struct Dispatch(Arc<dyn Fn(Arc<Owner>, Turns, CancellationToken) + Send + Sync>);

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dispatch")
    }
}

/// What an engine needs of the rest of the worker.
#[derive(Clone, Debug)]
pub struct Around {
    /// Time.
    pub clock: Clock,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// What its tasks run on.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

/// What each type's dispatcher is made of.
type Made = Vec<(Arc<Lane>, Turns)>;

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
         in_flight from 1 to 65536, and shares of 0.9 at most together"
    )]
    Ceiling(TypeName),
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

impl Engine {
    /// Checks every order type and starts its dispatcher. Cancelling `around.stop` ends them;
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
        around: &Around,
    ) -> Result<Self, EngineError> {
        let (mut engine, made) = Self::build(types, around)?;
        let (store, tasks, stop) = (Arc::clone(store), around.tasks.clone(), around.stop.clone());
        engine.dispatch = Dispatch(Arc::new(move |owner, turns, retired| {
            let dispatcher = Dispatcher {
                owner,
                store: Arc::clone(&store),
                tasks: tasks.clone(),
                turns,
            };
            tasks.spawn(dispatcher.run(stop.clone(), retired));
        }));
        for (lane, turns) in made {
            engine.dispatch(&lane, turns);
        }
        Ok(engine)
    }

    fn dispatch(&self, lane: &Lane, turns: Turns) {
        (self.dispatch.0)(Arc::clone(&lane.owner), turns, lane.retired.clone());
    }

    /// Takes other order types: those that are new or have changed begin anew, and what waited for
    /// one that has changed or is gone comes back as `NotStarted`. What is in flight goes on. An
    /// operator's pause stays. The ceiling and the breaker stand in the store, so neither begins anew.
    ///
    /// # Errors
    /// The first order type that cannot be asked about; nothing has changed.
    pub fn reconfigure(
        &self,
        types: &BTreeMap<TypeName, OrderTypeConfig>,
    ) -> Result<(), EngineError> {
        let mut old = self.read().clone();
        let (mut lanes, mut made, mut replaced) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (name, config) in types {
            let lane = match old.remove(name) {
                Some(kept) if kept.config == *config => kept,
                before => {
                    let (lane, turns) = Lane::new(name, config, &self.around)?;
                    let lane = Arc::new(lane);
                    if let Some(before) = before {
                        let paused = before.owner.pause.is_by_operator();
                        lane.owner.pause.set_by_operator(paused);
                        replaced.push(before);
                    }
                    made.push((Arc::clone(&lane), turns));
                    lane
                }
            };
            lanes.insert(name.clone(), lane);
        }
        *self.lanes.write().unwrap_or_else(PoisonError::into_inner) = lanes;
        for gone in old.values() {
            gone.owner.let_go();
        }
        for lane in replaced.iter().chain(old.values()) {
            lane.retired.cancel();
        }
        for (lane, turns) in made {
            self.dispatch(&lane, turns);
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<TypeName, Arc<Lane>>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, order_type: &TypeName) -> Option<Arc<Lane>> {
        self.read().get(order_type).cloned()
    }

    /// The engine, and what each type's dispatcher is made of; nothing runs yet.
    pub(super) fn build(
        types: &BTreeMap<TypeName, OrderTypeConfig>,
        around: &Around,
    ) -> Result<(Self, Made), EngineError> {
        let (mut lanes, mut all) = (BTreeMap::new(), Vec::new());
        for (order_type, config) in types {
            let (lane, turns) = Lane::new(order_type, config, around)?;
            let lane = Arc::new(lane);
            all.push((Arc::clone(&lane), turns));
            lanes.insert(order_type.clone(), lane);
        }
        let engine = Self {
            lanes: Arc::new(RwLock::new(lanes)),
            around: Arc::new(around.clone()),
            dispatch: Dispatch(Arc::new(|_, _, _| {})),
        };
        Ok((engine, all))
    }

    /// Hands over a question whose order is due; never blocks. The answer comes through its
    /// `asker`, `NotStarted` at once when the queue is full, the type is not configured or the
    /// engine has stopped.
    pub fn ask(&self, question: Question) {
        let unasked = match self.lane(&question.key.order_type) {
            None => question,
            Some(lane) => {
                let queue = if question.fresh && question.attempt == 1 {
                    &lane.first
                } else {
                    &lane.rest
                };
                match queue.try_send(question) {
                    Ok(()) => return,
                    Err(full_or_closed) => full_or_closed.into_inner(),
                }
            }
        };
        Job::Claimed(unasked).refuse(not_started());
    }

    /// Asks for a person, who gets the answer within `deadline`. Takes a place in flight and a start
    /// time under the same ceiling, of which callers have a part for themselves. There is no queue:
    /// who gets no place now, or no start time within the deadline, is told so at once, as
    /// `OverCeiling`, as `BreakerOpen`, or with what the type rests for (`Configuration`,
    /// `TooManyRequests`, with the time left). `NotStarted` says that the store does not answer, the
    /// engine stops or the type is not configured. Cancelling gives up the answer; the question may
    /// have left already.
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
        let Some(lane) = self.lane(&key.order_type) else {
            return unasked();
        };
        let (caller, answer) = oneshot::channel();
        let until = self.around.clock.monotonic() + deadline.as_millis() as u64;
        let question = QuestionNow {
            key,
            query,
            traceparent,
            until,
            caller,
        };
        if lane.now.try_send(question).is_err() {
            return AnswerNow {
                answer: refused(CouldNotAsk::OverCeiling),
                ..unasked()
            };
        }
        // The question itself ends at `until`; the rest is for its answer to get here.
        let patience = deadline + Duration::from_millis(50);
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => unasked(),
        }
    }

    /// How many more orders of a type this worker may claim now: what it can start in the next second
    /// and a quarter, by the ceiling and by its own pace, and what is in flight, less what the shards
    /// hold. With the breaker open or closing,
    /// only what may start then. 0 while more questions than may be in flight wait for their start,
    /// while the type is paused, and for a type that is not configured.
    pub fn permits(&self, order_type: &TypeName) -> u32 {
        let now = self.around.clock.monotonic();
        self.lane(order_type).map_or(0, |lane| lane.permits(now))
    }

    /// Pauses a type by an operator's word, or ends that: nothing is claimed for it, and what waits or
    /// comes is refused as `Paused`. A question in flight goes on. Of no effect for a type that is not
    /// configured.
    pub fn set_paused(&self, order_type: &TypeName, paused: bool) {
        if let Some(lane) = self.lane(order_type) {
            lane.owner.pause.set_by_operator(paused);
        }
    }

    /// As [`Engine::permits`], lent to this shard until it reports what it has claimed: no two shards
    /// claim on the same permit. Half of them, and no more than one script can use, so that the others
    /// have theirs.
    pub fn lease(&self, shard: u16, order_type: &TypeName) -> u32 {
        let permits = self.permits(order_type).div_ceil(2).min(BATCH as u32);
        match self.lane(order_type) {
            Some(lane) if permits > 0 => lane.budget.lend(shard, permits),
            _ => 0,
        }
    }

    /// Says how many orders of a type a shard holds claimed, in its wheel and in open questions; 0
    /// when it was revoked. Replaces what it said before.
    pub fn report_claimed(&self, shard: u16, order_type: &TypeName, claimed: u32) {
        if let Some(lane) = self.lane(order_type) {
            lane.budget.report(shard, claimed);
        }
    }
}
