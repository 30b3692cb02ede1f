//! Golden tables of the schedules that must be expressible, and properties of any ladder.

use proptest::prelude::*;

use super::*;

const SECOND: Millis = 1000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

fn parse(stages: &[&str]) -> Result<Ladder, StageError> {
    let stages: Vec<String> = stages.iter().map(ToString::to_string).collect();
    Ladder::parse(&stages)
}

fn ladder(stages: &[&str]) -> Ladder {
    parse(stages).unwrap()
}

/// The ideal ages of all questions of a schedule without bounds.
fn times(ladder: &Ladder) -> Vec<Millis> {
    let schedule = Schedule {
        in_progress: ladder.clone(),
        ..Schedule::default()
    };
    schedule
        .steps(Open::InProgress)
        .map(|step| step.age)
        .collect()
}

/// The ages of all questions, in `unit`s.
fn ages(stages: &[&str], unit: Millis) -> Vec<Millis> {
    let ladder = ladder(stages);
    let ages = times(&ladder);
    assert_eq!(ages.last(), Some(&ladder.length(0)));
    assert!(ages.iter().all(|age| age.is_multiple_of(unit)), "{ages:?}");
    ages.iter().map(|age| age / unit).collect()
}

/// `count` ages, `step` apart, the first one step after `from`.
fn steps(from: Millis, step: Millis, count: Millis) -> impl Iterator<Item = Millis> {
    (1..=count).map(move |n| from + n * step)
}

#[test]
fn the_default_doubles_from_one_second() {
    let expected = [1, 3, 7, 15, 31, 63, 127, 255];
    assert_eq!(ages(&["double 1s x 8"], SECOND), expected);
    assert_eq!(Ladder::default(), ladder(&["double 1s x 8"]));
    assert_eq!(Schedule::default().then, None);
}

#[test]
fn a_upi_like_schedule() {
    let stages = [
        "20s",
        "3s x 10",
        "6s x 10",
        "10s x 6",
        "30s x 2",
        "60s until 10m",
    ];
    let expected: Vec<_> = [20]
        .into_iter()
        .chain(steps(20, 3, 10))
        .chain(steps(50, 6, 10))
        .chain(steps(110, 10, 6))
        .chain(steps(170, 30, 2))
        .chain([290, 350, 410, 470, 530, 590, 600])
        .collect();
    assert_eq!(ages(&stages, SECOND), expected);
}

#[test]
fn kshers_schedule() {
    let stages = [
        "2s x 15", "3s x 10", "5s x 12", "10s x 6", "20s x 3", "30s x 12",
    ];
    let expected: Vec<_> = steps(0, 2, 15)
        .chain(steps(30, 3, 10))
        .chain(steps(60, 5, 12))
        .chain(steps(120, 10, 6))
        .chain(steps(180, 20, 3))
        .chain(steps(240, 30, 12))
        .collect();
    assert_eq!(ages(&stages, SECOND), expected);
    assert_eq!(expected.last(), Some(&600));
}

#[test]
fn juspays_schedule() {
    let stages = [
        "10m",
        "5m until 1h",
        "10m until 7h",
        "3h",
        "5h x 2",
        "1d x 5",
    ];
    let expected: Vec<_> = [10]
        .into_iter()
        .chain(steps(10, 5, 10))
        .chain(steps(60, 10, 36))
        .chain([600, 900, 1200])
        .chain(steps(1200, 1440, 5))
        .collect();
    assert_eq!(ages(&stages, MINUTE), expected);
}

#[test]
fn a_minute_then_five_then_fifteen_then_hourly() {
    let stages = ["1m x 15", "5m until 1h", "15m until 24h", "1h until 30d"];
    let expected: Vec<_> = steps(0, 1, 15)
        .chain(steps(15, 5, 9))
        .chain(steps(60, 15, 92))
        .chain(steps(1440, 60, 29 * 24))
        .collect();
    assert_eq!(ages(&stages, MINUTE), expected);
}

