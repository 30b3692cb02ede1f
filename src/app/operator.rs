//! The client of a running worker's `[admin]` listener: one request, one JSON document back. Follows no
//! redirect and uses no proxy: the token goes where the operator sent it and nowhere else.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::config::Secret;

/// A command for 10,000 orders takes some 20 s.
const DEADLINE: Duration = Duration::from_mins(5);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer, a page of a thousand orders, takes 300 KB.
const BODY_MAX: usize = 16 << 20;

/// Reaches one worker.
#[derive(Clone, Debug)]
pub struct AdminClient {
    base: String,
    token: Option<Secret>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What a worker answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The document.
    pub body: Value,
}

impl AdminClient {
    /// A client of the worker at `base`, like `http://127.0.0.1:8081`.
    ///
    /// # Errors
    /// `base` is no such URL, or TLS cannot be set up.
    pub fn new(base: &str, token: Option<Secret>) -> anyhow::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .context("tls")?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            token,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Sends one request. Cancelling it leaves its fate unknown; every verb may be repeated.
    ///
    /// # Errors
    /// No answer, or one that is no JSON document; one line with the way out.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let base = &self.base;
        let exchange = tokio::time::timeout(DEADLINE, self.exchange(method, path, body));
        let answered = exchange.await.context("no answer within 5 minutes");
        answered.flatten().with_context(|| {
            format!("{base}: no answer from a worker's [admin] listener; name one by --admin URL")
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let uri: Uri = format!("{}{path}", self.base).parse()?;
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                serde_json::to_vec(body)?
            }
            None => Vec::new(),
        };
        let request = request.body(Full::new(Bytes::from(bytes)))?;
        let answer = self.client.request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        let body = serde_json::from_slice(&body)
            .with_context(|| format!("status {status} without a JSON document"))?;
        Ok(Answer { status, body })
    }
}
