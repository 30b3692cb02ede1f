//! One script in flight: what is sent again, what is given up, and that nothing spins.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bench::{Bench, lost, unavailable};
use super::world::said::{SHARD, Said, order};
use crate::domain::order::TypeName;
use crate::domain::status::Open;
use crate::shard::core::Phase;
use crate::shard::core::input::Input;
use crate::shard::core::plan::{CLAIM_AHEAD, TypePlan};
use crate::store::StoreError;
use crate::store::script::{BATCH, Body, Reply, Script};

/// A fold is in flight and was not answered.
fn in_flight() -> Bench {
    let mut bench = Bench::open();
    bench.pass(1_500);
    bench.holds = true;
    bench.event(&Said::pending(
        &order("pay", 1, true),
        bench.now(),
        Open::InProgress,
    ));
    assert!(
        matches!(bench.scripts[0].body, Body::Fold(_)),
        "{:?}",
        bench.scripts
    );
    bench
}

#[test]
fn the_same_bytes_go_again_after_a_script_that_did_not_run() {
    let mut bench = in_flight();
    bench.input(Input::Replied(unavailable()));
    bench.event(&Said::pending(
        &order("pay", 2, true),
        bench.now(),
        Open::InProgress,
    ));
    bench.pass(300);
    assert_eq!(bench.scripts.len(), 2);
    assert_eq!(bench.scripts[0], bench.scripts[1]);
}

#[test]
fn the_same_bytes_go_again_when_the_reply_is_lost_and_the_view_is_unchanged() {
    let mut bench = in_flight();
    bench.input(Input::Replied(lost()));
    assert_eq!(
        (bench.scripts.len(), bench.meta_reads),
        (1, 1),
        "its fate is not known"
    );
    let meta = bench.meta();
    bench.input(Input::MetaRead(Ok(Some(meta))));
    assert_eq!(bench.scripts.len(), 2);
    assert_eq!(bench.scripts[0], bench.scripts[1]);
}

#[test]
fn a_script_whose_reply_is_lost_but_which_ran_is_done() {
    let mut bench = in_flight();
    bench.store.apply(SHARD, &bench.scripts[0]).unwrap();
    bench.input(Input::Replied(lost()));
    bench.holds = false;
    let meta = bench.meta();
    bench.input(Input::MetaRead(Ok(Some(meta))));
    assert_eq!(bench.core.folded().map(|(e, _)| e), Some(1));
    bench.next_ask();
    assert_eq!(bench.recovers(), 1, "only the first recovery");
}

#[test]
fn a_meta_that_cannot_be_read_is_read_again_after_a_pause() {
    let mut bench = in_flight();
    bench.input(Input::Replied(lost()));
    bench.input(Input::MetaRead(unavailable()));
    assert_eq!(bench.meta_reads, 1);
    bench.pass(99);
    assert_eq!(bench.meta_reads, 1);
    bench.pass(1);
    assert_eq!((bench.meta_reads, bench.scripts.len()), (2, 1));
}

#[test]
fn a_mismatch_leads_to_a_recovery_that_rests_when_it_repeats() {
    let mut bench = in_flight();
    bench.holds = false;
    bench.store.wipe(SHARD);
    bench.input(Input::Replied(Ok(Reply::Mismatch)));
    assert_eq!(
        bench.acquires, 4,
        "twice for the first view, twice for this one"
    );
    bench.holds = true;
    bench.event_at(
        0,
        bench.now(),
        &Said::pending(&order("pay", 1, true), bench.now(), Open::InProgress),
    );
    bench.holds = false;
    bench.input(Input::Replied(Ok(Reply::Mismatch)));
    assert!(
        matches!(bench.core.phase(), Phase::Resting(_)),
        "{:?}",
        bench.core.phase()
    );
    bench.pass(1_000);
    assert_eq!(bench.core.phase(), Phase::Open);
}

#[test]
fn a_full_store_holds_back_folds_only() {
    let mut bench = in_flight();
    bench.input(Input::Replied(Err(StoreError::Full("OOM".to_owned()))));
    bench.pass(999);
    let folds = bench
        .scripts
        .iter()
        .filter(|script| matches!(script.body, Body::Fold(_)))
        .count();
    assert_eq!(folds, 1);
    assert!(bench.scripts.len() > 1, "a claim or a sweep goes on");
    assert!(!bench.core.wants_events());
}

