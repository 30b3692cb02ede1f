//! The bank's HTTP side: hyper's own HTTP/1 server without a framework, because in a benchmark it
//! shares its cores with everything that is measured.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fate::Fate;
use super::ledger::{Asked, Ledger};
use super::log_body::LogBody;
use crate::domain::order::OrderKey;

/// The most of a question that is read.
const QUESTION_MAX: usize = 64 * 1024;

/// Out of descriptors, most likely: others end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

type Answer = Response<Either<Full<Bytes>, LogBody>>;

/// Serves one bank.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) ledger: Arc<Ledger>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// The protocol's question; other fields do not matter here.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", borrow)]
    order_type: Cow<'a, str>,
    #[serde(rename = "reqNO", borrow)]
    req_no: Cow<'a, str>,
}

impl Server {
    /// Accepts until stopped; open connections end with it.
    pub(super) async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    self.tasks.spawn(self.clone().serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "the bank cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the bank's connection keeps Nagle's delay");
        }
        let ledger = &self.ledger;
        let service = service_fn(|request| answer(ledger, request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the bank broke");
            }
        }
    }
}

async fn answer(ledger: &Arc<Ledger>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path();
    if request.method() == Method::GET && path == "/questions" {
        return Ok(books(ledger, request.uri().query()));
    }
    let attempt = request
        .headers()
        .get("settled-attempt")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if request.method() == Method::GET {
        // For templates without a body: the last two segments are type and number.
        let Some(key) = key_of_path(path) else {
            return Ok(refused("GET /<type>/<reqNO>, or GET /questions"));
        };
        let asked = Asked {
            order_type: key.order_type.as_str(),
            req_no: key.req_no.as_str(),
            attempt,
        };
        return Ok(ask(ledger, asked).await);
    }
    let body = Limited::new(request.into_body(), QUESTION_MAX);
    let Ok(body) = body.collect().await else {
        return Ok(refused("a body of 64 KiB at most"));
    };
    let body = body.to_bytes();
    let Ok(wire) = serde_json::from_slice::<Wire<'_>>(&body) else {
        return Ok(refused("a JSON object with type and reqNO"));
    };
    let asked = Asked {
        order_type: &wire.order_type,
        req_no: &wire.req_no,
        attempt,
    };
    Ok(ask(ledger, asked).await)
}

async fn ask(ledger: &Ledger, asked: Asked<'_>) -> Answer {
    let verdict = ledger.book(asked);
    if !verdict.latency.is_zero() {
        tokio::time::sleep(verdict.latency).await;
    }
    match verdict.fate {
        Fate::Hang => std::future::pending().await,
        Fate::ServerError => json(
            StatusCode::INTERNAL_SERVER_ERROR,
            r#"{"error":"the bank has a bad moment"}"#.to_owned(),
        ),
        Fate::Answer(status) => json(
            StatusCode::OK,
            protocol(asked.req_no, status, verdict.name.0),
        ),
    }
}

/// The protocol's answer.
fn protocol(req_no: &str, status: u8, name: u64) -> String {
    let (code, message) = match status {
        1 => ("0000", "success"),
        2 => ("1002", "refused by the bank"),
        3 => ("0001", "in progress"),
        _ => ("0404", "no such order"),
    };
    let req_no = serde_json::to_string(req_no).unwrap_or_default();
    let mut out = String::with_capacity(192);
    // Writing to a String cannot fail.
    let written = if status <= 2 {
        write!(
            out,
            r#"{{"status":"{status}","reqNO":{req_no},"rspNO":"B{name:016x}","retCd":"{code}","retMsg":"{message}","data":{{"simulated":true}}}}"#
        )
    } else {
        write!(
            out,
            r#"{{"status":"{status}","reqNO":{req_no},"retCd":"{code}","retMsg":"{message}"}}"#
        )
    };
    if written.is_err() {
        out.clear();
    }
    out
}

fn books(ledger: &Arc<Ledger>, query: Option<&str>) -> Answer {
    if query.is_some_and(|query| query.split('&').any(|pair| pair == "summary=1")) {
        let summary = serde_json::to_string(&ledger.summary()).unwrap_or_default();
        return json(StatusCode::OK, summary);
    }
    let mut answer = Response::new(Either::Right(LogBody::new(Arc::clone(ledger))));
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    answer.headers_mut().insert(CONTENT_TYPE, ndjson);
    answer
}

fn key_of_path(path: &str) -> Option<OrderKey> {
    let (rest, req_no) = path.rsplit_once('/')?;
    let order_type = rest.rsplit('/').next()?;
    OrderKey::parse(&format!("{order_type}/{req_no}"))
}

fn refused(expected: &str) -> Answer {
    let message = format!(r#"{{"error":"expected {expected}"}}"#);
    json(StatusCode::BAD_REQUEST, message)
}

fn json(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
