//! Golden tables of schedules with a first delay, an attempt limit and a total age, and how the two
//! ladders of a schedule go together: attempt -> due.

use proptest::prelude::*;

use super::tests::any_ladder;
use super::*;
use crate::domain::status::Open::{InProgress, Unknown};

const SECOND: Millis = 1000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

const UPI: &[&str] = &["3s x 10", "6s x 10", "10s x 6", "30s x 2", "60s until 10m"];
const KSHER: &[&str] = &[
    "2s x 15", "3s x 10", "5s x 12", "10s x 6", "20s x 3", "30s x 12",
];
const JUSPAY: &[&str] = &["5m until 1h", "10m until 7h", "3h", "5h x 2", "1d x 5"];
const HOURLY: &[&str] = &["1m x 15", "5m until 1h", "15m until 24h", "1h until 30d"];

fn ladder(stages: &[&str], bounds: &Bounds) -> Ladder {
    let stages: Vec<String> = stages.iter().map(ToString::to_string).collect();
    Ladder::parse_within(&stages, bounds).unwrap()
}

fn schedule(in_progress: &[&str], unknown: &[&str], bounds: Bounds) -> Schedule {
    bounds.check().unwrap();
    Schedule {
        in_progress: ladder(in_progress, &bounds),
        unknown: ladder(unknown, &bounds),
        bounds,
        then: None,
    }
}

fn first_delay(delay: Millis) -> Bounds {
    Bounds {
        first_delay: Some(delay),
        ..Bounds::default()
    }
}

fn attempt_limit(limit: u16) -> Bounds {
    Bounds {
        attempt_limit: Some(limit),
        ..Bounds::default()
    }
}

fn total_age(age: Millis) -> Bounds {
    Bounds {
        total_age: Some(age),
        ..Bounds::default()
    }
}

/// The ideal ages of an order of which 3 is said each time, in `unit`s.
fn ages(stages: &[&str], bounds: Bounds, unit: Millis) -> Vec<Millis> {
    let schedule = schedule(stages, &["1s"], bounds);
    let ages: Vec<Millis> = schedule.steps(InProgress).map(|step| step.age).collect();
    assert!(ages.iter().all(|age| age.is_multiple_of(unit)), "{ages:?}");
    ages.iter().map(|age| age / unit).collect()
}

fn steps(from: Millis, step: Millis, count: Millis) -> impl Iterator<Item = Millis> {
    (1..=count).map(move |n| from + n * step)
}

/// The ages of the questions of an order about which `event` was said and then these answers, one
/// after the other for ever, each `late` after its question was due.
fn walk(schedule: &Schedule, event: Open, answers: &[Open], late: Millis) -> Vec<Millis> {
    let (mut positions, mut age, mut ages) = ([0, 0], 0, Vec::new());
    let of = |said| usize::from(said == Unknown);
    let mut answers = answers.iter().cycle();
    let mut draw = Some(schedule.first(event));
    positions[of(event)] = schedule.first(event).position;
    while let Some(drawn) = draw {
        age += drawn.delay;
        ages.push(age);
        age += late;
        let said = *answers.next().unwrap();
        let stand = Stand {
            position: positions[of(said)],
            age,
            asked: ages.len() as u16,
        };
        draw = schedule.next(said, stand);
        if let Some(drawn) = draw {
            positions[of(said)] = drawn.position;
        }
        assert!(ages.len() < 10_000, "it never ends");
    }
    ages
}

#[test]
fn a_first_delay_comes_before_the_ladder_and_takes_no_place_on_it() {
    let upi: Vec<_> = [20]
        .into_iter()
        .chain(steps(20, 3, 10))
        .chain(steps(50, 6, 10))
        .chain(steps(110, 10, 6))
        .chain(steps(170, 30, 2))
        .chain([290, 350, 410, 470, 530, 590, 600])
        .collect();
    assert_eq!(ages(UPI, first_delay(20 * SECOND), SECOND), upi);
    let juspay: Vec<_> = [10]
        .into_iter()
        .chain(steps(10, 5, 10))
        .chain(steps(60, 10, 36))
        .chain([600, 900, 1200])
        .chain(steps(1200, 1440, 5))
        .collect();
    assert_eq!(ages(JUSPAY, first_delay(10 * MINUTE), MINUTE), juspay);
}

