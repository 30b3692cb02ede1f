//! The way to one order type's dispatcher: its queues, its budget, its owner. Made of the type's
//! configuration, and made anew when that has changed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Question;
use super::budget::{Budget, Standing};
use super::condition::Condition;
use super::engine::{Around, EngineError};
use super::flights::{Flights, Side};
use super::http::Http;
use super::job::QuestionNow;
use super::owner::Owner;
use super::pause::Pause;
use super::tally::Tally;
use super::template::Template;
use super::turns::{Queues, Turns};
use crate::config::OrderTypeConfig;
use crate::domain::answer::Contract;
use crate::domain::order::{Millis, TypeName};

/// The most people's questions that wait for one type at a time; more are turned away.
const NOW_MAX: usize = 256;

/// Bounds of a lane's queue. The budget decides within them, the upper one keeps it below 100 MB.
const QUEUE_MIN: u32 = 256;
const QUEUE_MAX: u32 = 262_144;

/// The way to one order type's dispatcher.
#[derive(Debug)]
pub(super) struct Lane {
    /// What it was made of.
    pub(super) config: OrderTypeConfig,
    /// Ends its dispatcher.
    pub(super) retired: CancellationToken,
    pub(super) first: mpsc::Sender<Question>,
    pub(super) rest: mpsc::Sender<Question>,
    pub(super) now: mpsc::Sender<QuestionNow>,
    pub(super) budget: Budget,
    flights: Arc<Flights>,
    pub(super) owner: Arc<Owner>,
}

impl Lane {
    /// The lane, and what its dispatcher is made of; nothing runs yet.
    ///
    /// # Errors
    /// The type cannot be asked about.
    pub(super) fn new(
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
            gone: AtomicBool::new(false),
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

    /// How many more orders the shards may claim now; see [`Engine::permits`](super::Engine::permits).
    pub(super) fn permits(&self, now: Millis) -> u32 {
        if self.owner.pause.held(now).is_some() {
            return 0;
        }
        let waiting = |queue: &mpsc::Sender<Question>| queue.max_capacity() - queue.capacity();
        self.budget.permits(Standing {
            overdue: waiting(&self.first) + waiting(&self.rest),
            in_flight: self.flights.taken(Side::Shards),
            pace: self.flights.pace(),
            slowed_to: self.owner.condition.slowed_to(),
        })
    }
}
