//! A wiped view: what a rebuild must not do a second time, when it is over, and the floor that it
//! begins from.

use std::collections::BTreeMap;

use super::bench::{Bench, START};
use super::order_types::types;
use super::world::said::{SHARD, SHARDS, Said, order};
use crate::domain::event::Reason;
use crate::domain::order::RECORD_HASHES;
use crate::domain::status::{Open, Terminal};
use crate::kafka::{Ends, ResultRecord};
use crate::shard::core::input::{Alarm, Input, LogEnds, Note};
use crate::shard::core::plan::Plan;
use crate::shard::core::{Core, Phase};
use crate::store::key::Key;
use crate::store::script::Floor;

/// Longer than the window.
const TWO_DAYS: u64 = 2 * 86_400_000;

fn plan() -> Plan {
    Plan::new(SHARD, SHARDS, 86_400_000, types())
}

/// A view that is being rebuilt: X is settled, a contradiction of it lies in the log, its letter
/// is not acknowledged.
fn rebuilding() -> Bench {
    let mut bench = Bench::open();
    let key = order("pay", 1, true);
    bench.event(&Said::settle(&key, bench.now(), Terminal::Success));
    let result = bench.only_result().clone();
    bench.store.wipe(SHARD);
    bench.core = Core::new(plan(), 10);
    bench.ends = LogEnds {
        events: Ends { low: 0, high: 2 },
        results: Ends { low: 0, high: 2 },
    };
    bench.input(Input::Assigned);
    let record = ResultRecord {
        offset: 0,
        appended: bench.now(),
        result: Some(result),
    };
    bench.input(Input::Results(vec![record], 2));
    bench.event_at(
        0,
        bench.now(),
        &Said::settle(&key, bench.now(), Terminal::Success),
    );
    bench.event_at(
        1,
        bench.now(),
        &Said::settle(&key, bench.now(), Terminal::Failure),
    );
    bench
}

#[test]
fn the_rebuild_mark_goes_when_e_has_reached_the_end_not_when_the_timer_opens() {
    let mut bench = rebuilding();
    bench.pass(5_000);
    assert_eq!(bench.core.phase(), Phase::Open);
    assert_eq!(bench.letters, [(1, Reason::Conflict)]);
    assert_eq!((bench.meta().e, bench.meta().rebuild), (1, Some(0)));
    bench.input(Input::Acknowledged(1, Ok(())));
    bench.pass(1_100);
    assert_eq!((bench.meta().e, bench.meta().rebuild), (2, None));
}

#[test]
fn a_new_owner_of_a_half_rebuilt_view_reads_the_results_again() {
    let mut bench = rebuilding();
    bench.pass(2_000);
    assert!(bench.meta().r > 0);
    bench.core = Core::new(plan(), 20);
    bench.input(Input::Assigned);
    assert_eq!(bench.core.phase(), Phase::FoldingResults(2));
    assert_eq!(bench.meta().r, 0);
}

#[test]
fn an_event_that_was_dealt_with_before_the_wipe_is_not_kept_again() {
    let mut bench = Bench::new(plan());
    bench.floor.known_below = 1;
    bench.ends.events = Ends { low: 0, high: 2 };
    bench.input(Input::Assigned);
    bench.event_at(0, bench.now(), &Said::garbage());
    assert!(bench.letters.is_empty());
    bench.event_at(1, bench.now(), &Said::garbage());
    assert_eq!(bench.letters, [(1, Reason::NotJson)]);
}