#[test]
fn a_first_delay_holds_whatever_the_event_said_and_leaves_both_ladders_whole() {
    let both = schedule(&["1h", "1d"], &["5m", "1h"], first_delay(90 * SECOND));
    for event in [InProgress, Unknown] {
        assert_eq!(
            walk(&both, event, &[InProgress], 0),
            [90_000, 90_000 + HOUR, 90_000 + HOUR + DAY]
        );
        assert_eq!(
            walk(&both, event, &[Unknown], 0),
            [90_000, 90_000 + 5 * MINUTE, 90_000 + 65 * MINUTE]
        );
    }
}

#[test]
fn the_attempt_limit_ends_each_ladder_with_its_last_answer() {
    let ksher: Vec<_> = steps(0, 2, 15)
        .chain(steps(30, 3, 10))
        .chain(steps(60, 5, 12))
        .chain(steps(120, 10, 6))
        .chain(steps(180, 20, 3))
        .chain(steps(240, 30, 4))
        .collect();
    assert_eq!(ages(KSHER, attempt_limit(50), SECOND), ksher);
    let hourly: Vec<_> = steps(0, 1, 15)
        .chain(steps(15, 5, 9))
        .chain(steps(60, 15, 92))
        .chain(steps(1440, 60, 4))
        .collect();
    assert_eq!(ages(HOURLY, attempt_limit(120), MINUTE), hourly);
    let both = Bounds {
        attempt_limit: Some(2),
        ..first_delay(SECOND)
    };
    assert_eq!(ages(&["2s x 5"], both, SECOND), [1, 3]);
    // A limit that is never reached changes nothing.
    assert_eq!(
        ages(&["2s x 5"], attempt_limit(5), SECOND),
        [2, 4, 6, 8, 10]
    );
}

#[test]
fn the_total_age_ends_each_ladder_with_a_question_exactly_then() {
    let ksher: Vec<_> = steps(0, 2, 15)
        .chain(steps(30, 3, 10))
        .chain(steps(60, 5, 12))
        .chain(steps(120, 10, 6))
        .chain(steps(180, 20, 3))
        .chain([270, 300, 330, 347])
        .collect();
    assert_eq!(ages(KSHER, total_age(347 * SECOND), SECOND), ksher);
    let hourly: Vec<_> = steps(0, 1, 15)
        .chain(steps(15, 5, 9))
        .chain(steps(60, 15, 92))
        .chain(steps(1440, 60, 6 * 24))
        .collect();
    assert_eq!(ages(HOURLY, total_age(7 * DAY), MINUTE), hourly);
    let juspay = Bounds {
        total_age: Some(4 * DAY),
        ..first_delay(10 * MINUTE)
    };
    let ages_of_juspay = ages(JUSPAY, juspay, MINUTE);
    assert_eq!(
        ages_of_juspay[47..],
        [600, 900, 1200, 2640, 4080, 5520, 5760]
    );
    // Where a ladder ends before it, the ladder ends the schedule.
    assert_eq!(ages(&["2s x 3"], total_age(DAY), SECOND), [2, 4, 6]);
    // A first delay of a ladder that is longer is cut.
    assert_eq!(ages(&["1h"], total_age(MINUTE), SECOND), [60]);
}

#[test]
fn kill_bills_two_ladders_keep_their_own_positions() {
    let schedule = schedule(&["1h", "1d"], &["5m", "1h", "1d x 5"], Bounds::default());
    let minutes = |answers: &[Open], event| -> Vec<Millis> {
        let ages = walk(&schedule, event, answers, 0);
        ages.iter().map(|age| age / MINUTE).collect()
    };
    assert_eq!(minutes(&[InProgress], InProgress), [60, 1500]);
    assert_eq!(
        minutes(&[Unknown], Unknown),
        [5, 65, 1505, 2945, 4385, 5825, 7265]
    );
    // Pending, then unknown for ever: the unknown ladder from its beginning.
    assert_eq!(
        minutes(&[Unknown], InProgress),
        [60, 65, 125, 1565, 3005, 4445, 5885, 7325]
    );
    // By turns: 3 was drawn once by the event, so the next 3 draws its second place, and one more
    // 3 finds it at its end.
    assert_eq!(
        minutes(&[Unknown, InProgress], InProgress),
        [60, 65, 1505, 1565]
    );
}

