//! One script in flight: what is sent again, what is given up, and that nothing spins.

use std::collections::BTreeSet;

use super::bench::{Bench, lost, says, unavailable};
use super::world::said::{SHARD, Said, order};
use crate::domain::event::Reason;
use crate::domain::order::TypeName;
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::{Open, Terminal};
use crate::shard::core::Phase;
use crate::shard::core::input::{Input, Note};
use crate::shard::core::plan::{CLAIM_AHEAD, TypePlan};
use crate::store::StoreError;
use crate::store::script::{Body, Folded, Reply};

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
fn an_ask_at_beyond_all_calendars_does_not_stop_the_shard() {
    let mut bench = Bench::open();
    let year = 365 * 86_400_000;
    for (n, ask_at) in [bench.now() + 3 * year, bench.now() + 200 * year, u64::MAX]
        .into_iter()
        .enumerate()
    {
        let said = Said::pending(&order("pay", n as u64, true), bench.now(), Open::InProgress)
            .ask_at(ask_at);
        bench.event(&said);
    }
    bench.pass(2_000);
    assert_eq!((bench.recovers(), bench.meta().e), (1, 3));
}

#[test]
fn a_terminal_event_may_be_the_first_of_its_type() {
    let mut bench = Bench::open();
    bench.event(&Said::settle(
        &order("pay", 1, true),
        bench.now(),
        Terminal::Success,
    ));
    assert_eq!(bench.published.len(), 1);
    bench.read_back();
    bench.pass(2_000);
    assert_eq!(
        (bench.core.phase(), bench.recovers(), bench.meta().e),
        (Phase::Open, 1, 1)
    );
}

#[test]
fn an_exhaustion_of_a_type_beyond_the_limit_is_passed() {
    let mut bench = Bench::open_with(|plan| plan.unknown_types = 0);
    let outcome = Outcome::Exhausted {
        status: Open::Unknown,
        reason: "schedule ended".to_owned(),
        query: None,
    };
    bench.result(OrderResult {
        key: order("odd", 1, true),
        phase: 0,
        outcome,
        asked: 3,
        first_seen: bench.now(),
        at: bench.now(),
        event: (SHARD, 0),
        traceparent: None,
    });
    assert_eq!((bench.meta().r, bench.recovers()), (1, 1));
}

#[test]
fn an_overdue_order_is_claimed_by_its_fold_as_far_as_permits_go() {
    for (permits, claimed) in [(1, 1), (0, 0)] {
        let mut bench = Bench::open();
        // A first order makes the type known, so that its cursor runs.
        bench.event(&Said::pending(
            &order("pay", 0, true),
            bench.now(),
            Open::InProgress,
        ));
        let ask = bench.next_ask();
        bench.answer(&ask, says(Terminal::Success));
        bench.permits = permits;
        bench.holds = true;
        bench.scripts.clear();
        let long_ago = bench.now() - 60_000;
        let records = (1..3)
            .map(|n| {
                Said::pending(&order("pay", n, true), long_ago, Open::InProgress)
                    .record(n, long_ago)
            })
            .collect();
        bench.input(Input::Events(records, 3));
        bench.pass(20);
        let Some(fold) = bench
            .scripts
            .iter()
            .find(|script| matches!(script.body, Body::Fold(_)))
            .cloned()
        else {
            panic!("no fold in {:?}", bench.scripts)
        };
        let Body::Fold(folds) = &fold.body else {
            unreachable!()
        };
        assert_eq!(
            folds
                .iter()
                .filter(|fold| fold.placement.lease_second > 0)
                .count(),
            claimed
        );
        let Ok(Reply::Folded { outcomes, .. }) = bench.store.apply(SHARD, &fold) else {
            panic!("not folded")
        };
        assert_eq!(outcomes, [Folded::Added; 2]);
    }
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
fn garbage_is_held_until_its_letter_is_acknowledged() {
    let mut bench = Bench::open();
    let offset = bench.event(&Said::garbage());
    assert_eq!(bench.letters, [(offset, Reason::NotJson)]);
    bench.pass(3_000);
    assert_eq!(bench.meta().e, offset);
    bench.input(Input::Acknowledged(offset, Ok(())));
    bench.pass(1_100);
    assert_eq!(bench.meta().e, offset + 1);
    let offset = bench.event(&Said::garbage());
    bench.ends.events.high = offset + 1;
    bench.input(Input::Acknowledged(offset, Err("no broker".to_owned())));
    assert_eq!(
        bench.recovers(),
        2,
        "a letter that was not delivered is read again"
    );
    assert!(
        bench
            .notes
            .iter()
            .any(|note| matches!(note, Note::Alarm(_)))
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
