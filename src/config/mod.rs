//! The configuration as the rest of the program uses it: checked, complete, secrets resolved.
//! Defaults < file < environment; the only reader of the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::domain::order::TypeName;
use crate::domain::schedule::Schedule;

/// Everything, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Prefix of groups and transactional ids.
    pub app: String,
    /// N: partitions of `order-results`, for ever. 1 to 256.
    pub shards: u16,
    /// How long a settled order is remembered.
    pub dedupe_window: Duration,
    /// `[kafka]`.
    pub kafka: Kafka,
    /// `[redis]`.
    pub redis: Redis,
    /// `[api]`.
    pub api: Api,
    /// `[admin]`.
    pub admin: Admin,
    /// `[order_types.<name>]`.
    pub order_types: BTreeMap<TypeName, OrderTypeConfig>,
}

/// `[kafka]`.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port,host:port`.
    pub bootstrap: String,
    /// Topic of events.
    pub events: String,
    /// Topic of results.
    pub results: String,
    /// Topic of dead letters.
    pub dead_letters: String,
    /// `classic` or `consumer` (KIP-848).
    pub group_protocol: GroupProtocol,
    /// Handed to librdkafka as they are; those that would break a promise were refused.
    pub properties: BTreeMap<String, String>,
}

/// Which protocol the member group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The classic one, cooperative-sticky.
    Classic,
    /// KIP-848.
    Consumer,
}

/// `[redis]`.
#[derive(Clone, Debug)]
pub struct Redis {
    /// `redis://` or `rediss://`; more than one: Redis Cluster.
    pub urls: Vec<Secret>,
    /// Stands before every key.
    pub prefix: String,
}

/// `[api]`.
#[derive(Clone, Debug)]
pub struct Api {
    /// Where the API listens.
    pub listen: SocketAddr,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where metrics, health and the admin verbs listen.
    pub listen: SocketAddr,
    /// For the verbs; required when `listen` is not loopback.
    pub token: Option<Secret>,
}

/// `[order_types.<name>]`.
#[derive(Clone, Debug)]
pub struct OrderTypeConfig {
    /// How the owner is asked.
    pub query: QueryConfig,
    /// When.
    pub schedule: Schedule,
    /// How often at most.
    pub ceiling: Ceiling,
}

/// `query = { .. }`: the request template.
#[derive(Clone, Debug)]
pub struct QueryConfig {
    /// `GET` or `POST`.
    pub method: String,
    /// With `{type}`, `{reqNO}`, `{query.NAME}` in path and query only.
    pub url: String,
    /// Headers, same placeholders; values may be secrets.
    pub headers: BTreeMap<String, Secret>,
    /// A JSON text with placeholders inside its strings; `None`: the protocol's own body (POST only).
    pub body: Option<String>,
    /// The whole request, connect to last byte.
    pub timeout: Duration,
    /// `true`: 404 reads as «unknown» (4).
    pub not_found_is_unknown: bool,
}

/// `ceiling = { .. }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling {
    /// For the whole cluster. Default 100.
    pub questions_per_second: f64,
    /// Per worker. Default 64.
    pub in_flight: u32,
}

/// A value that is never shown: no `Debug`, no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value; name the use where it is called.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
