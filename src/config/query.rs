//! `query` of an order type: the request that asks an order's owner.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::fields::{Broken, Field, Fields, quoted};
use super::placeholder;
use super::secret::Secret;

/// `query = { .. }`: the request template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryConfig {
    /// `GET` or `POST`.
    pub method: String,
    /// With `{type}`, `{reqNO}`, `{query.NAME}` in path and query only.
    pub url: String,
    /// Headers, same placeholders; values may be secrets. Names in lower case.
    pub headers: BTreeMap<String, Secret>,
    /// A JSON text with placeholders inside its strings; `None`: the protocol's own body (POST only).
    pub body: Option<String>,
    /// The whole request, connect to last byte.
    pub timeout: Duration,
    /// `true`: 404 reads as «unknown» (4).
    pub not_found_is_unknown: bool,
}

/// How a 404 reads, as the file names it.
pub(super) const NOT_FOUND: [(&str, bool); 2] = [("unknown", true), ("could_not_ask", false)];

/// Written by the HTTP client (answers are never unpacked) or by the protocol, as is `settled-*`.
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

impl QueryConfig {
    /// `POST` of the protocol's own body to `url`; every other field has its default.
    pub fn new(url: String) -> Self {
        Self {
            method: "POST".to_owned(),
            url,
            headers: BTreeMap::new(),
            body: None,
            timeout: Duration::from_secs(2),
            not_found_is_unknown: false,
        }
    }

    pub(super) fn read(mut fields: Fields<'_>) -> Self {
        let url = fields.field("url").and_then(|field| field.text());
        let default = Self::new(url.unwrap_or_default());
        let query = Self {
            method: fields
                .field("method")
                .and_then(|field| field.choice(&[("GET", "GET"), ("POST", "POST")]))
                .map_or(default.method, str::to_owned),
            url: default.url,
            headers: headers(fields.section("headers")),
            body: fields.field("body").and_then(|field| field.text()),
            timeout: fields
                .field("timeout")
                .and_then(|field| field.duration(1..=60_000))
                .unwrap_or(default.timeout),
            not_found_is_unknown: fields
                .field("not_found")
                .and_then(|field| field.choice(&NOT_FOUND))
                .unwrap_or(default.not_found_is_unknown),
        };
        fields.end(query.validate());
        query
    }

    fn validate(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        if let Err(what) = url(&self.url) {
            broken.push(Broken::new("url", what));
        }
        if let Some(body) = &self.body {
            if self.method == "GET" {
                broken.push(Broken::new("body", "expected no body with method \"GET\""));
            }
            if let Err(what) = json(body) {
                broken.push(Broken::new("body", what));
            }
        }
        broken
    }
}

const URL_FORM: &str = "a URL like http://bank.internal/orders/{reqNO}";

fn url(template: &str) -> Result<(), String> {
    let expected = |what: &str| {
        // A login in the URL is a secret.
        if template.is_empty() || template.contains('@') {
            format!("expected {what}")
        } else {
            format!("{}: expected {what}", quoted(template))
        }
    };
    let Some((scheme, rest)) = template.split_once("://") else {
        return Err(expected(URL_FORM));
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if placeholder::is_in(scheme) || placeholder::is_in(host) {
        return Err(expected("no placeholder before the path"));
    }
    if host.contains('@') {
        return Err(expected(
            "no login in the URL: a header with env:NAME or file:PATH carries it",
        ));
    }
    if rest.contains('#') {
        return Err(expected("no fragment in the URL"));
    }
    let uri: Result<Uri, _> = placeholder::filled(template, "x")?.parse();
    match uri {
        Ok(uri)
            if matches!(scheme, "http" | "https") && uri.host().is_some_and(|h| !h.is_empty()) =>
        {
            Ok(())
        }
        _ => Err(expected(URL_FORM)),
    }
}

/// Placeholders stand inside strings, so that the template itself is JSON.
fn json(template: &str) -> Result<(), String> {
    fn strings(value: &serde_json::Value) -> Result<(), String> {
        match value {
            serde_json::Value::String(text) => placeholder::filled(text, "x").map(drop),
            serde_json::Value::Array(items) => items.iter().try_for_each(strings),
            serde_json::Value::Object(fields) => fields.values().try_for_each(strings),
            _ => Ok(()),
        }
    }
    match serde_json::from_str(template) {
        Ok(value) => strings(&value),
        Err(error) => Err(format!(
            "{}: expected JSON with its placeholders inside strings: {error}",
            quoted(template)
        )),
    }
}

fn headers(section: Fields<'_>) -> BTreeMap<String, Secret> {
    let mut headers = BTreeMap::new();
    for (name, field) in section.named() {
        let name = if field.is_variable() {
            name.replace('_', "-")
        } else {
            name
        };
        let Some((name, value)) = header(&name, &field) else {
            continue;
        };
        if headers.insert(name, value).is_some() {
            field.refuse("expected each header once, in whatever case");
        }
    }
    headers
}

fn header(name: &str, field: &Field<'_>) -> Option<(String, Secret)> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        field.refuse("expected the name of an HTTP header");
        return None;
    };
    if OWN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("settled-") {
        field.refuse("expected not to be set: settled writes it");
        return None;
    }
    let value = field.secret(Secret::new)?;
    let good = placeholder::filled(value.reveal(), "x")
        .is_ok_and(|value| HeaderValue::from_str(&value).is_ok());
    if !good {
        // The value is a secret: it is not repeated.
        field.refuse(
            "expected visible ASCII characters and the placeholders {type}, {reqNO}, {query.NAME}",
        );
        return None;
    }
    Some((name.as_str().to_owned(), value))
}
