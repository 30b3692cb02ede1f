//! The search against planted bugs: for each protection that it can miss, the small world that misses
//! it soon. The same world is clean while the protection stands.

use super::in_turn;
use super::scenario::Scenario;
use super::walk::{CALM, walk};
use crate::plant::{Plant, planted};

/// A protection, a scenario, and the promise that is broken without the protection.
const MISSED: &[(Plant, &str, &str)] = &[
    (Plant::EPastOpen, "X1 Y3; first=2 frank", "NO EFFECT"),
    (Plant::EFromPosition, "X3 X1;", "NO EFFECT"),
    (Plant::NoGate, "X1 X1;", "TWICE"),
    (Plant::WaitingDropped, "X1 X2;", "NO EFFECT"),
    (Plant::ClaimNotCompared, "X3 X1;", "TWICE"),
    (Plant::NoToken, "X3; frank wipe rollback", "NO EFFECT"),
    (Plant::NoVersion, "X3; rollback", "NO EFFECT"),
    (Plant::ClaimInTwoSteps, "X3; crash", "LOST BUCKET"),
    (Plant::SettledAtProduce, "X1; commit", "NO EFFECT"),
    (Plant::ResultsUnread, "X1; commit", "TWICE"),
    (Plant::EndReadCommitted, "X1; foreign commit", "TWICE"),
    (Plant::EventsBeforeResults, "X1; crash", "TWICE"),
    (Plant::WorkerInTransactionalId, "X1; takeover", "TWICE"),
    (Plant::PublisherReused, "X3; frank commit", "TWICE"),
    (Plant::OldQuestionsKept, "X3 X1; rollback echo", "NO EFFECT"),
    (Plant::ReplayFromLatest, "X3; wipe", "NO EFFECT"),
    (Plant::TimeoutIsAttempt, "X3; unasked", "NEVER ANSWERED"),
    (
        Plant::RequeuePhaseUnchecked,
        "X3 Xq1 |; bank=3 questions=1 wipe",
        "EXHAUSTED TWICE",
    ),
    (
        Plant::RequeueWithoutQuery,
        "X3 | Xq1; first=0 bank=3 questions=1 wipe floor night",
        "NO QUERY",
    ),
    (
        Plant::ExhaustedOutsideLog,
        "X3; bank=3 questions=1",
        "STRANDED",
    ),
    (
        Plant::FloorIgnoresExhausted,
        "X3 |; bank=3 questions=1 wipe floor night",
        "FORGOTTEN",
    ),
    (
        Plant::MarksByWallClock,
        "X1 X2; first=2 foreign night",
        "CONTRADICTED",
    ),
    (Plant::NoRebuildMark, "X1 |; wipe crash night", "TWICE"),
    (Plant::IdleNotSwept, "G; nothing wipe", "STRANDED"),
    (Plant::MisplacedKept, "M;", "NO EFFECT"),
];

/// Every bug of the list is found in less.
const MOST: usize = 20_000;

/// The same world without the bug is searched to its end, or as far.
const AT_LEAST: usize = 2_000;

#[test]
fn the_search_misses_every_protection_that_it_can_see() {
    let wrong = in_turn(MISSED, |(plant, text, promise)| {
        let scenario = Scenario::read(text);
        let found = planted(Some(*plant), || walk(&scenario, MOST));
        let Some((what, way)) = &found.broken else {
            return Some(format!("{plant:?} is not missed in {text}"));
        };
        let steps = way.iter().take_while(|step| *step != CALM).count();
        let short: String = what.chars().take(100).collect();
        println!(
            "{:<24} {text:<54} {steps:>3} steps, {:>5} states: {short}",
            format!("{plant:?}"),
            found.states
        );
        let clean = walk(&scenario, found.states.max(AT_LEAST));
        let clean = clean.broken.is_none();
        (!what.starts_with(promise) || !clean)
            .then(|| format!("{plant:?} in {text}: {what}; clean without it: {clean}"))
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
