//! What a caller gets instead of an answer: a 4xx or 5xx with `{"error":{"code","message"}}`.

use axum::Json;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::event;

/// A request that is not served.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// Writes it into a body that says more beside it; gives the status.
    pub fn put_into(self, body: &mut serde_json::Value) -> StatusCode {
        body["error"] = serde_json::json!({"code": self.code, "message": self.message});
        self.status
    }

    /// Ours or a neighbour's fault; the same request may be served later.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }

    /// Without the status, as one answer among others.
    pub fn into_body(self) -> ErrorBody {
        let (code, message) = (self.code, self.message);
        ErrorBody {
            error: ErrorText { code, message },
        }
    }
}

/// What a caller reads of a refusal.
#[derive(Debug, Serialize)]
pub(super) struct ErrorBody {
    error: ErrorText,
}

#[derive(Debug, Serialize)]
struct ErrorText {
    code: &'static str,
    message: String,
}

impl From<event::Refusal> for Refusal {
    fn from(refusal: event::Refusal) -> Self {
        let status = match refusal.reason {
            event::Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, refusal.reason.as_str(), refusal.detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, body) = (self.status, Json(self.into_body()));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            (status, [(header::RETRY_AFTER, "1")], body).into_response()
        } else {
            (status, body).into_response()
        }
    }
}

pub(super) async fn no_such_path(uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not-found",
        format!("there is nothing at {}", uri.path()),
    )
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!("{} does not take {method}", uri.path()),
    )
}
