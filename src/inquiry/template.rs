//! The request template of an order type: what the configuration checked, filled in for each question.
//! Whatever an order carries stays inside the path, query, header value or JSON string that the
//! template put it into; scheme, host and port come from the configuration alone.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request};
use http_body_util::Full;

use super::placeholder::{Fields, MissingField, encode, render};
use crate::config::{self, Place, QueryConfig, QueryFault, Text, has_dot_segment};
use crate::domain::order::{Millis, ReqNo, TypeName};

static ATTEMPT: HeaderName = HeaderName::from_static("settled-attempt");
static DEADLINE: HeaderName = HeaderName::from_static("settled-deadline-ms");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A checked request template.
#[derive(Clone, Debug)]
pub struct Template {
    method: Method,
    target: Target,
    /// Those that are the same for every order.
    headers: HeaderMap,
    varying_headers: Vec<(HeaderName, Text)>,
    body: Body,
    names_a_field: bool,
}

#[derive(Clone, Debug)]
enum Target {
    Fixed(Uri),
    Varying(config::Target),
}

#[derive(Clone, Debug)]
enum Body {
    Absent,
    /// The protocol's own; the part before the number.
    Protocol(String),
    Json(Text),
}

/// What one question is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The business system's number.
    pub req_no: &'a ReqNo,
    /// The query object as the event carried it.
    pub query: Option<&'a str>,
    /// W3C trace parent; left out when it is no header value.
    pub traceparent: Option<&'a str>,
    /// 1 for the first; 0: asked for by a person, no attempt of the schedule.
    pub attempt: u16,
    /// How long the asker waits for the whole answer.
    pub deadline_ms: Millis,
}

/// Why an order's request cannot be built. The order is not asked about: a request without the field
/// could get a true answer about something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unaskable {
    /// The template names a query field that the order does not carry.
    #[error("the order has no query field {0:?}, which the template names")]
    MissingField(Box<str>),
    /// A value would make a `.` or `..` segment, which servers and proxies resolve.
    #[error("a value would leave its place in the path")]
    LeavesPath,
    /// The URL would pass the 64 KiB that one may have.
    #[error("the URL is too long")]
    UrlTooLong,
}

impl From<MissingField> for Unaskable {
    fn from(missing: MissingField) -> Self {
        Self::MissingField(missing.0)
    }
}

impl Template {
    /// Of the `query` section of an order type.
    ///
    /// # Errors
    /// The first key that cannot be used.
    pub fn load(order_type: &TypeName, config: &QueryConfig) -> Result<Self, QueryFault> {
        let request = config.request(order_type)?;
        let mut headers = HeaderMap::with_capacity(8 + request.headers.len());
        let host = HeaderValue::from_str(request.target.host());
        headers.extend(host.ok().map(|host| (HOST, host)));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("settled/", env!("CARGO_PKG_VERSION"))),
        );
        let body = match request.body {
            Some(text) => Body::Json(text),
            None if request.method == Method::GET => Body::Absent,
            None => Body::Protocol(format!("{{\"type\":\"{order_type}\",\"reqNO\":\"")),
        };
        if !matches!(body, Body::Absent) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut varying_headers = Vec::new();
        for (name, text) in request.headers {
            match text.fixed().map(HeaderValue::from_str) {
                Some(Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                _ => varying_headers.push((name, text)),
            }
        }
        let target = Target::of(request.target);
        let names_a_field = varying_headers.iter().any(|(_, t)| t.names_a_field())
            || matches!(&target, Target::Varying(to) if to.path.names_a_field())
            || matches!(&body, Body::Json(text) if text.names_a_field());
        Ok(Self {
            method: request.method,
            target,
            headers,
            varying_headers,
            body,
            names_a_field,
        })
    }

    /// Builds the request about one order.
    ///
    /// # Errors
    /// The order cannot be asked about with this template; nothing was sent.
    pub fn render(&self, subject: &Subject<'_>) -> Result<Request<Full<Bytes>>, Unaskable> {
        let fields = if self.names_a_field {
            Fields::read(subject.query)
        } else {
            Fields::default()
        };
        let number = subject.req_no.as_str();
        let body = self.body.render(number, subject.query, &fields)?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.render(number, &fields)?;
        let mut headers = self.headers.clone();
        headers.insert(&ATTEMPT, HeaderValue::from(subject.attempt));
        headers.insert(&DEADLINE, HeaderValue::from(subject.deadline_ms));
        let parent = subject.traceparent.map(HeaderValue::from_str);
        if let Some(Ok(parent)) = parent {
            headers.insert(&TRACEPARENT, parent);
        }
        for (name, text) in &self.varying_headers {
            let mut value = String::new();
            render(text, Place::Header, number, &fields, &mut value)?;
            // Cannot fail: the literals were checked at load and the values are encoded.
            if let Ok(mut value) = HeaderValue::try_from(value) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl Target {
    fn of(target: config::Target) -> Self {
        let fixed = target
            .path
            .fixed()
            .map(|path| uri(&target, path.to_owned()));
        match fixed {
            Some(Ok(uri)) => Self::Fixed(uri),
            _ => Self::Varying(target),
        }
    }

    fn render(&self, number: &str, fields: &Fields) -> Result<Uri, Unaskable> {
        match self {
            Self::Fixed(uri) => Ok(uri.clone()),
            Self::Varying(target) => {
                let mut text = String::with_capacity(128);
                render(&target.path, Place::Url, number, fields, &mut text)?;
                if has_dot_segment(&text) {
                    return Err(Unaskable::LeavesPath);
                }
                uri(target, text)
            }
        }
    }
}

fn uri(target: &config::Target, path_and_query: String) -> Result<Uri, Unaskable> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(target.scheme.clone());
    parts.authority = Some(target.authority.clone());
    parts.path_and_query =
        Some(PathAndQuery::try_from(path_and_query).map_err(|_| Unaskable::UrlTooLong)?);
    Uri::from_parts(parts).map_err(|_| Unaskable::UrlTooLong)
}

impl Body {
    fn render(
        &self,
        number: &str,
        query: Option<&str>,
        fields: &Fields,
    ) -> Result<String, MissingField> {
        let mut out = String::new();
        match self {
            Self::Absent => {}
            Self::Protocol(head) => {
                let query = query.unwrap_or("{}");
                out.reserve_exact(head.len() + 2 * ReqNo::MAX + 12 + query.len());
                out.push_str(head);
                encode(Place::Json, number, &mut out);
                out.push_str("\",\"query\":");
                out.push_str(query);
                out.push('}');
            }
            Self::Json(text) => render(text, Place::Json, number, fields, &mut out)?,
        }
        Ok(out)
    }
}
