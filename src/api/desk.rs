//! What people on call do, on the `[admin]` listener and behind its token: see and work off exhausted
//! orders, pause an order type, say any event. A command is an event like any other: nothing here
//! writes to the view, and the owner of the order's shard decides what it comes to.

mod bulk;
mod command;
mod filter;
mod guard;
mod list;
pub mod ports;
mod reload;
mod selection;
mod strict;
mod types;
mod verbs;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::orders::Orders;
use crate::config::Secret;
use guard::Guard;
use ports::DeskPorts;
use selection::Selections;

/// What the verbs are served from.
#[derive(Debug)]
pub struct Desk {
    /// What the verbs share with the `[api]` listener.
    pub shared: Shared,
    /// The rest of the program.
    pub ports: DeskPorts,
    /// Asked for with every verb, where there is one.
    pub token: Option<Secret>,
    /// Ends a command by filter between two batches.
    pub stop: CancellationToken,
}

/// What the handlers share.
#[derive(Debug)]
struct Clerk {
    orders: Arc<Orders>,
    ports: DeskPorts,
    shown: Selections,
    stop: CancellationToken,
}

impl Desk {
    /// The routes of the verbs, each behind the token.
    pub fn routes(self) -> Router {
        let guard = Arc::new(Guard::new(self.token.as_ref()));
        let clerk = Arc::new(Clerk {
            orders: self.shared.0,
            ports: self.ports,
            shown: Selections::default(),
            stop: self.stop,
        });
        Router::new()
            .route("/v1/config:reload", post(reload::reload))
            .route("/v1/exhausted", get(list::exhausted))
            .route("/v1/exhausted:requeue", post(bulk::requeue))
            .route("/v1/exhausted:settle", post(bulk::settle))
            .route("/v1/orders", post(verbs::publish))
            .route("/v1/orders/{type}/{reqNO}/ask", post(verbs::ask))
            .route("/v1/orders/{type}/{reqNO}/requeue", post(verbs::requeue))
            .route("/v1/orders/{type}/{reqNO}/settle", post(verbs::settle))
            .route("/v1/types", get(types::list))
            .route("/v1/types/{type}/pause", post(types::pause))
            .route("/v1/types/{type}/resume", post(types::resume))
            .route_layer(from_fn_with_state(guard, guard::check))
            .with_state(clerk)
    }
}
