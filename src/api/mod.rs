//! HTTP: the `[api]` listener for people and business systems, the `[admin]` listener for operators.
//! `app` binds both, hands them their ports and owns their tasks. Nothing here decides what an order
//! is; nothing here may write to the view.

pub mod admin;
mod answer;
mod caller;
pub mod desk;
mod events;
mod flight;
pub mod health;
pub mod listener;
mod look;
mod orders;
pub mod ports;
mod query;
mod question;
mod refusal;
mod terms;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::domain::order::TypeName;
use crate::metrics::Metrics;
use flight::{Flights, Limits};
use look::Looks;
use ports::Ports;
pub use terms::FRESH;

/// The most questions of callers that are open for one order type, and the most of its answers that
/// are kept; beyond it callers are told what is known. Above what a ceiling lets start within a
/// deadline; about half a megabyte beside what the owner adds.
pub const MAX_FLIGHTS: usize = 1024;

/// The most that owners' `data` in one type's kept answers may take, bytes.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

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
    /// The configured order types, and how long one question to an owner may take.
    pub deadlines: BTreeMap<TypeName, Duration>,
    /// The rest of the program.
    pub ports: Ports,
    /// Questions run here, so that a caller who leaves does not cancel one that others wait for, nor
    /// loses a terminal answer; `app` waits for it after the listener has stopped.
    pub tracker: TaskTracker,
    /// Callers are counted here.
    pub metrics: Arc<Metrics>,
    /// [`MAX_FLIGHTS`] but in tests.
    pub max_flights: usize,
}

/// What both listeners serve orders from: one engine, one flight a question.
#[derive(Clone, Debug)]
pub struct Shared(Arc<orders::Orders>);

impl Api {
    /// The routes of `[api]`.
    pub fn router(self) -> Router {
        self.share().router()
    }

    /// Opens what both listeners share.
    pub fn share(self) -> Shared {
        let limits = |in_air| Limits {
            in_air,
            kept: MAX_FLIGHTS,
            kept_bytes: KEPT_BYTES,
        };
        // Looks and reads have trackers of their own: at the end nobody waits for one that no caller
        // waits for.
        let shared = Shared(Arc::new(orders::Orders {
            clock: self.clock,
            shards: self.shards,
            window: self.window,
            looks: Looks::new(Arc::clone(&self.ports.find), TaskTracker::new()),
            types: RwLock::default(),
            limits: limits(self.max_flights),
            tracker: self.tracker,
            metrics: self.metrics,
            ports: self.ports,
            reads: Flights::new(limits(MAX_READS), self.clock, TaskTracker::new()),
        }));
        shared.configure(self.deadlines);
        shared
    }
}

impl Shared {
    /// Takes other order types, each with the time that one question to its owner may take. What is in
    /// the air or kept of a type that stays is shared on.
    pub fn configure(&self, deadlines: BTreeMap<TypeName, Duration>) {
        self.0.configure(deadlines);
    }

    /// The routes of `[api]`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/orders", post(events::publish))
            .route("/v1/orders:query", post(query::query))
            .route("/v1/orders/{type}/{reqNO}", get(orders::look))
            .fallback(refusal::no_such_path)
            .method_not_allowed_fallback(refusal::no_such_method)
            .with_state(Arc::clone(&self.0))
    }
}
