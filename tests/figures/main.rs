//! Figures: a real Kafka and Redis, a bank and workers as processes of their own, one load after the
//! other; what is measured is printed, one line `figure: ...` each. In a release build, alone on the
//! machine, by `scripts/figures`:
//!
//! `cargo test --release --test figures -- --ignored --nocapture`
//!
//! No speed is asserted. What is promised is: exactly one result of each order, wherever orders settle,
//! no order falsely exhausted, no sliding second above its ceiling, no drain longer than it leaves.
//!
//! | variable | default | |
//! |---|---|---|
//! | `SETTLED_FIGURES_ONLY` | all | rows whose names begin so, `lateness,wipe` |
//! | `SETTLED_FIGURES_ORDERS` | 100000 | orders of `life`, `instant` and `ceiling-drain` |
//! | `SETTLED_FIGURES_VIEW` | 1000000 | orders in the view of `wipe` and `memory` |
//! | `SETTLED_FIGURES_SECONDS` | 30 | measured, of `idle`, each row `lateness`, and `neighbour` before |
//! | `SETTLED_FIGURES_WARM_SECONDS` | 10 | before that, at the same rate; also of `outage` |
//! | `SETTLED_FIGURES_OUTAGE_SECONDS` | 60 | for so long the bank is out, of `outage` and `neighbour` |
//! | `SETTLED_FIGURES_RUNS` | 3 | of each kind of takeover |
//! | `SETTLED_FIGURES_IN_FLIGHT` | 1024 | `in_flight` of the ceiling |

#![expect(
    clippy::format_push_string,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a run that cannot go on ends so, and tells its figures"
)]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../checker/mod.rs"]
mod checker;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/plain_http.rs"]
mod plain_http;
#[path = "../support/mod.rs"]
mod support;

mod ceiling;
mod idle;
mod instant;
mod lateness;
mod life;
mod load;
mod machine;
mod memory;
mod neighbour;
mod outage;
mod pace;
mod page;
mod redis_cost;
mod seen;
mod stage;
mod takeover;
mod wipe;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

/// A row: what it is called, and how it is taken.
type Row = (&'static str, fn(&'static str) -> Taking);
type Taking = Pin<Box<dyn Future<Output = ()>>>;

fn rows() -> Vec<Row> {
    vec![
        ("life", |name| Box::pin(life::take(name))),
        ("idle", |name| Box::pin(idle::take(name))),
        ("lateness-500", |name| {
            Box::pin(lateness::take(name, 500, 0))
        }),
        ("lateness-500-hanging", |name| {
            Box::pin(lateness::take(name, 500, 500))
        }),
        ("lateness-5000", |name| {
            Box::pin(lateness::take(name, 5_000, 0))
        }),
        ("instant", |name| Box::pin(instant::take(name))),
        ("ceiling-drain", |name| Box::pin(ceiling::take(name))),
        ("neighbour", |name| Box::pin(neighbour::take(name))),
        ("outage-refusing", |name| {
            Box::pin(outage::take(name, outage::Out::Refuses))
        }),
        ("outage-hanging", |name| {
            Box::pin(outage::take(name, outage::Out::Hangs))
        }),
        ("takeover-graceful", |name| {
            Box::pin(takeover::take(name, takeover::Going::Terminated))
        }),
        ("takeover-killed", |name| {
            Box::pin(takeover::take(name, takeover::Going::Killed))
        }),
        ("takeover-stopped", |name| {
            Box::pin(takeover::take(name, takeover::Going::Stopped))
        }),
        ("takeover-static", |name| {
            Box::pin(takeover::take(name, takeover::Going::Restarted))
        }),
        ("takeover-static-killed", |name| {
            Box::pin(takeover::take(name, takeover::Going::KilledAndRestarted))
        }),
        ("memory", |name| Box::pin(memory::take(name))),
        ("wipe", |name| Box::pin(wipe::take(name))),
    ]
}

#[test]
#[ignore = "takes minutes, alone on the machine; scripts/figures runs it"]
fn figures() {
    if support::kafka().is_none() || support::redis().is_none() {
        return;
    }
    let only = std::env::var_os("SETTLED_FIGURES_ONLY").unwrap_or_default();
    let only = only.into_string().unwrap();
    let wanted = |name: &str| only.split(',').any(|only| name.starts_with(only));
    let rows: Vec<Row> = rows().into_iter().filter(|row| wanted(row.0)).collect();
    assert!(!rows.is_empty(), "SETTLED_FIGURES_ONLY: no such row");
    machine::tell();
    let mut failed = Vec::new();
    for (name, take) in rows {
        println!("{name}: {}", machine::load());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let taken = catch_unwind(AssertUnwindSafe(|| runtime.block_on(take(name))));
        if taken.is_err() {
            println!("figure: {name}: not taken, see above");
            failed.push(name);
        }
    }
    machine::tell_highest_memory();
    assert!(failed.is_empty(), "not taken: {failed:?}");
}
