//! One HTTP try: a request out, and what came back, within one deadline that covers everything from
//! the connect to the last byte. Follows no redirect, uses no proxy, unpacks nothing, connects to no
//! link-local address, reads at most [`BODY_MAX`]. What an answer means is decided in `domain::answer`, never here.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::names::Names;
use crate::clock::Clock;
use crate::config::QueryConfig;
use crate::domain::answer::{Reply, retry_after};
use crate::domain::order::Millis;

/// The most of an answer's body that is read; an answer is a few hundred bytes.
pub const BODY_MAX: usize = 64 * 1024;

/// The most of an answer's head that is read.
const HEAD_MAX: usize = 16 * 1024;

/// Shorter than the keep-alive of the servers in use (Node 5 s, Tomcat 20 s, nginx 75 s), so that
/// a request seldom meets a connection that the owner is just closing.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// A pooled client of one order type; no type waits for another's connections.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector<Names>>, Full<Bytes>>,
    clock: Clock,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer. The body of an answer other than 2xx is left out: it means nothing.
    Http {
        /// The status code.
        status: u16,
        /// `Retry-After`, as seconds or as a date.
        retry_after: Option<Millis>,
        /// At most [`BODY_MAX`] bytes, as they came.
        body: Bytes,
    },
    /// The deadline passed.
    TimedOut,
    /// Refused, reset, DNS, TLS, or nothing that reads as HTTP.
    Unreachable,
    /// A 2xx answer with more than [`BODY_MAX`] bytes.
    TooLarge,
}

impl Outcome {
    /// The body of a 2xx answer, else nothing.
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Http { body, .. } => body,
            Self::TimedOut | Self::Unreachable | Self::TooLarge => &[],
        }
    }

    /// As `domain::answer` judges it.
    pub fn reply(&self) -> Reply<'_> {
        match self {
            Self::Http {
                status,
                retry_after,
                body,
            } => Reply::Http {
                status: *status,
                retry_after: *retry_after,
                body,
            },
            Self::TimedOut => Reply::TimedOut,
            Self::Unreachable => Reply::Unreachable,
            Self::TooLarge => Reply::TooLarge,
        }
    }
}

impl Http {
    /// A client that keeps at most `in_flight` idle connections. The timeout of `query` also ends a
    /// connect that nobody waits for any more.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(clock: Clock, in_flight: u32, query: &QueryConfig) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new_with_resolver(Names::new(query.allow_link_local));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(query.timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(in_flight as usize)
            .http1_max_buf_size(HEAD_MAX)
            // Another connection is taken only when an idle one was found closed before the request
            // left this process: still one try.
            .retry_canceled_requests(true)
            .set_host(false)
            .build(connector);
        Ok(Self { client, clock })
    }

    /// Sends the request and reads the answer. Cancelling closes the connection; the owner may have
    /// got the request.
    pub async fn send(&self, request: Request<Full<Bytes>>, deadline: Duration) -> Outcome {
        tokio::time::timeout(deadline, self.exchange(request))
            .await
            .unwrap_or(Outcome::TimedOut)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Outcome {
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "the owner cannot be reached");
                return Outcome::Unreachable;
            }
        };
        let status = answer.status();
        let retry_after = self.retry_after(&answer);
        let body = read(answer.into_body()).await;
        if !status.is_success() {
            // The head has said it all. The body was read only to use the connection again.
            return Outcome::Http {
                status: status.as_u16(),
                retry_after,
                body: Bytes::new(),
            };
        }
        match body {
            Ok(Some(body)) => Outcome::Http {
                status: status.as_u16(),
                retry_after,
                body,
            },
            Ok(None) => Outcome::TooLarge,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "the owner's answer broke off");
                Outcome::Unreachable
            }
        }
    }

    fn retry_after(&self, answer: &Response<Incoming>) -> Option<Millis> {
        let header = answer.headers().get(RETRY_AFTER)?;
        retry_after(header.to_str().ok()?, self.clock.wall())
    }
}

/// Reads the whole body; `None`: it is larger than allowed, and the rest is left unread. The usual
/// body comes in one piece, which is then passed on without a copy.
async fn read(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    if body.size_hint().lower() > BODY_MAX as u64 {
        return Ok(None);
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if first.len() + all.len() + data.len() > BODY_MAX {
            return Ok(None);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&data);
    }
    Ok(Some(if all.is_empty() { first } else { all.freeze() }))
}

/// An error with its sources on one line: hyper's own text is only «client error (Connect)».
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
