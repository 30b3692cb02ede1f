//! A schedule as the core keeps it: attempt -> due, to the millisecond, with its bounds and its last
//! question. Which ages a schedule has is tested with `domain::schedule`.

use super::bench::{Bench, is_exhausted, says, status};
use super::world::said::{SHARD, Said, order};
use crate::domain::answer::Answer;
use crate::domain::order::{Millis, OrderKey};
use crate::domain::record::Record;
use crate::domain::schedule::{Bounds, Ladder, Schedule};
use crate::domain::status::{Open, Status, Terminal};
use crate::shard::core::input::Ask;
use crate::store::script::Found;

fn ladder(stage: &str) -> Ladder {
    Ladder::parse(&[stage.to_owned()]).unwrap()
}

/// A shard whose type has this schedule, and an order of it that says 3.
fn asked_by(schedule: Schedule) -> (Bench, OrderKey) {
    let mut bench = Bench::open_with(|plan| plan.types[0].schedule = schedule);
    let key = order("pay", 1, true);
    bench.event(&Said::pending(&key, bench.now(), Open::InProgress));
    (bench, key)
}

fn record(bench: &Bench, key: &OrderKey) -> Record {
    match bench.store.find_now(SHARD, key) {
        Ok(Found::Open { record, .. }) => record,
        found => panic!("{found:?}"),
    }
}

/// The next question, which comes `delay` and its own jitter after `since`.
fn ask_after(bench: &mut Bench, key: &OrderKey, since: Millis, delay: Millis) -> Ask {
    let ask = bench.next_ask();
    let record = record(bench, key);
    let jitter = Schedule::jitter(delay, ask.id.hash32(), record.asked);
    assert_eq!(record.due, since + delay + jitter, "{record:?}");
    assert!(bench.now() >= record.due, "asked early: {record:?}");
    ask
}

#[test]
fn every_question_is_due_when_first_delay_ladder_and_total_age_say() {
    let (mut bench, key) = asked_by(Schedule {
        in_progress: ladder("10s x 50"),
        unknown: ladder("7s x 2"),
        bounds: Bounds {
            first_delay: Some(20_000),
            total_age: Some(65_000),
            attempt_limit: None,
        },
        then: None,
    });
    let first_seen = record(&bench, &key).first_seen;
    let mut since = first_seen;
    // 4 is said to the second question: its own ladder begins, the other one keeps its place.
    for (delay, answer) in [
        (20_000, Answer::InProgress),
        (10_000, Answer::Unknown { violation: None }),
        (7_000, Answer::InProgress),
        (10_000, Answer::InProgress),
        (10_000, Answer::InProgress),
    ] {
        let ask = ask_after(&mut bench, &key, since, delay);
        since = bench.now();
        bench.answer(&ask, answer);
    }
    let left = first_seen + 65_000 - since;
    assert!((1..10_000).contains(&left), "{left}");
    let last = ask_after(&mut bench, &key, since, left);
    assert_eq!(record(&bench, &key).drawn_in_progress, 4);
    bench.answer(&last, Answer::InProgress);
    let result = bench.only_result();
    assert!(is_exhausted(result));
    assert_eq!(result.asked, 6);
}

#[test]
fn the_answer_to_the_last_question_still_settles() {
    for bounds in [
        Bounds {
            attempt_limit: Some(2),
            ..Bounds::default()
        },
        Bounds {
            total_age: Some(2_000),
            ..Bounds::default()
        },
    ] {
        for settles in [true, false] {
            let (mut bench, _) = asked_by(Schedule {
                in_progress: ladder("1s x 50"),
                bounds,
                ..Schedule::default()
            });
            let first = bench.next_ask();
            bench.answer(&first, Answer::InProgress);
            let last = bench.next_ask();
            assert!(bench.published.is_empty());
            if settles {
                bench.answer(&last, says(Terminal::Success));
                assert_eq!(status(bench.only_result()), Status::Success);
            } else {
                bench.answer(&last, Answer::InProgress);
                assert!(is_exhausted(bench.only_result()));
            }
            assert_eq!(bench.only_result().asked, 2);
        }
    }
}

#[test]
fn an_order_that_could_not_be_asked_past_its_total_age_gets_one_last_question() {
    let (mut bench, _) = asked_by(Schedule {
        in_progress: ladder("1s x 50"),
        bounds: Bounds {
            total_age: Some(3_000),
            ..Bounds::default()
        },
        ..Schedule::default()
    });
    for _ in 0..6 {
        let ask = bench.next_ask();
        let away = Answer::CouldNotAsk {
            why: crate::domain::answer::CouldNotAsk::Unreachable,
            retry_after: None,
        };
        bench.answer(&ask, away);
        assert!(bench.published.is_empty(), "no answer is no end");
    }
    let ask = bench.next_ask();
    bench.answer(&ask, Answer::InProgress);
    assert!(is_exhausted(bench.only_result()));
}

#[test]
fn orders_that_come_together_are_spread_from_the_first_question_on_and_alike_when_read_again() {
    let due = |bench: &Bench, n| record(bench, &order("pay", n, true)).due;
    let all = || {
        let mut bench = Bench::open_with(|plan| {
            plan.types[0].schedule.in_progress = ladder("1h x 2");
        });
        bench.mono = 2_000_000;
        for n in 0..50 {
            let said = Said::pending(&order("pay", n, true), bench.now(), Open::InProgress);
            let appended = super::bench::START + 2_000_000;
            bench.event_at(n, appended, &said);
        }
        bench.pass(200);
        (0..50).map(|n| due(&bench, n)).collect::<Vec<_>>()
    };
    let dues = all();
    assert_eq!(dues, all());
    let (first, last) = (dues.iter().min().unwrap(), dues.iter().max().unwrap());
    let ideal = super::bench::START + 2_000_000 + 3_600_000;
    assert!(
        *first >= ideal && *last <= ideal + 225_000,
        "{first} {last}"
    );
    assert!(last - first > 100_000, "{first} {last}");
}
