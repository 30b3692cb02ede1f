//! Chaos: two workers as processes on a real Kafka and Redis of their own, under load, while what
//! they stand on is frozen, killed, wiped, cut off or set back; then rest, and the black-box
//! checker's verdict. Takes minutes, so it runs when it is asked for, by `scripts/chaos`:
//!
//! `cargo test --test chaos -- --ignored --nocapture`
//!
//! `SETTLED_CHAOS_ONLY=redis-wiped,kafka`: the rows whose names begin so. `SETTLED_CHAOS_RUNS`: how
//! often each. `SETTLED_CHAOS_SEED`: the first run's seed; a run prints its own. Logs of runs that
//! failed are kept in `target/tmp/chaos`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on ends so, and tells its figures"
)]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../checker/mod.rs"]
mod checker;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/plain_http.rs"]
mod plain_http;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;

#[path = "../checker/callers.rs"]
mod callers;
#[path = "../checker/kept.rs"]
mod kept;
#[path = "../checker/traffic.rs"]
mod traffic;
#[path = "../checker/verdict.rs"]
mod verdict;

mod clock_rows;
mod cluster_rows;
mod kafka_cluster_rows;
mod kafka_rows;
mod network_rows;
mod nodes;
mod proxy;
mod redis_rows;
mod rig;
mod rows;
mod trimmed_row;

use std::panic::{AssertUnwindSafe, catch_unwind};

use checker::size;
use rows::{Row, Table};

#[test]
#[ignore = "takes minutes; scripts/chaos runs it"]
fn faults_below_lose_and_repeat_nothing() {
    if support::kafka().is_none() || support::redis().is_none() {
        return;
    }
    let only = std::env::var_os("SETTLED_CHAOS_ONLY");
    let only = only.map(|only| only.into_string().unwrap());
    let wanted = |row: &Row| {
        let only = only.as_deref().unwrap_or_default().split(',');
        only.into_iter().any(|only| row.name.starts_with(only))
    };
    let all = [
        redis_rows::rows(),
        cluster_rows::rows(),
        network_rows::rows(),
        clock_rows::rows(),
        kafka_rows::rows(),
        kafka_cluster_rows::rows(),
    ];
    let rows: Vec<Row> = all.into_iter().flatten().filter(wanted).collect();
    assert!(!rows.is_empty(), "SETTLED_CHAOS_ONLY: no such row");
    let mut table = Table::default();
    let mut seed = size("SETTLED_CHAOS_SEED", std::process::id() as usize * 1_000) as u64;
    for row in &rows {
        for _ in 0..size("SETTLED_CHAOS_RUNS", 1) {
            seed += 1;
            let outcome = catch_unwind(AssertUnwindSafe(|| rig::carry_out(row, seed)));
            let line = match &outcome {
                Ok(ended) => ended.to_string(),
                Err(_) => "did not come to its end, see above".to_owned(),
            };
            println!("{} seed {seed}: {line}", row.name);
            table.add(row.name, outcome.as_ref().ok());
        }
    }
    println!("{table}");
    assert!(table.is_clean(), "the promises did not hold in every run");
}
