//! The `[admin]` listener: metrics and health, which never need a token, and the verbs of `desk`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::desk::Desk;
use super::health::Health;
use super::listener::{BindError, Listener};
use super::refusal::{self, Refusal};
use crate::config;
use crate::metrics::Metrics;

/// What the `[admin]` listener serves from.
#[derive(Clone, Debug)]
pub struct Admin {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/readyz`.
    pub health: Arc<Health>,
}

/// Binds the admin listener.
///
/// # Errors
/// [`BindError::Open`] off loopback without a token, else as [`Listener::bind`].
pub async fn bind(config: &config::Admin) -> Result<Listener, BindError> {
    let address: SocketAddr = config.listen;
    if !address.ip().is_loopback() && config.token.is_none() {
        return Err(BindError::Open { address });
    }
    Listener::bind("admin", address).await
}

impl Admin {
    /// The routes of `[admin]` without verbs.
    pub fn router(self) -> Router {
        with_refusals(self.routes())
    }

    /// The routes of `[admin]`.
    pub fn router_with(self, desk: Desk) -> Router {
        with_refusals(self.routes().merge(desk.routes()))
    }

    fn routes(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .with_state(self)
    }
}

fn with_refusals(routes: Router) -> Router {
    routes
        .fallback(refusal::no_such_path)
        .method_not_allowed_fallback(refusal::no_such_method)
}

async fn metrics(State(admin): State<Admin>) -> Result<Response, Refusal> {
    let page = admin.metrics.page().map_err(|error| {
        tracing::error!(%error, "the metrics page was not written");
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            error.to_string(),
        )
    })?;
    let format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((format, page).into_response())
}

/// Answering at all is the proof: a task that ends unasked ends the process.
async fn livez() -> &'static str {
    "alive\n"
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let readiness = admin.health.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}
