//! Recovery: where it stops, and what it waits for.

use super::bench::{Bench, says, status};
use super::order_types::types;
use super::world::said::{SHARD, SHARDS, Said, order};
use crate::domain::status::{Open, Status, Terminal};
use crate::kafka::Ends;
use crate::shard::core::Phase;
use crate::shard::core::input::{Alarm, Input, LogEnds, Note};
use crate::shard::core::plan::Plan;
use crate::store::StoreError;
use crate::store::script::Floor;

fn plan() -> Plan {
    Plan::new(SHARD, SHARDS, 86_400_000, types())
}

fn out_of_range(bench: &Bench) -> bool {
    bench
        .notes
        .iter()
        .any(|note| matches!(note, Note::Alarm(Alarm::OutOfRange { .. })))
}

#[test]
fn a_position_outside_the_log_stops_the_shard_until_it_lies_inside() {
    let mut bench = Bench::new(plan());
    bench.floor.floor = Floor { e: 5, r: 0 };
    bench.ends.events = Ends { low: 7, high: 9 };
    bench.input(Input::Assigned);
    assert!(out_of_range(&bench));
    assert!(matches!(bench.core.phase(), Phase::Resting(_)));
    bench.pass(2_999);
    assert!(matches!(bench.core.phase(), Phase::Resting(_)));
    bench.ends.events = Ends { low: 5, high: 5 };
    bench.pass(1);
    assert_eq!(bench.core.phase(), Phase::Open);
}

#[test]
fn what_the_view_holds_is_told_when_the_timer_opens_and_every_five_seconds() {
    let mut bench = Bench::open();
    assert_eq!(bench.surveys, 1);
    bench.pass(4_999);
    assert_eq!(bench.surveys, 1);
    bench.pass(1);
    assert_eq!(bench.surveys, 2);
}

#[test]
fn ends_that_come_late_are_judged_by_the_positions_they_were_asked_from() {
    let mut bench = Bench::open();
    bench.pass(5_100);
    assert_eq!(bench.ends_asked, 1);
    for n in 0..3 {
        bench.event(&Said::pending(
            &order("pay", n, true),
            bench.now(),
            Open::InProgress,
        ));
    }
    bench.pass(6_000);
    let none = Ends { low: 0, high: 0 };
    bench.input(Input::Ends(Ok(LogEnds {
        events: none,
        results: none,
    })));
    assert!(!out_of_range(&bench));
    assert_eq!(bench.core.phase(), Phase::Open);
    bench.pass(6_000);
    assert_eq!(bench.ends_asked, 2, "one question at a time, then the next");
}

#[test]
fn the_timer_opens_while_events_keep_coming() {
    let mut bench = Bench::new(plan());
    bench.ends.events = Ends { low: 0, high: 1 };
    bench.input(Input::Assigned);
    bench.holds = true;
    assert_eq!(bench.core.phase(), Phase::FoldingEvents(1));
    let mut offset = 0;
    for _ in 0..20 {
        // One event arrives during each script.
        let said = Said::pending(&order("pay", offset, true), bench.now(), Open::InProgress);
        bench.input(Input::Events(
            vec![said.record(offset, bench.now())],
            offset + 1,
        ));
        offset += 1;
        bench.mono += 5;
        bench.input(Input::Tick);
        if let Some(script) = bench.scripts.pop() {
            let more = Said::pending(&order("pay", offset, true), bench.now(), Open::InProgress);
            bench.input(Input::Events(
                vec![more.record(offset, bench.now())],
                offset + 1,
            ));
            offset += 1;
            let answer = bench.store.apply(SHARD, &script);
            bench.input(Input::Replied(answer));
        }
        if bench.core.phase() == Phase::Open {
            return;
        }
    }
    panic!("still {:?} after {offset} events", bench.core.phase());
}

#[test]
fn r_passes_the_marker_behind_the_last_result() {
    let mut bench = Bench::open();
    bench.event(&Said::settle(
        &order("pay", 1, true),
        bench.now(),
        Terminal::Success,
    ));
    bench.read_back();
    assert_eq!(bench.meta().r, 1);
    bench.input(Input::Results(Vec::new(), 2));
    bench.pass(1_100);
    assert_eq!(bench.meta().r, 2);
    // Retention takes the whole log: it begins where R stands.
    bench.ends = LogEnds {
        events: Ends { low: 1, high: 1 },
        results: Ends { low: 2, high: 2 },
    };
    bench.input(Input::Revoked);
    bench.input(Input::Assigned);
    assert_eq!(bench.core.phase(), Phase::Open);
}

#[test]
fn results_are_folded_to_their_real_end_before_events_are_read() {
    let mut bench = Bench::new(plan());
    bench.ends = LogEnds {
        events: Ends { low: 0, high: 1 },
        results: Ends { low: 0, high: 2 },
    };
    bench.input(Input::Assigned);
    assert_eq!(bench.core.phase(), Phase::FoldingResults(2));
    assert!(!bench.core.wants_events());
    bench.pass(5_000);
    assert_eq!(
        bench.core.phase(),
        Phase::FoldingResults(2),
        "stuck is right, open is wrong"
    );
    bench.input(Input::Results(Vec::new(), 2));
    assert_eq!(bench.core.phase(), Phase::FoldingEvents(1));
}

