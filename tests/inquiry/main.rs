//! The query engine from outside: templates, the real client against an owner that misbehaves, and
//! the engine against scripted owners and a store that only keeps the ceiling.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something unexpected happened"
)]

mod callers;
mod ceiling_store;
mod engine;
mod faults;
mod hostile;
mod owner_stub;
mod template;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use settled::config::{Ceiling, OrderTypeConfig, QueryConfig, Secret};
use settled::domain::order::{OrderKey, TypeName};
use settled::domain::schedule::{Ladder, Schedule};

fn type_name(name: &str) -> TypeName {
    TypeName::new(name).unwrap()
}

fn key(text: &str) -> OrderKey {
    OrderKey::parse(text).unwrap()
}

/// `POST` of the protocol's own body.
fn query(url: impl Into<String>) -> QueryConfig {
    QueryConfig {
        method: "POST".to_owned(),
        url: url.into(),
        headers: BTreeMap::new(),
        body: None,
        timeout: Duration::from_mins(1),
        not_found_is_unknown: false,
        allow_link_local: false,
    }
}

fn header(query: &mut QueryConfig, name: &str, value: &str) {
    let value = Secret::new(value.to_owned());
    query.headers.insert(name.to_owned(), value);
}

/// An order type that is asked at `url`, with more room than any test needs.
fn order_type(url: impl Into<String>) -> OrderTypeConfig {
    let ladder = || Ladder::parse(&["1s".to_owned()]).unwrap();
    OrderTypeConfig {
        query: query(url),
        answer: None,
        schedule: Schedule {
            in_progress: ladder(),
            unknown: ladder(),
            ..Schedule::default()
        },
        ceiling: Ceiling {
            questions_per_second: 10_000.0,
            in_flight: 64,
            ..Ceiling::default()
        },
    }
}
