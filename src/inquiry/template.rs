//! The request template of an order type: checked once at load, then filled in for each question.
//! Whatever an order carries stays inside the path, query, header value or JSON string that the
//! template put it into; scheme, host and port come from the configuration alone.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request};
use http_body_util::Full;

use super::placeholder::{Fields, MissingField, Place, Text};
use crate::config::QueryConfig;
use crate::domain::order::{Millis, ReqNo, TypeName};

static ATTEMPT: HeaderName = HeaderName::from_static("settled-attempt");
static DEADLINE: HeaderName = HeaderName::from_static("settled-deadline-ms");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Headers that the client itself decides about: framing, the host (which must not vary with an
/// order), and `accept-encoding`, because answers are never unpacked.
const RESERVED: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "accept-encoding",
    "proxy-connection",
    "traceparent",
];

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
    Varying {
        scheme: Scheme,
        authority: Authority,
        path: Text,
    },
}

#[derive(Clone, Debug)]
enum Body {
    Absent,
    /// The protocol's own; the part before the number.
    Protocol(String),
    Json(Text),
}

/// A template that cannot be used: which key below `query`, and what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct TemplateFault {
    /// `method`, `url`, `headers.<name>` or `body`.
    pub key: String,
    /// One line; never a header's value.
    pub problem: String,
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
    /// Checks the `query` section of an order type.
    ///
    /// # Errors
    /// The first key that cannot be used.
    pub fn load(order_type: &TypeName, config: &QueryConfig) -> Result<Self, TemplateFault> {
        let method = match config.method.as_str() {
            "GET" => Method::GET,
            "POST" => Method::POST,
            _ => return Err(fault("method", "expected GET or POST")),
        };
        let mut headers = HeaderMap::with_capacity(8 + config.headers.len());
        let target = target(order_type, &config.url, &mut headers)?;
        let body = body(order_type, &method, config.body.as_deref())?;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("settled/", env!("CARGO_PKG_VERSION"))),
        );
        if !matches!(body, Body::Absent) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut varying_headers = Vec::new();
        for (name, value) in &config.headers {
            let key = format!("headers.{name}");
            let header = header_name(name).map_err(|problem| fault(&key, problem))?;
            let text = Text::parse(value.reveal(), Place::Header, order_type)
                .map_err(|problem| fault(&key, problem))?;
            let mut sample = HeaderValue::try_from(text.sample("x"))
                .map_err(|_| fault(&key, "expected visible ASCII and spaces"))?;
            if text.fixed().is_some() {
                sample.set_sensitive(true);
                headers.insert(header, sample);
            } else {
                varying_headers.push((header, text));
            }
        }
        let names_a_field = varying_headers.iter().any(|(_, t)| t.names_a_field())
            || matches!(&target, Target::Varying { path, .. } if path.names_a_field())
            || matches!(&body, Body::Json(text) if text.names_a_field());
        Ok(Self {
            method,
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
            text.render(Place::Header, number, &fields, &mut value)?;
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
    fn render(&self, number: &str, fields: &Fields) -> Result<Uri, Unaskable> {
        match self {
            Self::Fixed(uri) => Ok(uri.clone()),
            Self::Varying {
                scheme,
                authority,
                path,
            } => {
                let mut text = String::with_capacity(128);
                path.render(Place::Url, number, fields, &mut text)?;
                if has_dot_segment(&text) {
                    return Err(Unaskable::LeavesPath);
                }
                let mut parts = http::uri::Parts::default();
                parts.scheme = Some(scheme.clone());
                parts.authority = Some(authority.clone());
                parts.path_and_query =
                    Some(PathAndQuery::try_from(text).map_err(|_| Unaskable::UrlTooLong)?);
                Uri::from_parts(parts).map_err(|_| Unaskable::UrlTooLong)
            }
        }
    }
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
                Place::Json.encode(number, &mut out);
                out.push_str("\",\"query\":");
                out.push_str(query);
                out.push('}');
            }
            Self::Json(text) => text.render(Place::Json, number, fields, &mut out)?,
        }
        Ok(out)
    }
}