/// A shard whose view exists, on its way through a recovery with so many events to read.
fn recovers_to_events(behind: u64) -> Bench {
    let mut bench = Bench::open();
    // A fold may be the first thing of a view; afterwards nothing of the rebuild is left.
    bench.event(&Said::pending(
        &order("pay", 1, true),
        bench.now(),
        Open::InProgress,
    ));
    bench.pass(1_100);
    let end = bench.meta().e + behind;
    bench.ends.events = Ends { low: 0, high: end };
    bench.input(Input::Revoked);
    bench.input(Input::Assigned);
    assert_eq!(bench.core.phase(), Phase::FoldingEvents(end));
    bench.asks.clear();
    bench.notes.clear();
    bench
}

#[test]
fn a_full_store_does_not_keep_the_timer_closed() {
    let mut bench = recovers_to_events(1);
    bench.holds = true;
    let key = order("pay", 2, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    assert_eq!(bench.scripts.len(), 1);
    bench.holds = false;
    bench.input(Input::Replied(Err(StoreError::Full("OOM".to_owned()))));
    assert_eq!(bench.core.phase(), Phase::Open);
    let ask = bench.next_ask();
    assert_eq!(ask.attempt, 1, "the order that the view has is asked about");
    // What had no room is folded when there is some.
    bench.pass(5_000);
    assert_eq!(bench.meta().e, 2);
}

#[test]
fn a_full_store_keeps_the_timer_of_a_view_that_is_not_whole_closed() {
    let mut bench = Bench::new(plan());
    bench.ends.events = Ends { low: 0, high: 1 };
    bench.input(Input::Assigned);
    bench.holds = true;
    let key = order("pay", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    bench.input(Input::Replied(Err(StoreError::Full("OOM".to_owned()))));
    bench.pass(500);
    assert_eq!(bench.core.phase(), Phase::FoldingEvents(1));
}

#[test]
fn events_behind_an_open_transaction_do_not_keep_the_timer_closed() {
    let mut bench = recovers_to_events(3);
    bench.pass(20_000);
    assert!(matches!(bench.core.phase(), Phase::FoldingEvents(_)));
    bench.pass(5_100);
    assert_eq!(bench.core.phase(), Phase::Open);
    let told = Note::Alarm(Alarm::OpenTransaction);
    assert_eq!(bench.notes.iter().filter(|note| **note == told).count(), 1);
}

#[test]
fn a_long_reading_of_results_is_not_taken_for_an_open_transaction() {
    let mut bench = Bench::new(plan());
    bench.ends.results = Ends { low: 0, high: 9 };
    bench.input(Input::Assigned);
    let told = Note::Alarm(Alarm::OpenTransaction);
    for position in 1..9 {
        bench.pass(15_000);
        bench.input(Input::Results(Vec::new(), position));
    }
    assert!(!bench.notes.contains(&told));
    bench.pass(25_100);
    assert!(bench.notes.contains(&told));
    assert_eq!(bench.core.phase(), Phase::FoldingResults(9));
}

#[test]
fn a_log_that_loses_its_head_while_it_is_folded_is_noticed() {
    let mut bench = recovers_to_events(3);
    bench.pass(5_100);
    let asked = bench.ends_asked;
    assert!(asked > 0);
    bench.ends.events = Ends { low: 3, high: 9 };
    bench.input(Input::Ends(Ok(bench.ends)));
    assert!(out_of_range(&bench));
    assert!(matches!(bench.core.phase(), Phase::Resting(_)));
}

#[test]
fn an_order_that_is_asked_before_a_wipe_is_asked_after_it() {
    let mut bench = Bench::open();
    let key = order("pay", 1, true);
    let appended = bench.now();
    bench.event(&Said::pending(&key, appended, Open::InProgress));
    let old = bench.next_ask();
    bench.store.wipe(SHARD);
    bench.ends.events = Ends { low: 0, high: 1 };
    bench.pass(2_500);
    bench.event_at(
        0,
        appended,
        &Said::pending(&key, appended, Open::InProgress),
    );
    bench.asks.clear();
    let ask = bench.next_ask();
    bench.answer(&old, says(Terminal::Failure));
    bench.answer(&ask, says(Terminal::Success));
    assert_eq!(status(bench.only_result()), Status::Success);
}

#[test]
fn a_log_that_grows_over_a_position_beyond_its_end_skips_no_event() {
    let mut bench = Bench::open();
    for n in 0..3 {
        bench.event(&Said::pending(
            &order("pay", n, true),
            bench.now(),
            Open::InProgress,
        ));
    }
    bench.pass(1_100);
    assert_eq!(bench.meta().e, 3);
    // The log has lost its last two events, and others are appended where they lay.
    bench.input(Input::Revoked);
    bench.ends.events = Ends { low: 0, high: 1 };
    bench.input(Input::Assigned);
    assert!(out_of_range(&bench));
    bench.ends.events = Ends { low: 0, high: 4 };
    bench.pass(30_000);
    let phase = bench.core.phase();
    assert!(matches!(phase, Phase::Resting(_)), "{phase:?}");
    // The way out is the position where the log was seen to end: a view that lies there goes on.
    bench.store.wipe(SHARD);
    bench.floor.floor = Floor { e: 1, r: 0 };
    bench.pass(10_000);
    assert_eq!(bench.core.phase(), Phase::FoldingEvents(4));
}