/// A view is rebuilt from before the window: a result that is older gets no mark. Returns that result,
/// settled by event 0, and the event.
fn rebuilding_without_marks() -> (Bench, ResultRecord, Said) {
    let mut source = Bench::open();
    let key = order("pay", 1, true);
    let said = Said::settle(&key, source.now(), Terminal::Success);
    source.event(&said);
    let mut bench = Bench::new(plan());
    bench.ends = LogEnds {
        events: Ends { low: 0, high: 1 },
        results: Ends { low: 0, high: 2 },
    };
    let record = ResultRecord {
        offset: 0,
        appended: bench.now() - TWO_DAYS,
        result: Some(source.only_result().clone()),
    };
    bench.input(Input::Assigned);
    bench.input(Input::Results(vec![record.clone()], 2));
    assert_eq!(bench.core.phase(), Phase::FoldingEvents(1));
    assert!(marks(&bench).is_empty());
    (bench, record, said)
}

fn marks(bench: &Bench) -> Vec<u64> {
    let hours = bench.store.dump_now(SHARD).unwrap().marks;
    let offsets = |marks: BTreeMap<_, (_, u64)>| marks.into_values().map(|(_, offset)| offset);
    hours.into_values().flat_map(offsets).collect()
}

#[test]
fn a_rebuild_marks_what_the_window_needs_and_nothing_older() {
    let (mut bench, mut record, _) = rebuilding_without_marks();
    record.offset = 2;
    record.appended = bench.now() - 3_600_000;
    bench.input(Input::Results(vec![record], 4));
    bench.pass(100);
    assert_eq!(marks(&bench), [2]);
}

#[test]
fn a_rebuild_settles_nothing_again_that_is_too_old_for_a_mark() {
    let (mut bench, _, said) = rebuilding_without_marks();
    bench.event_at(0, bench.now() - TWO_DAYS, &said);
    bench.pass(5_000);
    assert!(bench.published.is_empty(), "{:?}", bench.published);
    assert_eq!(bench.meta().e, 1);
}

#[test]
fn a_rebuild_that_changes_hands_settles_nothing_again() {
    let (mut bench, record, said) = rebuilding_without_marks();
    bench.pass(500);
    bench.core = Core::new(plan(), 20);
    bench.input(Input::Assigned);
    bench.input(Input::Results(vec![record], 2));
    bench.event_at(0, bench.now() - TWO_DAYS, &said);
    bench.pass(5_000);
    assert!(bench.published.is_empty(), "{:?}", bench.published);
    assert_eq!((bench.meta().e, bench.meta().rebuild), (1, None));
}

#[test]
fn the_floor_lies_below_open_exhaustions_and_pending_orders() {
    let mut bench = Bench::open_with(|plan| plan.floor_every = 1_000);
    let [exhausted, settled, pending] = [1, 2, 3].map(|n| order("pay", n, true));
    bench.event(&Said::pending(&exhausted, bench.now(), Open::InProgress));
    bench.exhaust();
    bench.read_back();
    bench.event(&Said::settle(&settled, bench.now(), Terminal::Success));
    bench.pass(300);
    bench.read_back();
    bench.pass(6_000);
    assert_eq!(bench.floors.last(), Some(&Floor { e: 2, r: 0 }));
    let later = bench.now() + 3_600_000;
    bench.event(&Said::pending(&pending, bench.now(), Open::InProgress).ask_at(later));
    bench.event(&Said::settle(&exhausted, bench.now(), Terminal::Failure));
    bench.pass(300);
    bench.read_back();
    bench.pass(6_000);
    let meta = bench.meta();
    assert_eq!((meta.e, meta.r), (4, 5));
    assert_eq!(bench.floors.last(), Some(&Floor { e: 2, r: 5 }));
}

#[test]
fn no_floor_is_committed_from_a_view_that_is_being_rebuilt() {
    let mut bench = rebuilding();
    bench.pass(120_000);
    assert_eq!(bench.core.phase(), Phase::Open);
    assert_eq!((bench.meta().rebuild, bench.floors.len()), (Some(0), 0));
    bench.input(Input::Acknowledged(1, Ok(())));
    bench.pass(10_000);
    assert_eq!((bench.meta().rebuild, bench.floors.len()), (None, 1));
}

