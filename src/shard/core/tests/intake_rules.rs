//! What is read: what may not stop the shard, what is claimed at once, what is held.

use super::bench::{Bench, says};
use super::world::said::{SHARD, Said, order};
use crate::domain::event::Reason;
use crate::domain::status::{Open, Terminal};
use crate::shard::core::Phase;
use crate::shard::core::input::{Input, Note};
use crate::store::script::{Body, Folded, Reply};

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
    bench.exhaustion(order("odd", 1, true));
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