fn target(
    order_type: &TypeName,
    url: &str,
    headers: &mut HeaderMap,
) -> Result<Target, TemplateFault> {
    let wrong = |problem: &str| fault("url", problem);
    let absolute = "expected an absolute URL like http://bank.internal/orders/query";
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong(absolute))?;
    let (scheme, default_port) = match scheme {
        "http" => (Scheme::HTTP, 80),
        "https" => (Scheme::HTTPS, 443),
        s if s.contains(['{', '}']) => return Err(wrong(NEVER_THERE)),
        _ => return Err(wrong(absolute)),
    };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if host.contains(['{', '}']) {
        return Err(wrong(NEVER_THERE));
    }
    if host.contains('@') {
        return Err(wrong(
            "a user or password does not belong here: use headers",
        ));
    }
    if path.contains('#') {
        return Err(wrong("a fragment is never sent: remove it"));
    }
    let authority: Authority = host.parse().map_err(|_| wrong(absolute))?;
    let colon = authority.as_str().len() > authority.host().len();
    if authority.host().is_empty() || (colon && authority.port_u16().is_none_or(|p| p == 0)) {
        return Err(wrong(absolute));
    }
    let named = match authority.port_u16() {
        Some(port) if port == default_port => authority.host(),
        _ => authority.as_str(),
    };
    let host = HeaderValue::from_str(named).map_err(|_| wrong(absolute))?;
    headers.insert(HOST, host);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = Text::parse(&format!("{slash}{path}"), Place::Url, order_type)
        .map_err(|problem| wrong(&problem))?;
    let sample = path.sample("x");
    if has_dot_segment(&sample) {
        return Err(wrong("the path has a . or .. segment"));
    }
    let sample = PathAndQuery::try_from(sample)
        .map_err(|_| wrong("path and query: other characters are percent-encoded"))?;
    if path.fixed().is_none() {
        return Ok(Target::Varying {
            scheme,
            authority,
            path,
        });
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(sample);
    let uri = Uri::from_parts(parts).map_err(|_| wrong(absolute))?;
    Ok(Target::Fixed(uri))
}

const NEVER_THERE: &str =
    "placeholders stand in the path or the query, never in scheme, host or port";

fn body(order_type: &TypeName, method: &Method, text: Option<&str>) -> Result<Body, TemplateFault> {
    match text {
        None if *method == Method::GET => Ok(Body::Absent),
        None => Ok(Body::Protocol(format!(
            "{{\"type\":\"{order_type}\",\"reqNO\":\""
        ))),
        Some(_) if *method == Method::GET => Err(fault("body", "GET has none: use POST")),
        Some(text) => {
            serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map_err(|error| fault("body", format!("expected a JSON text: {error}")))?;
            Text::parse(text, Place::Json, order_type)
                .map(Body::Json)
                .map_err(|problem| fault("body", problem))
        }
    }
}

fn header_name(name: &str) -> Result<HeaderName, String> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "expected a header name like x-api-key".to_owned())?;
    if RESERVED.contains(&header.as_str()) || header.as_str().starts_with("settled-") {
        return Err("this header is set by settled itself: remove it".to_owned());
    }
    Ok(header)
}

/// Whether the path, read as generously as a proxy might, has a segment that is resolved away:
/// encoded separators count as separators, and a path parameter does not hide its segment.
fn has_dot_segment(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    path.split('/')
        .flat_map(|segment| segment.split("%2F"))
        .flat_map(|segment| segment.split("%5C"))
        .filter_map(|segment| segment.split(';').next())
        .any(|segment| segment == "." || segment == "..")
}

fn fault(key: &str, problem: impl Into<String>) -> TemplateFault {
    TemplateFault {
        key: key.to_owned(),
        problem: problem.into(),
    }
}
