//! The bank's HTTP side: hyper's own HTTP/1 server without a framework, because in a benchmark it
//! shares its cores with everything that is measured.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::change::Change;
use super::fate::Fate;
use super::layers::Left;
use super::ledger::{Asked, Ledger, Verdict};
use super::log_body::LogBody;
use super::reply::{self, Answer, json};
use super::stray::{How, Stray};
use super::trick::Trick;
use crate::domain::order::OrderKey;

/// The most of a question that is read.
const QUESTION_MAX: usize = 64 * 1024;

/// Out of descriptors, most likely: others end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

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
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            ended = connection(&self.ledger, stream) => if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the bank broke");
            }
        }
    }
}

/// Serves a connection: by hyper, until a question is to be answered as no library would.
async fn connection(ledger: &Arc<Ledger>, stream: TcpStream) -> anyhow::Result<()> {
    // One question at a time, and none after the first that strays.
    let (strays, mut strayed) = mpsc::channel(1);
    let service = service_fn(|request| answer(ledger, request, &strays));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let stray: Stray = tokio::select! {
        biased;
        Some(stray) = strayed.recv() => stray,
        ended = &mut connection => return Ok(ended?),
    };
    let stream = connection.into_parts().io.into_inner();
    Ok(stray.play(stream).await?)
}

async fn answer(
    ledger: &Arc<Ledger>,
    request: Request<Incoming>,
    strays: &mpsc::Sender<Stray>,
) -> Result<Answer, Infallible> {
    let path = request.uri().path();
    let attempt = request
        .headers()
        .get("settled-attempt")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match (request.method(), path) {
        (&Method::GET, "/questions") => return Ok(books(ledger, request.uri().query())),
        (&Method::GET, "/questions/summary") => return Ok(books(ledger, Some("summary=1"))),
        (_, "/behaviour") => return Ok(behaviour(ledger, request).await),
        _ => {}
    }
    if request.method() == Method::GET {
        // For templates without a body: the last two segments are type and number.
        let Some(key) = key_of_path(path) else {
            return Ok(refused("expected GET /<type>/<reqNO>, or GET /questions"));
        };
        let asked = Asked {
            order_type: key.order_type.as_str(),
            req_no: key.req_no.as_str(),
            attempt,
        };
        return Ok(ask(ledger, asked, strays).await);
    }
    let Some(body) = whole(request).await else {
        return Ok(refused("expected a body of 64 KiB at most"));
    };
    let Ok(wire) = serde_json::from_slice::<Wire<'_>>(&body) else {
        return Ok(refused("expected a JSON object with type and reqNO"));
    };
    let asked = Asked {
        order_type: &wire.order_type,
        req_no: &wire.req_no,
        attempt,
    };
    Ok(ask(ledger, asked, strays).await)
}

async fn ask(ledger: &Ledger, asked: Asked<'_>, strays: &mpsc::Sender<Stray>) -> Answer {
    let verdict = ledger.book(asked);
    if !verdict.latency.is_zero() {
        tokio::time::sleep(verdict.latency).await;
    }
    let (req_no, name) = (asked.req_no, verdict.name.0);
    let trick = match verdict.fate {
        Fate::Answer(status) => {
            return json(StatusCode::OK, reply::protocol(req_no, status, name));
        }
        Fate::Trick(trick) => trick,
    };
    match trick {
        Trick::Code(code) => reply::code(code, req_no, &verdict),
        Trick::Html => reply::html(),
        Trick::Empty => json(StatusCode::OK, String::new()),
        Trick::OtherNumber => reply::other_number(req_no, name),
        Trick::NoNumber => reply::no_number(),
        Trick::OtherStatus => reply::other_status(req_no, name),
        Trick::ZipBomb => reply::zip_bomb(),
        Trick::Hang => pending().await,
        Trick::Close => stray(How::Close, req_no, &verdict, strays).await,
        Trick::Reset => stray(How::Reset, req_no, &verdict, strays).await,
        Trick::Drip => stray(How::Drip, req_no, &verdict, strays).await,
        Trick::HugeHeader => stray(How::HugeHeader, req_no, &verdict, strays).await,
        Trick::HugeBody => stray(How::HugeBody, req_no, &verdict, strays).await,
    }
}

/// Hands the question over to whoever has the connection: it is answered there.
async fn stray(how: How, req_no: &str, verdict: &Verdict, strays: &mpsc::Sender<Stray>) -> Answer {
    let body = reply::protocol(req_no, 1, verdict.name.0);
    if strays.try_send(Stray { how, body }).is_err() {
        tracing::debug!("a connection to the bank strays already");
    }
    pending().await
}

/// `GET`, `PUT` and `PATCH /behaviour`.
async fn behaviour(ledger: &Ledger, request: Request<Incoming>) -> Answer {
    let left = match *request.method() {
        Method::GET => return json(StatusCode::OK, ledger.behaviour()),
        Method::PUT => Left::Forgotten,
        Method::PATCH => Left::Kept,
        _ => {
            let mut answer = error(
                StatusCode::METHOD_NOT_ALLOWED,
                "expected GET, PUT or PATCH /behaviour",
            );
            let allow = HeaderValue::from_static("GET, PUT, PATCH");
            answer.headers_mut().insert(ALLOW, allow);
            return answer;
        }
    };
    let Some(body) = whole(request).await else {
        return refused("expected a body of 64 KiB at most");
    };
    match Change::read(&body).and_then(|change| ledger.change(change, left)) {
        Ok(()) => json(StatusCode::OK, ledger.behaviour()),
        Err(message) => refused(&message),
    }
}

/// The body, unless it is too large or breaks off.
async fn whole(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), QUESTION_MAX);
    Some(body.collect().await.ok()?.to_bytes())
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

fn refused(message: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, message)
}

fn error(status: StatusCode, message: &str) -> Answer {
    json(status, serde_json::json!({ "error": message }).to_string())
}
