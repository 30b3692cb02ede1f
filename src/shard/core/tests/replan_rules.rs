//! Order types that change while their orders wait.

use super::bench::{Bench, says, status};
use super::order_types::types;
use super::world::said::{Said, order};
use crate::domain::answer::Answer;
use crate::domain::schedule::Ladder;
use crate::domain::status::{Open, Status, Terminal};

const PAY: &str = "pay";

/// An order of the first type that is about to be asked about for the second time.
fn waiting() -> Bench {
    let mut bench = Bench::open();
    bench.event(&Said::pending(
        &order(PAY, 1, true),
        bench.now(),
        Open::InProgress,
    ));
    let ask = bench.next_ask();
    bench.answer(&ask, Answer::InProgress);
    bench
}

#[test]
fn an_order_that_waits_follows_the_new_schedule_from_its_next_step() {
    let mut bench = waiting();
    let mut changed = types();
    changed[0].schedule.in_progress = Ladder::parse(&["30s x 9".to_owned()]).unwrap();
    bench.core.replan(changed);
    let answered = bench.mono;
    let ask = bench.next_ask();
    assert!(bench.mono - answered < 3_000, "its due time stood already");
    let answered = bench.mono;
    bench.answer(&ask, Answer::InProgress);
    bench.next_ask();
    assert!(
        (29_000..33_000).contains(&(bench.mono - answered)),
        "asked again after {} ms",
        bench.mono - answered
    );
}

#[test]
fn orders_of_a_type_that_is_taken_out_wait_until_it_is_back() {
    let mut bench = waiting();
    bench.core.replan(types().split_off(1));
    bench.pass(3_600_000);
    assert!(bench.asks.is_empty() && bench.published.is_empty());
    bench.core.replan(types());
    let ask = bench.next_ask();
    assert_eq!(ask.attempt, 2);
    bench.answer(&ask, says(Terminal::Success));
    assert_eq!(status(bench.only_result()), Status::Success);
}

#[test]
fn an_answer_about_a_type_that_was_taken_out_ends_no_schedule() {
    let mut bench = waiting();
    let second = bench.next_ask();
    bench.answer(&second, Answer::InProgress);
    let last = bench.next_ask();
    bench.core.replan(types().split_off(1));
    bench.answer(&last, Answer::InProgress);
    bench.pass(3_600_000);
    assert!(
        bench.published.is_empty(),
        "exhausted by a schedule that nobody has configured"
    );
    bench.core.replan(types());
    assert_eq!(
        bench.next_ask().attempt,
        4,
        "the answer counts all the same"
    );
}

#[test]
fn a_terminal_answer_about_a_type_that_was_taken_out_settles() {
    let mut bench = waiting();
    let ask = bench.next_ask();
    bench.core.replan(types().split_off(1));
    bench.answer(&ask, says(Terminal::Failure));
    assert_eq!(status(bench.only_result()), Status::Failure);
}

#[test]
fn the_kept_orders_of_a_type_that_nobody_had_configured_are_asked_about_once_it_is() {
    let mut bench = Bench::open_with(|plan| drop(plan.types.remove(0)));
    bench.event(&Said::pending(
        &order(PAY, 1, true),
        bench.now(),
        Open::InProgress,
    ));
    bench.pass(60_000);
    assert!(bench.asks.is_empty());
    bench.core.replan(types());
    let replanned = bench.mono;
    assert_eq!(bench.next_ask().attempt, 1);
    assert!(bench.mono - replanned <= 1_000);
}

/// Seed 15563 of the worlds: a wiped view was rebuilt while the type was out of the configuration.
#[test]
fn an_exhaustion_that_was_read_while_its_type_was_not_configured_is_asked_about_once_it_is_back() {
    let mut bench = Bench::open_with(|plan| {
        plan.types.truncate(1);
    });
    let key = order("fx", 1, true);
    bench.exhaustion(key.clone());
    bench.pass(60_000);
    assert!(bench.asks.is_empty());
    bench.core.replan(types());
    let ask = bench.next_ask();
    assert_eq!((&ask.key, ask.attempt), (&key, 4));
    bench.answer(&ask, says(Terminal::Success));
    assert_eq!(status(bench.only_result()), Status::Success);
}
