//! HTTP: the `[api]` listener for people and business systems, the `[admin]` listener for operators.
//! `app` binds both, hands them their ports and owns their tasks. Nothing here decides what an order
//! is; nothing here may write to the view.

pub mod admin;
mod answer;
mod events;
mod flight;
pub mod health;
pub mod listener;
mod orders;
pub mod ports;
mod refusal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::order::TypeName;
use flight::Flights;
use ports::Ports;

/// The most questions that the API has open or keeps fresh at one time; beyond it callers get 503.
/// Far above what a type's ceiling lets start within a deadline, and about 1 MB of memory.
pub const MAX_FLIGHTS: usize = 4096;

/// An answer is said again to callers that come this much later, so that a crowd at one screen costs
/// its owner one question. Short, because the answer should be the truth of the moment.
pub const FRESH: Duration = Duration::from_millis(500);

/// The most reads of the results log at one time; beyond it a settled order is told without what its
/// result adds. A read takes some tens of milliseconds on one of four handles.
const MAX_READS: usize = 64;

/// What the `[api]` listener serves from.
#[derive(Debug)]
pub struct Api {
    /// Wall time of answers.
    pub clock: Clock,
    /// N.
    pub shards: u16,
    /// The dedupe window: an event appended later than this after its own `at` becomes a dead letter.
    pub window: Duration,
    /// The configured order types, and how long a caller waits for one's owner to answer.
    pub deadlines: BTreeMap<TypeName, Duration>,
    /// The rest of the program.
    pub ports: Ports,
    /// Questions run here, so that a caller who leaves does not cancel one that others wait for, nor
    /// loses a terminal answer; `app` waits for it after the listener has stopped.
    pub tracker: TaskTracker,
    /// Ends the freshness of answers, so that the tracker becomes empty at once.
    pub stop: CancellationToken,
    /// [`MAX_FLIGHTS`] but in tests.
    pub max_flights: usize,
    /// [`FRESH`] but in tests.
    pub fresh: Duration,
}

impl Api {
    /// The routes of `[api]`.
    pub fn router(self) -> Router {
        // Nobody waits at the end for a read that nobody waits for.
        let reads = Flights::new(MAX_READS, self.fresh, TaskTracker::new(), self.stop.clone());
        let flights = Flights::new(self.max_flights, self.fresh, self.tracker, self.stop);
        let state = Arc::new(orders::Orders {
            clock: self.clock,
            shards: self.shards,
            window: self.window,
            deadlines: self.deadlines,
            ports: self.ports,
            flights,
            reads,
        });
        Router::new()
            .route("/v1/orders", post(events::publish))
            .route("/v1/orders/{type}/{reqNO}", get(orders::look))
            .fallback(refusal::no_such_path)
            .method_not_allowed_fallback(refusal::no_such_method)
            .with_state(state)
    }
}
