use super::*;
use crate::store::ceiling::Heard;

const SECOND: u64 = 1_000_000;
const NOW: u64 = 5_000 * SECOND;

fn wants(wanted: [u32; 3]) -> Reserve {
    Reserve {
        wanted,
        most: 100,
        per_second: 10.0,
        parts: [0.2, 0.2, 0.6],
        heard: Heard::default(),
        hold_us: 0,
        known: None,
    }
}

fn hears(answered: bool, failures: u32) -> Reserve {
    Reserve {
        heard: Heard { answered, failures },
        ..wants([0; 3])
    }
}

fn give(kept: &mut Option<Ceiling>, wanted: [u32; 3], now: u64) -> Slots {
    Ceiling::reserve(kept, &wants(wanted), now)
}

#[test]
fn start_times_are_spaced_and_lent_no_further_than_a_fifth_of_a_second_ahead() {
    let kept = &mut None;
    let first = give(kept, [0, 0, 9], NOW);
    assert_eq!((first.first_in_us, first.counts), (0, [0, 0, 3]));
    assert_eq!(first.spacing_us, 100_000);
    // The rest has had its own part; callers have theirs.
    assert_eq!(give(kept, [0, 0, 9], NOW).counts, [0, 0, 0]);
    let callers = give(kept, [9, 0, 0], NOW);
    assert_eq!((callers.first_in_us, callers.counts), (300_000, [1, 0, 0]));
    // A past value begins again at now.
    let later = give(kept, [1, 0, 0], NOW + 9 * SECOND);
    assert_eq!((later.first_in_us, later.counts), (0, [1, 0, 0]));
    let never = Reserve {
        per_second: 0.0,
        ..wants([1, 1, 1])
    };
    assert_eq!(Ceiling::reserve(kept, &never, NOW).count(), 0);
}

#[test]
fn a_row_of_twenty_failures_opens_for_one_question_a_second() {
    let kept = &mut None;
    Ceiling::reserve(kept, &hears(false, 19), NOW);
    Ceiling::reserve(kept, &hears(true, 19), NOW);
    let closed = give(kept, [0, 0, 1], NOW);
    assert_eq!(closed.known.breaker, Breaker::Closed);
    let open = Ceiling::reserve(kept, &hears(false, 1), NOW);
    assert_eq!(open.known.breaker, Breaker::Open);
    let mut probes = 0;
    for ms in 0..10_000 {
        probes += give(kept, [9, 9, 9], NOW + SECOND + ms * 1_000).count();
    }
    assert!((10..=11).contains(&probes), "{probes}");
    // A worker that died with its probe, or never sent its answer, is not waited for.
    assert_eq!(give(kept, [0, 0, 9], NOW + 20 * SECOND).count(), 1);
}

#[test]
fn the_first_answer_begins_with_an_eighth_of_the_ceiling_and_doubles_each_ten_seconds() {
    let kept = &mut None;
    Ceiling::reserve(kept, &hears(false, 20), NOW);
    let closing = Ceiling::reserve(kept, &hears(true, 0), NOW);
    assert_eq!(closing.known.breaker, Breaker::Closing { for_us: 0 });
    for (seconds, spacing) in [(0, 800_000), (9, 800_000), (10, 400_000), (29, 200_000)] {
        let slots = give(kept, [0; 3], NOW + seconds * SECOND);
        assert_eq!(slots.spacing_us, spacing, "after {seconds} s");
    }
    let closed = give(kept, [0; 3], NOW + 30 * SECOND);
    assert_eq!(closed.known.breaker, Breaker::Closed);
    assert_eq!(closed.spacing_us, 100_000);
}

#[test]
fn failures_while_it_closes_open_it_again() {
    let kept = &mut None;
    Ceiling::reserve(kept, &hears(false, 20), NOW);
    Ceiling::reserve(kept, &hears(true, 0), NOW);
    let open = Ceiling::reserve(kept, &hears(false, 20), NOW + SECOND);
    assert_eq!(open.known.breaker, Breaker::Open);
}

#[test]
fn a_wiped_ceiling_learns_from_a_worker_that_the_breaker_is_open() {
    let kept = &mut None;
    let open = Ceiling::reserve(kept, &hears(false, 20), NOW);
    *kept = None;
    // A worker that knows nothing is faster.
    give(kept, [0, 0, 1], NOW + SECOND);
    let told = Reserve {
        known: Some(open.known),
        ..wants([0, 0, 9])
    };
    let slots = Ceiling::reserve(kept, &told, NOW + SECOND);
    assert_eq!(slots.known.breaker, Breaker::Open);
    assert!(
        slots.first_in_us >= LENT_US,
        "what was given away is not known"
    );
    // Known by now, it says nothing new.
    let again = Reserve {
        known: Some(slots.known),
        ..hears(true, 0)
    };
    let closing = Ceiling::reserve(kept, &again, NOW + 2 * SECOND);
    assert!(matches!(closing.known.breaker, Breaker::Closing { .. }));
}

#[test]
fn a_ceiling_that_was_rolled_back_gives_no_start_time_twice() {
    let kept = &mut None;
    give(kept, [0, 0, 1], NOW);
    let before = *kept;
    let slots = give(kept, [0, 0, 2], NOW + 1_000);
    *kept = before;
    let told = Reserve {
        known: Some(slots.known),
        ..wants([0, 0, 1])
    };
    let again = Ceiling::reserve(kept, &told, NOW + 2_000);
    assert_eq!(again.first_in_us, LENT_US);
}

#[test]
fn an_owner_that_asked_to_be_left_alone_is_by_all_and_for_a_minute_at_most() {
    let kept = &mut None;
    let hold = Reserve {
        hold_us: 3 * SECOND,
        ..wants([9, 9, 9])
    };
    let slots = Ceiling::reserve(kept, &hold, NOW);
    assert_eq!((slots.count(), slots.held_us), (0, 3 * SECOND));
    assert_eq!(give(kept, [9, 9, 9], NOW + 2 * SECOND).count(), 0);
    assert!(give(kept, [9, 9, 9], NOW + 3 * SECOND).count() > 0);
    let year = Reserve {
        hold_us: u64::MAX / 2,
        ..wants([0; 3])
    };
    let longest = Ceiling::reserve(kept, &year, NOW + 4 * SECOND);
    assert_eq!(longest.held_us, HOLD_MAX_US);
}

#[test]
fn a_clock_that_went_back_stops_nothing() {
    let kept = &mut None;
    give(kept, [0, 0, 1], NOW + 3_000 * SECOND);
    assert!(give(kept, [0, 0, 1], NOW).count() > 0);
}

#[test]
fn it_is_written_as_the_script_writes_it() {
    let kept = &mut None;
    give(kept, [1, 1, 1], NOW);
    let ceiling = kept.unwrap();
    assert_eq!(ceiling.to_string().parse(), Ok(ceiling));
    assert_eq!("1 2 3".parse::<Ceiling>(), Err(()));
}