#[test]
fn the_bounds_end_both_ladders_together() {
    let by_turns = |bounds| {
        let schedule = schedule(&["10s x 10"], &["1s x 10"], bounds);
        let ages = walk(&schedule, InProgress, &[Unknown, InProgress], 0);
        ages.iter().map(|age| age / SECOND).collect::<Vec<_>>()
    };
    assert_eq!(
        by_turns(total_age(45 * SECOND)),
        [10, 11, 21, 22, 32, 33, 43, 44, 45]
    );
    assert_eq!(by_turns(attempt_limit(5)), [10, 11, 21, 22, 32]);
    assert_eq!(by_turns(Bounds::default()).len(), 20);
}

#[test]
fn an_owner_out_of_reach_past_the_total_age_leaves_one_last_question() {
    let schedule = schedule(&["10s x 100"], &["1s"], total_age(MINUTE));
    // The second question is answered 10 minutes late: that answer was the last one.
    assert_eq!(
        walk(&schedule, InProgress, &[InProgress], 10 * MINUTE),
        [10 * SECOND]
    );
    let mut late = Stand {
        position: 1,
        age: MINUTE - 1,
        asked: 1,
    };
    assert_eq!(schedule.next(InProgress, late).unwrap().delay, 1);
    late.age = MINUTE;
    assert_eq!(schedule.next(InProgress, late), None);
}

#[test]
fn a_rebuilt_view_places_an_order_within_the_bounds() {
    let bounds = Bounds {
        total_age: Some(35 * SECOND),
        ..first_delay(20 * SECOND)
    };
    let schedule = schedule(&["10s x 100"], &["1s"], bounds);
    for (age, due_age) in [
        (0, 20),
        (20, 20),
        (21, 30),
        (30, 30),
        (31, 35),
        (35, 35),
        (36, 36),
        (3600, 3600),
    ] {
        let place = schedule.place(InProgress, age * SECOND);
        assert_eq!(place.due_age, due_age * SECOND, "{age}");
        let stand = Stand {
            position: place.position,
            age: place.due_age,
            asked: 1,
        };
        assert_eq!(schedule.next(InProgress, stand).is_some(), due_age < 35);
    }
}

#[test]
fn what_no_order_would_ever_be_asked_is_refused_in_one_line_that_names_it() {
    let parse = |stages: &[&str], bounds: Bounds| {
        let stages: Vec<String> = stages.iter().map(ToString::to_string).collect();
        let error = Ladder::parse_within(&stages, &bounds).unwrap_err();
        (error.index(), error.to_string())
    };
    for (stages, bounds, index, line) in [
        (
            &["1m x 10", "1h"][..],
            total_age(10 * MINUTE),
            1,
            "\"1h\": never begins: total_age ends the schedule at 10m, this stage starts at 10m",
        ),
        (
            &["1m until 1h", "1h until 2d", "1d x 3"],
            total_age(36 * HOUR),
            2,
            "\"1d x 3\": never begins: total_age ends the schedule at 1d12h, this stage starts at 2d",
        ),
        (
            &["1m x 10", "1h"],
            attempt_limit(10),
            1,
            "\"1h\": never begins: attempt_limit ends the schedule after 10 questions, 10 go before this stage",
        ),
        (
            &["1m x 10"],
            Bounds {
                attempt_limit: Some(1),
                ..first_delay(SECOND)
            },
            0,
            "\"1m x 10\": never begins: attempt_limit ends the schedule after 1 questions, 1 go before this stage",
        ),
        (
            &["1m until 1h"],
            first_delay(HOUR),
            0,
            "\"1m until 1h\": must end later than 1h, when it begins",
        ),
        (
            &["9years"],
            first_delay(2 * 365 * DAY),
            0,
            "\"3287d6h\": ends later than 10 years after the event",
        ),
    ] {
        assert_eq!(parse(stages, bounds), (index, line.to_owned()));
    }
    let late = Bounds {
        total_age: Some(HOUR),
        ..first_delay(HOUR)
    };
    assert_eq!(
        late.check(),
        Err("1h: expected less than total_age, which is 1h".to_owned())
    );
    // Stages that end at an age may be skipped, so that a stage behind them can still be asked.
    ladder(&["1m until 1h", "1h"], &attempt_limit(1));
}