#[test]
fn a_view_that_has_lost_an_order_is_given_up_and_folded_anew() {
    let mut bench = Bench::open();
    let said = |bench: &Bench| Said::pending(&order("pay", 1, true), bench.now(), Open::InProgress);
    bench.event(&said(&bench));
    bench.ends.events = Ends { low: 0, high: 1 };
    for hash in 0..RECORD_HASHES {
        bench.store.lose(SHARD, Key::Records(hash));
    }
    bench.pass(10_000);
    assert!(bench.notes.contains(&Note::Alarm(Alarm::Unaccounted(1))));
    assert!(
        bench.floors.is_empty(),
        "its floor may lie above what it lost"
    );
    assert_eq!(bench.meta().rebuild, Some(0));
    bench.event_at(0, bench.now(), &said(&bench));
    bench.exhaust();
    bench.read_back();
    // Exhausted orders are counted elsewhere; nothing is missing.
    bench.notes.clear();
    bench.pass(20_000);
    assert_eq!(bench.recovers(), 0);
}

#[test]
fn orders_whose_bucket_was_lost_are_put_back_and_asked_about() {
    let mut bench = Bench::open();
    bench.event(&Said::pending(
        &order("pay", 1, true),
        bench.now(),
        Open::InProgress,
    ));
    let second = (bench.now() / 1_000) as u32;
    let (type_id, ..) = bench.meta().types[0];
    for near in 0..5 {
        bench.store.lose(SHARD, Key::Bucket(type_id, second + near));
    }
    bench.next_ask();
    assert!(bench.notes.contains(&Note::Swept(1)), "{:?}", bench.notes);
    assert!(bench.now() < u64::from(second + 40) * 1_000);
}

#[test]
fn a_rebuild_does_not_take_back_what_the_group_knows() {
    let mut bench = Bench::new(plan());
    let said = |n| Said::pending(&order("pay", n, true), START, Open::InProgress);
    bench.floor.known_below = 2;
    bench.ends.events = Ends { low: 0, high: 2 };
    bench.input(Input::Assigned);
    bench.event_at(0, bench.now(), &said(1));
    bench.pass(20_000);
    assert_eq!(bench.meta().e, 1);
    assert!(bench.committed.is_empty(), "{:?}", bench.committed);
    bench.event_at(1, bench.now(), &said(2));
    bench.pass(20_000);
    assert_eq!(bench.committed, [2]);
}

#[test]
fn a_half_rebuilt_view_goes_on_where_retention_has_trimmed_its_results() {
    let mut bench = rebuilding();
    bench.pass(2_000);
    assert_eq!(bench.meta().rebuild, Some(0));
    // The results that the rebuild began with are gone when the next owner comes.
    bench.ends.results = Ends { low: 2, high: 2 };
    bench.core = Core::new(plan(), 20);
    bench.input(Input::Assigned);
    let key = order("pay", 1, true);
    for (offset, status) in [(0, Terminal::Success), (1, Terminal::Failure)] {
        bench.event_at(
            offset,
            bench.now(),
            &Said::settle(&key, bench.now(), status),
        );
    }
    bench.pass(2_000);
    assert_eq!(bench.core.phase(), Phase::Open);
    assert_eq!(bench.meta().r, 2);
}

#[test]
fn a_view_that_has_lost_orders_and_their_count_alike_is_given_up() {
    let mut bench = Bench::open();
    let said = |bench: &Bench| Said::pending(&order("pay", 1, true), bench.now(), Open::InProgress);
    bench.event(&said(&bench));
    bench.ends.events = Ends { low: 0, high: 1 };
    for hash in 0..RECORD_HASHES {
        bench.store.lose(SHARD, Key::Records(hash));
    }
    bench.store.lose(SHARD, Key::Slots);
    bench.pass(10_000);
    assert!(bench.notes.contains(&Note::Alarm(Alarm::Unaccounted(1))));
    assert_eq!(bench.meta().rebuild, Some(0));
}
