//! The one check of a request template: what a configuration may say of URL, headers and body. The
//! reading of `query` tells a mistake with its line; the query engine builds its requests of what
//! passed, and checks nothing again.

use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};

use super::fields::quoted;
use super::placeholder::{Place, Text};
use crate::domain::order::TypeName;

/// Headers that the client itself decides about: framing, the host (which must not vary with an
/// order), `accept-encoding`, because answers are never unpacked; and the protocol's own, as is
/// `settled-*`.
const OWN_HEADERS: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const URL_FORM: &str = "a URL like http://bank.internal/orders/{reqNO}";

/// Where the question goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// http or https.
    pub scheme: Scheme,
    /// Host and port; no login.
    pub authority: Authority,
    /// Path and query, beginning with a slash.
    pub path: Text,
}

impl Target {
    /// What the header `host` says.
    pub fn host(&self) -> &str {
        let default_port = if self.scheme == Scheme::HTTPS {
            443
        } else {
            80
        };
        match self.authority.port_u16() {
            Some(port) if port == default_port => self.authority.host(),
            _ => self.authority.as_str(),
        }
    }
}

/// A URL with placeholders in its path and query only.
pub(super) fn target(order_type: &TypeName, url: &str) -> Result<Target, String> {
    let expected = |what: &str| {
        // A login in the URL is a secret.
        if url.is_empty() || url.contains('@') {
            format!("expected {what}")
        } else {
            format!("{}: expected {what}", quoted(url))
        }
    };
    let no_url = || expected(URL_FORM);
    let (scheme, rest) = url.split_once("://").ok_or_else(no_url)?;
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if scheme.contains(['{', '}']) || host.contains(['{', '}']) {
        return Err(expected("no placeholder before the path"));
    }
    if host.contains('@') {
        return Err(expected(
            "no login in the URL: a header with env:NAME or file:PATH carries it",
        ));
    }
    if path.contains('#') {
        return Err(expected("no fragment in the URL"));
    }
    let scheme = match scheme {
        "http" => Scheme::HTTP,
        "https" => Scheme::HTTPS,
        _ => return Err(no_url()),
    };
    let authority: Authority = host.parse().map_err(|_| no_url())?;
    let colon = authority.as_str().len() > authority.host().len();
    if authority.host().is_empty() || (colon && authority.port_u16().is_none_or(|p| p == 0)) {
        return Err(no_url());
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = Text::parse(&format!("{slash}{path}"), Place::Url, order_type)?;
    let sample = path.sample("x");
    if has_dot_segment(&sample) {
        return Err(expected("no . or .. segment in the path"));
    }
    PathAndQuery::try_from(sample).map_err(|_| no_url())?;
    Ok(Target {
        scheme,
        authority,
        path,
    })
}

/// A JSON text with placeholders inside its strings.
pub(super) fn body(order_type: &TypeName, text: &str) -> Result<Text, String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| {
        format!(
            "{}: expected JSON with its placeholders inside strings: {error}",
            quoted(text)
        )
    })?;
    Text::parse(text, Place::Json, order_type)
}

/// The name of a header that may be set.
pub(super) fn header_name(name: &str) -> Result<HeaderName, &'static str> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err("expected the name of an HTTP header");
    };
    if OWN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("settled-") {
        return Err("expected not to be set: settled writes it");
    }
    Ok(name)
}

/// The value of a header: may be a secret, so that a mistake does not repeat it.
pub(super) fn header_value(order_type: &TypeName, value: &str) -> Result<Text, &'static str> {
    Text::parse(value, Place::Header, order_type)
        .ok()
        .filter(|text| HeaderValue::try_from(text.sample("x")).is_ok())
        .ok_or(
            "expected visible ASCII characters and the placeholders {type}, {reqNO}, {query.NAME}",
        )
}

/// Whether the path, read as generously as a proxy might, has a segment that is resolved away:
/// encoded separators count as separators, and a path parameter does not hide its segment.
pub fn has_dot_segment(path_and_query: &str) -> bool {
    let path = path_and_query.split('?').next().unwrap_or_default();
    path.split('/')
        .flat_map(|segment| segment.split("%2F"))
        .flat_map(|segment| segment.split("%5C"))
        .filter_map(|segment| segment.split(';').next())
        .any(|segment| segment == "." || segment == "..")
}
