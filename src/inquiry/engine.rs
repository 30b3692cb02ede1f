//! The query engine as its callers hold it: the shards ask and report what they have claimed, the
//! API asks now. Each order type is a lane of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Question;
use super::budget::{Budget, Standing};
use super::condition::Condition;
use super::dispatch::Dispatcher;
use super::flights::{Flights, Side};
use super::http::Http;
use super::job::{AnswerNow, Job, QuestionNow, not_started, refused};
use super::owner::Owner;
use super::pause::Pause;
use super::tally::Tally;
use super::template::Template;
use super::turns::{Queues, Turns};
use crate::clock::Clock;
use crate::config::{OrderTypeConfig, QueryFault};
use crate::domain::answer::{Contract, CouldNotAsk};
use crate::domain::order::{OrderKey, TypeName};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::script::BATCH;

/// The most people's questions that wait for one type at a time; more are turned away.
const NOW_MAX: usize = 256;

/// Bounds of a lane's queue. The budget decides within them, the upper one keeps it below 100 MB.
const QUEUE_MIN: u32 = 256;
const QUEUE_MAX: u32 = 262_144;

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

/// The way to one order type's dispatcher.
#[derive(Debug)]
struct Lane {
    /// What it was made of.
    config: OrderTypeConfig,
    /// Ends its dispatcher.
    retired: CancellationToken,
    first: mpsc::Sender<Question>,
    rest: mpsc::Sender<Question>,
    now: mpsc::Sender<QuestionNow>,
    budget: Budget,
    flights: Arc<Flights>,
    owner: Arc<Owner>,
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
type Made = Vec<(Arc<Owner>, Turns)>;

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
        for (owner, turns) in made {
            engine.dispatch(owner, turns);
        }
        Ok(engine)
    }

    fn dispatch(&self, owner: Arc<Owner>, turns: Turns) {
        if let Some(lane) = self.lane(&owner.order_type) {
            (self.dispatch.0)(owner, turns, lane.retired.clone());
        }
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
        let old = self.read().clone();
        let kept = |name: &TypeName, config: &OrderTypeConfig| {
            old.get(name).filter(|lane| lane.config == *config)
        };
        let (mut lanes, mut made) = (BTreeMap::new(), Vec::new());
        for (name, config) in types {
            if let Some(lane) = kept(name, config) {
                lanes.insert(name.clone(), Arc::clone(lane));
                continue;
            }
            let (lane, turns) = Lane::new(name, config, &self.around)?;
            if let Some(before) = old.get(name) {
                let paused = before.owner.pause.is_by_operator();
                lane.owner.pause.set_by_operator(paused);
            }
            made.push((Arc::clone(&lane.owner), turns));
            lanes.insert(name.clone(), Arc::new(lane));
        }
        *self.lanes.write().unwrap_or_else(PoisonError::into_inner) = lanes;
        for (name, lane) in old {
            if types.get(&name).is_none_or(|config| lane.config != *config) {
                lane.retired.cancel();
            }
            if !types.contains_key(&name) {
                lane.owner.retire();
            }
        }
        for (owner, turns) in made {
            self.dispatch(owner, turns);
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
            all.push((Arc::clone(&lane.owner), turns));
            lanes.insert(order_type.clone(), Arc::new(lane));
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
        self.lane(order_type).map_or(0, |lane| {
            if lane
                .owner
                .pause
                .held(self.around.clock.monotonic())
                .is_some()
            {
                return 0;
            }
            let waiting = |queue: &mpsc::Sender<Question>| queue.max_capacity() - queue.capacity();
            lane.budget.permits(Standing {
                overdue: waiting(&lane.first) + waiting(&lane.rest),
                in_flight: lane.flights.taken(Side::Shards),
                pace: lane.flights.pace(),
                slowed_to: lane.owner.condition.slowed_to(),
            })
        })
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

impl Lane {
    fn new(
        order_type: &TypeName,
        config: &OrderTypeConfig,
        around: &Around,
    ) -> Result<(Self, Turns), EngineError> {
        let ceiling = &config.ceiling;
        let (per_second, in_flight) = (ceiling.questions_per_second, ceiling.in_flight);
        let shares = [ceiling.callers_share, ceiling.first_share];
        let possible = per_second > 0.0
            && per_second <= 1e6
            && (1..=65_536).contains(&in_flight)
            && shares.iter().all(|share| (0.0..=0.9).contains(share))
            && shares.iter().sum::<f64>() <= 0.9;
        if !possible {
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
            http: Http::new(around.clock, in_flight, &config.query)?,
            timeout: config.query.timeout,
            contract: Contract {
                not_found_is_unknown: config.query.not_found_is_unknown,
                mapping: config.answer.clone(),
            },
            pause: Pause::new(ceiling.refusals_in_a_row),
            condition: Condition::default(),
            tally: Tally::default(),
            metrics: Arc::clone(&around.metrics),
            type_metrics: around.metrics.order_type(order_type),
            clock: around.clock,
        });
        let budget = Budget::new(per_second, in_flight);
        let queue = budget.limit().clamp(QUEUE_MIN, QUEUE_MAX) as usize;
        let (first, first_receiver) = mpsc::channel(queue);
        let (rest, rest_receiver) = mpsc::channel(queue);
        let (now, now_receiver) = mpsc::channel(NOW_MAX);
        let queues = Queues {
            now: now_receiver,
            first: first_receiver,
            rest: rest_receiver,
        };
        let [callers, firsts] = shares;
        let flights = Flights::new(in_flight, callers);
        let turns = Turns::new(
            Arc::clone(&owner),
            Arc::clone(&flights),
            (per_second, [callers, firsts, 1.0 - callers - firsts]),
            queues,
        );
        let lane = Self {
            config: config.clone(),
            retired: CancellationToken::new(),
            first,
            rest,
            now,
            budget,
            flights,
            owner,
        };
        Ok((lane, turns))
    }
}
