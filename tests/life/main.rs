//! An order's whole life, end to end: the command itself, as processes, on real Kafka and Redis. Sizes
//! come from the environment, so that the figures of a release are these tests at full size:
//!
//! `SETTLED_LIFE_EVENTS=20000 SETTLED_LIFE_UNSETTLED=2000 cargo test --release --test life -- --test-threads=1 --nocapture`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on ends so, and tells its figures"
)]

#[path = "../checker/mod.rs"]
mod checker;
#[path = "../support/plain_http.rs"]
mod plain_http;
#[path = "../support/prometheus.rs"]
mod prometheus;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

mod accidents;
mod alerts;
mod http_api;
mod inlets;
mod java_reader;
mod on_demand;
mod operators;
mod refusals;
mod reload;
mod terminal_events;
mod too_large;
mod verify;
mod whole_life;