#[test]
fn four_hundred_days_fit_with_every_bound() {
    let bounds = Bounds {
        first_delay: Some(200 * DAY),
        attempt_limit: Some(ATTEMPTS_MAX),
        total_age: Some(400 * DAY),
    };
    let schedule = schedule(&["1d until 3000d"], &["1s until 3000d"], bounds);
    let ages: Vec<Millis> = schedule.steps(InProgress).map(|step| step.age).collect();
    let expected: Vec<_> = (200..=400).map(|day| day * DAY).collect();
    assert_eq!(ages, expected);
    assert_eq!(schedule.longest(), 400 * DAY / 32 * 35);
    let place = schedule.place(Unknown, 399 * DAY + 1);
    assert_eq!(place.due_age, 399 * DAY + SECOND);
}

#[test]
fn the_longest_life_follows_the_first_delay_and_the_total_age_alone() {
    let longest = |bounds| schedule(&["32s x 10"], &["32s x 20"], bounds).longest();
    let on_top = |ideal: Millis| ideal / 32 * 35;
    assert_eq!(longest(Bounds::default()), on_top(960 * SECOND));
    assert_eq!(longest(first_delay(64 * SECOND)), on_top(1024 * SECOND));
    assert_eq!(longest(total_age(320 * SECOND)), on_top(320 * SECOND));
    assert_eq!(longest(total_age(DAY)), on_top(960 * SECOND));
    assert_eq!(longest(attempt_limit(2)), on_top(960 * SECOND));
}

#[test]
fn the_latest_time_has_all_jitter_and_the_coarsest_bucket() {
    for (delay, latest) in [
        (3_999, 3_999),
        (4_000, 4_250),
        (20_000, 21_250),
        (64_000, 70_000),
        (HOUR, HOUR + 225_000 + 64_000),
    ] {
        assert_eq!(Schedule::latest(delay), latest);
    }
}

fn any_bounds() -> impl Strategy<Value = Bounds> {
    let maybe = |range| proptest::option::of(range);
    (maybe(1..900_u64), maybe(1..60_u64), maybe(900..1800_u64)).prop_map(|(first, limit, total)| {
        Bounds {
            first_delay: first.map(|seconds| seconds * SECOND),
            attempt_limit: limit.map(|limit| limit as u16),
            total_age: total.map(|seconds| seconds * SECOND),
        }
    })
}

proptest! {
    #[test]
    fn no_bound_is_ever_passed_and_every_schedule_ends(
        in_progress in any_ladder(),
        unknown in any_ladder(),
        bounds in any_bounds(),
        answers in proptest::collection::vec(prop_oneof![Just(InProgress), Just(Unknown)], 1..20),
        late in 0..5_000_u64,
    ) {
        let schedule = Schedule { in_progress, unknown, bounds, then: None };
        let ages = walk(&schedule, InProgress, &answers, late);
        prop_assert!(ages.is_sorted_by(|a, b| a < b));
        prop_assert!(ages.len() <= usize::from(bounds.attempt_limit.unwrap_or(u16::MAX)));
        let last = *ages.last().unwrap();
        prop_assert!(last <= bounds.total_age.unwrap_or(Millis::MAX));
        if late == 0 {
            prop_assert!(last <= schedule.longest());
        }
        prop_assert_eq!(bounds.first_delay.unwrap_or(ages[0]), ages[0]);
    }

    #[test]
    fn an_age_gives_the_place_that_walking_gives_within_bounds(
        in_progress in any_ladder(),
        bounds in any_bounds(),
        age in 0..4000_u64,
    ) {
        let bounds = Bounds { attempt_limit: None, ..bounds };
        let schedule = Schedule { in_progress, bounds, ..Schedule::default() };
        let age = age * 500;
        let walked = schedule.steps(InProgress).map(|step| step.age).find(|due| *due >= age);
        let place = schedule.place(InProgress, age);
        prop_assert_eq!(place.due_age, walked.unwrap_or(age));
        let stand = Stand { position: place.position, age: place.due_age, asked: 1 };
        let next = schedule.steps(InProgress).map(|step| step.age).find(|due| *due > place.due_age);
        let drawn = schedule.next(InProgress, stand).map(|draw| place.due_age + draw.delay);
        prop_assert_eq!(drawn, next.filter(|_| walked.is_some()));
    }
}