#[test]
fn a_full_store_sends_nothing_else_while_an_older_copy_of_the_fold_may_arrive() {
    let mut bench = in_flight();
    bench.input(Input::Replied(lost()));
    let meta = bench.meta();
    bench.input(Input::MetaRead(Ok(Some(meta))));
    bench.input(Input::Replied(Err(StoreError::Full("OOM".to_owned()))));
    bench.pass(100);
    let fold = Arc::clone(&bench.scripts[0]);
    let others = bench.scripts.iter().filter(|script| **script != fold);
    let same_token = |script: &&Arc<Script>| script.token == fold.token;
    assert_eq!(others.filter(same_token).count(), 0);
    bench.ends.events.high = 1;
    bench.pass(2_000);
    assert_eq!((bench.recovers(), bench.acquires), (2, 3));
    let late = bench.store.apply(SHARD, &fold).unwrap();
    assert_eq!(late, Reply::Mismatch, "a new token stops it");
}

#[test]
fn what_arrives_within_the_linger_travels_together() {
    let mut bench = Bench::open();
    bench.pass(1_005);
    bench.served.clear();
    for n in 0..3 {
        let said = Said::pending(&order("pay", n, true), bench.now(), Open::InProgress);
        bench.input(Input::Events(vec![said.record(n, bench.now())], n + 1));
        bench.pass(2);
    }
    bench.pass(bench.core.plan.linger);
    let folds = bench.served.iter().filter_map(|script| match &script.body {
        Body::Fold(folds) => Some(folds.len()),
        _ => None,
    });
    assert_eq!(
        folds.collect::<Vec<_>>(),
        [1, 2],
        "at once when idle, together when busy"
    );
}

#[test]
fn an_idle_shard_wakes_a_few_times_a_second_and_never_spins() {
    let mut bench = Bench::open();
    bench.event(&Said::pending(
        &order("odd", 1, true),
        bench.now(),
        Open::InProgress,
    ));
    bench.event(
        &Said::pending(
            &order("fx", 1, true),
            bench.now() + 60_000,
            Open::InProgress,
        )
        .ask_at(bench.now() + 300_000),
    );
    let wakes = bench.pass(60_000);
    assert!(wakes < 400, "{wakes} wake-ups in a minute");
    bench.permits = 0;
    // Nothing may be claimed: it looks again every ten milliseconds at most.
    let wakes = bench.pass(10_000);
    assert!(wakes < 1_200, "{wakes} wake-ups in ten seconds");
}

#[test]
fn a_claim_that_is_out_of_breath_on_empty_seconds_goes_on_at_once() {
    let mut bench = Bench::open();
    bench.permits = 0;
    bench.event(&Said::pending(
        &order("pay", 1, true),
        bench.now(),
        Open::InProgress,
    ));
    bench.pass(5 * BATCH as u64 * 1_000);
    bench.permits = 10;
    bench.pass(bench.core.plan.linger - 1);
    let cursors: Vec<_> = bench.meta().types.iter().map(|of| of.2).collect();
    assert!(
        cursors
            .iter()
            .all(|cursor| u64::from(*cursor) >= bench.now() / 1_000),
        "{cursors:?} at {}",
        bench.now()
    );
}

#[test]
fn every_type_is_claimed_before_its_second_begins_however_many_there_are() {
    const TYPES: u64 = 40;
    let name = |n: u64| TypeName::new(&format!("type-{n}")).unwrap();
    let mut bench = Bench::open_with(|plan| {
        let like = plan.types[0].clone();
        plan.types = (0..TYPES)
            .map(|n| TypePlan {
                name: name(n),
                ..like.clone()
            })
            .collect();
    });
    // All due in one second that begins later.
    bench.pass(1_000 - bench.now() % 1_000);
    let appended = bench.now() + 500;
    let record = |n| {
        let key = order(&format!("type-{n}"), n, true);
        Said::pending(&key, appended, Open::InProgress).record(n, appended)
    };
    bench.input(Input::Events((0..TYPES).map(record).collect(), TYPES));
    bench.pass(200);
    let begins = appended + 1_000 - (appended + 1_000) % 1_000;
    bench.pass(begins - bench.now() - CLAIM_AHEAD - 1);
    bench.served.clear();
    bench.pass(1 + CLAIM_AHEAD / 2);
    let claims = bench.served.iter().filter_map(|script| match &script.body {
        Body::Claim(claim) => Some(claim.type_id),
        _ => None,
    });
    let claimed: BTreeSet<_> = claims.collect();
    assert_eq!(claimed.len() as u64, TYPES);
}
