//! `query` of an order type: the request that asks an order's owner.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, Method};

use super::fields::{Broken, Field, Fields};
use super::link_local::names_link_local;
use super::placeholder::Text;
use super::request::{self, Target};
use super::secret::Secret;
use crate::domain::order::TypeName;

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
    /// `true`: the owner may have a link-local address.
    pub allow_link_local: bool,
}

/// How a 404 reads, as the file names it.
pub(super) const NOT_FOUND: [(&str, bool); 2] = [("unknown", true), ("could_not_ask", false)];

/// A query that passed every check.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: Method,
    /// Where it goes.
    pub target: Target,
    /// The configuration's own headers.
    pub headers: Vec<(HeaderName, Text)>,
    /// A JSON text; `None`: nothing with `GET`, the protocol's own body with `POST`.
    pub body: Option<Text>,
}

/// A query that cannot be used: which key below `query`, and what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct QueryFault {
    /// `method`, `url`, `headers.<name>` or `body`.
    pub key: String,
    /// One line; never a header's value.
    pub problem: String,
}

impl QueryFault {
    fn new(key: &str, problem: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            problem: problem.into(),
        }
    }
}

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
            allow_link_local: false,
        }
    }

    pub(super) fn read(mut fields: Fields<'_>, order_type: &TypeName) -> Self {
        let url = fields.field("url").and_then(|field| field.text());
        let default = Self::new(url.unwrap_or_default());
        let query = Self {
            method: fields
                .field("method")
                .and_then(|field| field.choice(&[("GET", "GET"), ("POST", "POST")]))
                .map_or(default.method, str::to_owned),
            url: default.url,
            headers: headers(fields.section("headers"), order_type),
            body: fields.field("body").and_then(|field| field.text()),
            timeout: fields
                .field("timeout")
                .and_then(|field| field.duration(1..=60_000))
                .unwrap_or(default.timeout),
            not_found_is_unknown: fields
                .field("not_found")
                .and_then(|field| field.choice(&NOT_FOUND))
                .unwrap_or(default.not_found_is_unknown),
            allow_link_local: fields
                .field("allow_link_local")
                .and_then(|field| field.truth())
                .unwrap_or(default.allow_link_local),
        };
        fields.end(query.validate(order_type));
        query
    }

    /// The checked request about orders of a type. What was read from a file was checked there, with
    /// the line of a mistake.
    ///
    /// # Errors
    /// The first key that cannot be used.
    pub fn request(&self, order_type: &TypeName) -> Result<Request, QueryFault> {
        let method = match self.method.as_str() {
            "GET" => Method::GET,
            "POST" => Method::POST,
            _ => return Err(QueryFault::new("method", "expected \"GET\" or \"POST\"")),
        };
        let header = |(name, value): (&String, &Secret)| {
            let fault = |problem| QueryFault::new(&format!("headers.{name}"), problem);
            let header = request::header_name(name).map_err(fault)?;
            let value = request::header_value(order_type, value.reveal()).map_err(fault)?;
            Ok((header, value))
        };
        Ok(Request {
            target: self.target(order_type)?,
            headers: self.headers.iter().map(header).collect::<Result<_, _>>()?,
            body: self.checked_body(order_type)?,
            method,
        })
    }

    fn target(&self, order_type: &TypeName) -> Result<Target, QueryFault> {
        let fault = |problem: String| QueryFault::new("url", problem);
        let target = request::target(order_type, &self.url).map_err(fault)?;
        let host = target.authority.host();
        if !self.allow_link_local && names_link_local(host) {
            let problem = format!(
                "{host}: expected no link-local address, where clouds keep their metadata; \
                 allow_link_local = true allows it"
            );
            return Err(fault(problem));
        }
        Ok(target)
    }

    fn checked_body(&self, order_type: &TypeName) -> Result<Option<Text>, QueryFault> {
        let Some(body) = &self.body else {
            return Ok(None);
        };
        if self.method == "GET" {
            let problem = "expected no body with method \"GET\"";
            return Err(QueryFault::new("body", problem));
        }
        let body = request::body(order_type, body);
        body.map(Some)
            .map_err(|problem| QueryFault::new("body", problem))
    }

    fn validate(&self, order_type: &TypeName) -> Vec<Broken> {
        let url = self.target(order_type).err();
        let body = self.checked_body(order_type).err();
        [("url", url), ("body", body)]
            .into_iter()
            .filter_map(|(field, fault)| Some(Broken::new(field, fault?.problem)))
            .collect()
    }
}

fn headers(section: Fields<'_>, order_type: &TypeName) -> BTreeMap<String, Secret> {
    let mut headers = BTreeMap::new();
    for (name, field) in section.named() {
        let name = if field.is_variable() {
            name.replace('_', "-")
        } else {
            name
        };
        let Some((name, value)) = header(&name, &field, order_type) else {
            continue;
        };
        if headers.insert(name, value).is_some() {
            field.refuse("expected each header once, in whatever case");
        }
    }
    headers
}

fn header(name: &str, field: &Field<'_>, order_type: &TypeName) -> Option<(String, Secret)> {
    let name = request::header_name(name)
        .map_err(|expected| field.refuse(expected))
        .ok()?;
    let value = field.secret(Secret::new)?;
    request::header_value(order_type, value.reveal())
        .map_err(|expected| field.refuse(expected))
        .ok()?;
    Some((name.as_str().to_owned(), value))
}