#[test]
fn kill_bills_schedules() {
    let unknown = [5, 65, 1505, 2945, 4385, 5825, 7265];
    assert_eq!(ages(&["5m", "1h", "1d x 5"], MINUTE), unknown);
    assert_eq!(ages(&["1h", "1d"], HOUR), [1, 25]);
}

#[test]
fn doubling_stages() {
    let ladder = ["2s x 3", "double 10s to 10m until 1h"];
    let expected = [
        2, 4, 6, 16, 36, 76, 156, 316, 636, 1236, 1836, 2436, 3036, 3600,
    ];
    assert_eq!(ages(&ladder, SECOND), expected);
    assert_eq!(
        ages(&["double 1s to 5s x 6"], SECOND),
        [1, 3, 7, 12, 17, 22]
    );
    assert_eq!(ages(&["double 1s until 20s"], SECOND), [1, 3, 7, 15, 20]);
}

#[test]
fn four_hundred_days_fit() {
    let ladder = ladder(&["1s until 400d"]);
    assert_eq!(ladder.length(0), 400 * DAY);
    let late = ladder.place(0, 399 * DAY + 1);
    assert_eq!(late.due_age, 399 * DAY + SECOND);
    let draw = ladder.draw(late.position, 399 * DAY).unwrap();
    assert_eq!(draw.delay, SECOND);
}

#[test]
fn an_order_that_comes_late_skips_ages_but_no_count() {
    let ladder = ladder(&["1s x 2", "5s until 1m", "10s x 3", "1h until 2h"]);
    let mut position = ladder.draw(0, 0).unwrap().position;
    // The owner was out of reach from the first question on, past the second stage's end.
    let mut delays = Vec::new();
    while let Some(draw) = ladder.draw(position, 10 * MINUTE) {
        delays.push(draw.delay / SECOND);
        position = draw.position;
        if delays.len() == 5 {
            break;
        }
    }
    assert_eq!(delays, [1, 10, 10, 10, 3600]);
    assert_eq!(ladder.draw(position, 2 * HOUR), None);
}

#[test]
fn a_stage_that_ends_at_an_age_asks_exactly_then() {
    let ladder = ladder(&["40s until 1m", "1h"]);
    let first = ladder.draw(0, 0).unwrap();
    let last = ladder.draw(first.position, 59_999).unwrap();
    assert_eq!(last.delay, 1);
    assert_eq!(ladder.draw(last.position, 60_000).unwrap().delay, HOUR);
}

#[test]
fn impossible_stages_are_refused_in_one_line_that_names_them() {
    let form = "expected a stage like";
    for (stages, named, why) in [
        (&[][..], "[]", "at least one stage"),
        (&["1s,2x"], "\"1s,2x\"", form),
        (&[""], "\"\"", form),
        (&["5"], "\"5\"", form),
        (&["double 1s"], "\"double 1s\"", form),
        (&["3s to 5s x 3"], "\"3s to 5s x 3\"", form),
        (&["3s y 10"], "\"3s y 10\"", form),
        (&["3s x ten"], "\"3s x ten\"", "expected a count"),
        (&["3s x 0"], "\"3s x 0\"", "expected a count"),
        (&["3s x -1"], "\"3s x -1\"", "expected a count"),
        (&["0s"], "\"0s\"", "above zero"),
        (&["0s x 3"], "\"0s x 3\"", "above zero"),
        (&["1us"], "\"1us\"", "whole milliseconds"),
        (&["11years"], "\"11years\"", "10 years"),
        (
            &["double 9s to 3s x 3"],
            "\"double 9s to 3s x 3\"",
            "below the first",
        ),
        (&["2h until 1h"], "\"2h until 1h\"", "longer than the age"),
        (
            &["1m until 1h", "1m until 1h"],
            "\"1m until 1h\"",
            "later than 1h",
        ),
        (
            &["1m until 1h", "1m until 30m"],
            "\"1m until 30m\"",
            "later than 1h",
        ),
        (
            &["1m x 90", "1m until 1h"],
            "\"1m until 1h\"",
            "later than 1h30m",
        ),
        (&["1s x 65001"], "\"1s x 65001\"", "65000"),
        (&["1s x 40000", "1s x 40000"], "\"1s x 40000\"", "65000"),
        (&["1d x 3651"], "\"1d x 3651\"", "10 years"),
        (&["double 1s x 60"], "\"double 1s x 60\"", "10 years"),
        (&["double 1s x 65000"], "\"double 1s x 65000\"", "10 years"),
        (&["9years", "9years"], "\"3287d", "10 years"),
    ] {
        let shown = parse(stages).unwrap_err().to_string();
        assert!(shown.starts_with(named), "{shown}");
        assert!(shown.contains(why), "{shown}");
        assert!(!shown.contains('\n') && shown.len() < 200, "{shown}");
    }
}

