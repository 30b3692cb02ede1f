//! Chaos: two workers as processes on a real Kafka and Redis of their own, under load, while what
//! they stand on is frozen, killed, wiped, cut off or set back; then rest, and the black-box
//! checker's verdict. Takes minutes, so it runs when it is asked for, by `scripts/chaos`:
//!
//! `cargo test --test chaos -- --ignored --nocapture`
//!
//! `SETTLED_CHAOS_ONLY=redis-wiped,kafka`: the rows whose names begin so. `SETTLED_CHAOS_FROM`: the row
//! to begin with. `SETTLED_CHAOS_RUNS`: how often each. `SETTLED_CHAOS_SEED`: the first run's seed; a
//! run prints its own. Each row's line of the table stands in `target/tmp/chaos-table.md` as soon as it
//! is known, below those of earlier sittings. Logs of runs that failed are kept in `target/tmp/chaos`.

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
mod exhausted;
mod kafka_cluster_rows;
mod kafka_nodes;
mod kafka_rows;
mod letters_row;
mod network_rows;
mod nodes;
mod proxy;
mod redis_rows;
mod rig;
mod rows;
mod trimmed_row;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use checker::size;
use rows::{HEAD, Row, Table};

#[test]
#[ignore = "takes minutes; scripts/chaos runs it"]
fn faults_below_lose_and_repeat_nothing() {
    if support::kafka().is_none() || support::redis().is_none() {
        return;
    }
    let all = [
        redis_rows::rows(),
        cluster_rows::rows(),
        network_rows::rows(),
        clock_rows::rows(),
        kafka_rows::rows(),
        kafka_cluster_rows::rows(),
    ];
    let rows = wanted(all.into_iter().flatten());
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
        keep(&table.last());
    }
    println!("{table}");
    assert!(table.is_clean(), "the promises did not hold in every run");
}

/// The rows that were asked for, in their order.
fn wanted(all: impl Iterator<Item = Row>) -> Vec<Row> {
    let given = |name: &str| {
        let given = std::env::var_os(name).unwrap_or_default();
        given.into_string().unwrap()
    };
    let (only, from) = (given("SETTLED_CHAOS_ONLY"), given("SETTLED_CHAOS_FROM"));
    let begins = |row: &Row| only.split(',').any(|only| row.name.starts_with(only));
    let behind = all.skip_while(|row| !row.name.starts_with(&from));
    let rows: Vec<Row> = behind.filter(begins).collect();
    assert!(!rows.is_empty(), "there is no row {only} from {from} on");
    rows
}

/// Appends a row's line to the table that all sittings share.
fn keep(line: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos-table.md");
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.unwrap();
    if file.metadata().unwrap().len() == 0 {
        writeln!(file, "{HEAD}").unwrap();
    }
    writeln!(file, "{line}").unwrap();
}
