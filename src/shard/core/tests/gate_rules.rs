//! The gate: what waits, what is dropped and what is published once.

use super::bench::{Bench, is_exhausted, says, status};
use super::order_types::types;
use super::world::said::{SHARD, SHARDS, Said, order};
use crate::domain::answer::Answer;
use crate::domain::event::Reason;
use crate::domain::order::OrderKey;
use crate::domain::status::{Open, Status, Terminal};
use crate::metrics::label::PauseReason;
use crate::shard::core::input::{Ask, Heard, Input};
use crate::shard::core::plan::Plan;
use crate::shard::core::{Core, Phase};

fn asked() -> (Bench, OrderKey, Ask) {
    let mut bench = Bench::open();
    let key = order("pay", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    let ask = bench.next_ask();
    (bench, key, ask)
}

#[test]
fn an_answer_that_comes_after_the_result_was_read_back_is_dropped() {
    let (mut bench, key, ask) = asked();
    bench.event(&Said::settle(&key, bench.now(), Terminal::Success));
    assert_eq!(status(bench.only_result()), Status::Success);
    bench.read_back();
    bench.answer(&ask, says(Terminal::Success));
    bench.pass(5_000);
    assert!(
        bench.published.is_empty(),
        "a second resolution: {:?}",
        bench.published
    );
}

#[test]
fn an_answer_to_a_settling_order_changes_nothing() {
    let (mut bench, key, ask) = asked();
    bench.event(&Said::settle(&key, bench.now(), Terminal::Success));
    bench.answer(&ask, says(Terminal::Failure));
    bench.pass(5_000);
    assert_eq!(status(bench.only_result()), Status::Success);
}

#[test]
fn an_answer_without_its_claim_is_dropped() {
    let (mut bench, _, mut ask) = asked();
    ask.claim += 1;
    bench.answer(&ask, says(Terminal::Success));
    assert!(bench.published.is_empty());
    ask.claim -= 1;
    bench.answer(&ask, says(Terminal::Success));
    assert_eq!(status(bench.only_result()), Status::Success);
}

#[test]
fn an_answer_of_an_older_generation_is_dropped() {
    let (mut bench, _, ask) = asked();
    let old = bench.core.generation();
    bench.input(Input::Revoked);
    bench.input(Input::Assigned);
    let heard = Heard {
        id: ask.id,
        claim: ask.claim,
        answer: says(Terminal::Success),
        started: None,
    };
    bench.input_of(old, Input::Answered(heard));
    assert!(bench.published.is_empty());
}

#[test]
fn a_terminal_event_of_a_settling_order_holds_e_until_the_read_back() {
    let (mut bench, key, ask) = asked();
    bench.answer(&ask, says(Terminal::Success));
    let offset = bench.event(&Said::settle(&key, bench.now(), Terminal::Success));
    bench.pass(5_000);
    assert_eq!(bench.meta().e, offset);
    bench.read_back();
    bench.pass(2_000);
    assert_eq!(bench.meta().e, offset + 1);
    assert!(bench.published.is_empty());
}

#[test]
fn a_terminal_event_of_an_order_that_is_being_exhausted_settles_it() {
    let mut bench = Bench::open();
    let key = order("pay", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    bench.exhaust();
    bench.event(&Said::settle(&key, bench.now(), Terminal::Success));
    assert!(is_exhausted(bench.only_result()));
    bench.read_back();
    bench.pass(1_000);
    assert_eq!(status(bench.only_result()), Status::Success);
}

#[test]
fn a_requeue_of_an_order_that_is_being_exhausted_waits_for_the_read_back() {
    let mut bench = Bench::open();
    let key = order("pay", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    bench.exhaust();
    bench.event(&Said::requeue(&key, bench.now(), 1));
    bench.read_back();
    let ask = bench.next_ask();
    assert_eq!(ask.attempt, 1, "a new phase begins anew");
    bench.answer(&ask, says(Terminal::Failure));
    assert_eq!(
        (status(bench.only_result()), bench.only_result().phase),
        (Status::Failure, 1)
    );
}

#[test]
fn a_contradiction_is_judged_by_what_was_published_never_by_what_is_planned() {
    let (mut bench, key, ask) = asked();
    bench.answer(&ask, says(Terminal::Success));
    let offset = bench.event(&Said::settle(&key, bench.now(), Terminal::Failure));
    bench.pass(1_000);
    assert!(bench.letters.is_empty(), "nothing is published yet");
    bench.read_back();
    assert_eq!(bench.letters, [(offset, Reason::Conflict)]);
}

#[test]
fn a_terminal_event_of_a_settled_order_repeats_or_contradicts_it() {
    let mut bench = Bench::open();
    let key = order("pay", 1, true);
    bench.event(&Said::settle(&key, bench.now(), Terminal::Success));
    bench.read_back();
    bench.event(&Said::settle(&key, bench.now(), Terminal::Success));
    assert!(bench.letters.is_empty() && bench.published.is_empty());
    let offset = bench.event(&Said::settle(&key, bench.now(), Terminal::Failure));
    bench.pass(bench.core.plan.linger);
    assert_eq!(bench.letters, [(offset, Reason::Conflict)]);
    assert!(bench.published.is_empty());
    bench.pass(3_000);
    assert_eq!(
        bench.meta().e,
        offset,
        "held until the letter is acknowledged"
    );
    bench.input(Input::Acknowledged(offset, Ok(())));
    bench.pass(1_100);
    assert_eq!(bench.meta().e, offset + 1);
}

#[test]
fn a_full_gate_stops_claims_and_events_but_not_results() {
    let mut bench = Bench::open_with(|plan| plan.gate_limit = 1);
    let [first, second] = [order("pay", 1, true), order("pay", 2, true)];
    bench.event(&Said::pending(&second, bench.now(), Open::InProgress));
    bench.event(&Said::settle(&first, bench.now(), Terminal::Success));
    assert_eq!(bench.core.paused(), Some(PauseReason::GateFull));
    assert!(!bench.core.wants_events());
    bench.pass(10_000);
    assert!(
        bench.asks.is_empty(),
        "nobody is claimed while the gate is full"
    );
    bench.read_back();
    assert!(bench.core.wants_events());
    bench.next_ask();
}

#[test]
fn a_repeated_requeue_opens_no_second_phase() {
    let mut bench = Bench::open();
    let key = order("pay", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    bench.exhaust();
    bench.read_back();
    bench.event(&Said::requeue(&key, bench.now(), 1));
    bench.exhaust();
    assert_eq!(bench.only_result().phase, 1);
    bench.read_back();
    bench.event(&Said::requeue(&key, bench.now(), 1));
    bench.pass(60_000);
    assert!(bench.asks.is_empty() && bench.published.is_empty());
}

#[test]
fn an_exhausted_order_is_still_asked_as_slowly_as_then_says() {
    let mut bench = Bench::open();
    let key = order("fx", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    bench.exhaust();
    bench.read_back();
    let from = bench.now();
    let ask = bench.next_ask();
    assert!(
        (20_000..22_000).contains(&(bench.now() - from)),
        "{}",
        bench.now() - from
    );
    bench.answer(&ask, Answer::InProgress);
    assert!(bench.published.is_empty(), "it is exhausted once");
    let ask = bench.next_ask();
    bench.answer(&ask, says(Terminal::Success));
    assert_eq!(status(bench.only_result()), Status::Success);
}

#[test]
fn an_exhausted_order_rests_when_then_was_taken_away() {
    let mut bench = Bench::open();
    let key = order("fx", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    bench.exhaust();
    bench.read_back();
    let mut plan = Plan::new(SHARD, SHARDS, 86_400_000, types());
    plan.types[1].schedule.then = None;
    bench.core = Core::new(plan, 10);
    bench.ends.events.high = 1;
    bench.ends.results.high = 2;
    bench.input(Input::Assigned);
    bench.input(Input::Results(Vec::new(), 2));
    let ask = bench.next_ask();
    bench.answer(&ask, Answer::InProgress);
    bench.pass(120_000);
    assert!(
        bench.asks.is_empty(),
        "it is asked again and again: {:?}",
        bench.asks
    );
}

#[test]
fn a_commit_of_unknown_fate_is_read_back_before_anything_is_published_again() {
    let (mut bench, _, ask) = asked();
    bench.answer(&ask, says(Terminal::Success));
    let result = bench.only_result().clone();
    bench.ends.events.high = 1;
    bench.ends.results.high = 2;
    bench.input(Input::Published(Err("the commit timed out".to_owned())));
    bench.pass(5_000);
    assert_eq!(bench.recovers(), 2);
    assert_eq!(bench.core.phase(), Phase::FoldingResults(2));
    assert_eq!(bench.published.len(), 1, "nothing is sent again");
    // It had landed.
    bench.result(result);
    bench.input(Input::Results(Vec::new(), 2));
    bench.pass(60_000);
    assert_eq!(bench.core.phase(), Phase::Open);
    assert_eq!((bench.published.len(), bench.asks.len()), (1, 0));
}

#[test]
fn an_answer_of_the_phase_before_does_not_end_the_phase_that_was_opened() {
    let mut bench = Bench::open();
    let key = order("fx", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    bench.exhaust();
    bench.read_back();
    let slow = bench.next_ask();
    // Not claimed by the fold, so that the table has no newer claim.
    bench.permits = 0;
    bench.event(&Said::requeue(&key, bench.now(), 1));
    bench.answer(&slow, says(Terminal::Success));
    bench.permits = 10;
    assert!(bench.published.is_empty(), "{:?}", bench.published);
    let ask = bench.next_ask();
    bench.answer(&ask, says(Terminal::Success));
    assert_eq!(
        (bench.only_result().phase, bench.only_result().asked),
        (1, 1)
    );
}
