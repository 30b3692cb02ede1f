//! The kill matrix: three workers as processes on real Kafka and Redis, one of them ended or stopped
//! at a named point of its code (`src/fault.rs`), some hundred orders a run, and the black-box
//! checker's verdict. Needs the feature `fault-points`:
//!
//! `cargo test --features fault-points --test kill_matrix -- --nocapture`
//!
//! `SETTLED_KILL_RUNS`: how many runs, each point with kill and with stop in turn (28).
//! `SETTLED_KILL_ONLY=asked:kill`: only this one. `SETTLED_KILL_SEED`: the first run's seed; a run
//! prints its own. `SETTLED_KILL_LANES`: how many runs at a time (3). `SETTLED_KILL_PROTOCOL=consumer`:
//! the group is one of KIP-848. Logs of runs that failed are kept in `target/tmp/kill_matrix`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on ends so, and tells its figures"
)]

#[path = "../checker/callers.rs"]
mod callers;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../checker/mod.rs"]
mod checker;
#[path = "../checker/kept.rs"]
mod kept;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/plain_http.rs"]
mod plain_http;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/mod.rs"]
mod support;
#[path = "../checker/traffic.rs"]
mod traffic;
#[path = "../checker/verdict.rs"]
mod verdict;

mod matrix;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use matrix::{Fault, Plan, Table};

/// Takes the next run of the plan until none is left.
fn lane(plan: &Mutex<Plan>, table: &Mutex<Table>) {
    loop {
        let Some((number, fault)) = plan.lock().unwrap().next() else {
            return;
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| run::carry_out(&fault)));
        let Fault {
            point,
            how,
            nth,
            seed,
        } = fault;
        let line = match &outcome {
            Ok(ended) => ended.to_string(),
            Err(_) => "did not come to its end, see above".to_owned(),
        };
        println!("run {number}: {point}:{how} nth {nth} seed {seed}: {line}");
        table.lock().unwrap().add(point, outcome.as_ref().ok());
    }
}

#[test]
fn a_worker_ended_or_stopped_at_any_point_loses_and_repeats_nothing() {
    if support::kafka().is_none() || support::redis().is_none() {
        return;
    }
    let plan = Plan::of_environment();
    println!("{plan}");
    let (lanes, plan) = (plan.lanes, Mutex::new(plan));
    let table = Mutex::new(Table::default());
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| lane(&plan, &table));
        }
    });
    let table = table.into_inner().unwrap();
    println!("{table}");
    assert!(table.is_clean(), "the promises did not hold in every run");
}