#[test]
fn stages_are_shown_as_they_are_configured() {
    for stages in [
        &["double 1s x 8"][..],
        &["20s", "3s x 10", "5m until 1h", "double 2h to 1d until 30d"],
        &[
            "500ms",
            "1m30s x 2",
            "double 1s to 1m4s x 20",
            "double 1h until 10d",
        ],
    ] {
        assert_eq!(ladder(stages).to_stages(), stages);
        assert_eq!(ladder(stages).to_string(), stages.join(", "));
    }
    assert_eq!(
        ladder(&[" 90s   x 2 ", "1h 30m"]).to_stages(),
        ["1m30s x 2", "1h30m"]
    );
}

#[test]
fn the_longest_life_uses_up_both_ladders() {
    let schedule = Schedule {
        in_progress: ladder(&["32s x 10"]),
        unknown: ladder(&["1h until 32h"]),
        then: Some(DAY),
        ..Schedule::default()
    };
    assert_eq!(schedule.longest(), (320 * SECOND + 32 * HOUR) / 32 * 35);
}

#[test]
fn a_granule_is_a_power_of_two_of_at_most_a_thirty_second_of_the_delay() {
    for (delay, expected) in [
        (0, 1),
        (1, 1),
        (31_999, 1),
        (32_000, 1),
        (63_999, 1),
        (64_000, 2),
        (127_999, 2),
        (128_000, 4),
        (HOUR, 64),
        (SCHEDULE_MAX, 1 << 20),
        (u64::MAX, 1 << 20),
    ] {
        assert_eq!(granule(delay), expected, "{delay}");
    }
}

#[test]
fn jitter_spreads_evenly_and_is_the_same_again() {
    assert_eq!(Schedule::jitter(3999, 7, 1), 0);
    let (mut sum, mut largest) = (0, 0);
    for hash in 0..1000_u32 {
        let jitter = Schedule::jitter(16_000, hash, 1);
        assert_eq!(jitter, Schedule::jitter(16_000, hash, 1));
        sum += jitter;
        largest = largest.max(jitter);
    }
    assert!((450..550).contains(&(sum / 1000)), "mean {}", sum / 1000);
    assert!((990..=1000).contains(&largest), "{largest}");
    assert_ne!(Schedule::jitter(HOUR, 7, 1), Schedule::jitter(HOUR, 7, 2));
}

fn any_stage() -> impl Strategy<Value = String> {
    prop_oneof![
        (1..100_u32, 1..12_u32).prop_map(|(delay, count)| format!("{delay}s x {count}")),
        (1..100_u32, 1..900_u32).prop_map(|(delay, until)| format!("{delay}s until {until}s")),
        (1..20_u32, 1..8_u32).prop_map(|(delay, count)| format!("double {delay}s x {count}")),
        (1..20_u32, 1..4_u32, 1..12_u32).prop_map(|(delay, times, count)| format!(
            "double {delay}s to {}s x {count}",
            delay * times
        )),
        (1..20_u32, 1..20_u32, 1..900_u32).prop_map(|(delay, times, until)| format!(
            "double {delay}s to {}s until {until}s",
            delay * times
        )),
    ]
}

/// Stages that do not fit where they stand are left out.
pub(super) fn any_ladder() -> impl Strategy<Value = Ladder> {
    proptest::collection::vec(any_stage(), 1..7).prop_filter_map("no stage fits", |stages| {
        let mut kept: Vec<String> = Vec::new();
        for stage in stages {
            kept.push(stage);
            if Ladder::parse(&kept).is_err() {
                kept.pop();
            }
        }
        Ladder::parse(&kept).ok()
    })
}

/// How many questions the counted stages hold.
fn counted(ladder: &Ladder) -> usize {
    let counts = ladder.to_stages().into_iter().map(|stage| {
        match (stage.rsplit_once(" x "), stage.contains(" until ")) {
            (Some((_, count)), _) => count.parse().unwrap(),
            (None, until) => usize::from(!until),
        }
    });
    counts.sum()
}

proptest! {
    #[test]
    fn questions_grow_older_up_to_the_ladders_length(ladder in any_ladder()) {
        let ages = times(&ladder);
        prop_assert!(ages.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(ages.last(), Some(&ladder.length(0)));
        prop_assert!(ages.len() >= counted(&ladder));
    }

    #[test]
    fn stages_read_back_what_they_show(ladder in any_ladder()) {
        prop_assert_eq!(Ladder::parse(&ladder.to_stages()), Ok(ladder));
    }

    #[test]
    fn an_age_gives_the_place_that_walking_gives(ladder in any_ladder(), age in 0..3000_u64) {
        let age = age * 500;
        let (mut position, mut due) = (0, 0);
        let place = loop {
            let Some(draw) = ladder.draw(position, due) else {
                prop_assert_eq!(ladder.draw(ladder.place(0, age).position, age), None);
                break Place { position: ladder.place(0, age).position, due_age: age };
            };
            (position, due) = (draw.position, due + draw.delay);
            if due >= age {
                break Place { position, due_age: due };
            }
        };
        prop_assert_eq!(ladder.place(0, age), place);
    }

    #[test]
    fn however_late_an_order_is_it_gets_every_counted_question_and_no_question_too_many(
        ladder in any_ladder(),
        lateness in proptest::collection::vec(0..60_000_u64, 1..50),
    ) {
        let (mut position, mut age, mut questions) = (0, 0, 0);
        let on_time = times(&ladder).len();
        for late in lateness.into_iter().cycle() {
            let Some(draw) = ladder.draw(position, age) else { break };
            prop_assert!(draw.delay > 0 && draw.position >= position);
            (position, age) = (draw.position, age + draw.delay + late);
            questions += 1;
        }
        prop_assert!((counted(&ladder)..=on_time + ladder.to_stages().len()).contains(&questions));
        prop_assert_eq!(ladder.draw(position, Millis::MAX / 2), None);
    }

    #[test]
    fn an_order_older_than_every_age_gets_the_counted_questions_alone(ladder in any_ladder()) {
        let (mut position, mut questions) = (0, 0);
        while let Some(draw) = ladder.draw(position, SCHEDULE_MAX) {
            position = draw.position;
            questions += 1;
        }
        prop_assert_eq!(questions, counted(&ladder));
    }

    #[test]
    fn jitter_and_rounding_stay_within_their_promise(delay: u64, hash: u32, attempt: u16) {
        let delay = delay % SCHEDULE_MAX;
        prop_assert!(Schedule::jitter(delay, hash, attempt) <= delay / 16);
        prop_assert!(granule(delay) == 1 || Millis::from(granule(delay)) * 32_000 <= delay);
    }

    #[test]
    fn no_text_makes_the_grammar_panic(text in "(double )?[0-9]{0,22}[a-z]{0,3}( (to|x|until) [0-9]{0,22}[smhdy]?){0,2}|\\PC{0,30}") {
        if let Err(error) = Ladder::parse(&[text]) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
