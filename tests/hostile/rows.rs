//! The answer table and the bank's tricks, a row each: what the bank does, and what must come of it,
//! written down and not computed.

/// What is published of a row's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status and attempts.
    Settled(&'static str, u64),
    /// Status and attempts.
    Exhausted(&'static str, u64),
    /// However often its owner is asked.
    Nothing,
}

/// One order of a type of its own.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The order type.
    pub name: &'static str,
    /// What the bank does with it.
    pub behaviour: &'static str,
    /// What its `query` says beside the URL.
    pub query: &'static str,
    /// `settled-attempt` of its questions, in their order; of `Nothing` the first ones.
    pub attempts: &'static [u64],
    /// Its answers by label; of `Nothing` the only label, and at least so many.
    pub counted: &'static [(&'static str, u64)],
    /// What is published.
    pub result: Outcome,
}

use Outcome::{Exhausted, Nothing, Settled};

const fn row(
    name: &'static str,
    behaviour: &'static str,
    attempts: &'static [u64],
    counted: &'static [(&'static str, u64)],
    result: Outcome,
) -> Row {
    Row {
        name,
        behaviour,
        query: "",
        attempts,
        counted,
        result,
    }
}

/// A trick that is an attempt: once, then success; and for ever, until two attempts have exhausted it.
macro_rules! attempt {
    ($trick:literal, $label:literal) => {
        [
            row(
                concat!($trick, "-once"),
                concat!(r#""tricks":{""#, $trick, r#"":1},"trick_times":1"#),
                &[1, 2],
                &[("success", 1), ($label, 1)],
                Settled("1", 2),
            ),
            row(
                concat!($trick, "-ever"),
                concat!(r#""tricks":{""#, $trick, r#"":1}"#),
                &[1, 2],
                &[($label, 2)],
                Exhausted("4", 2),
            ),
        ]
    };
}

/// A trick that is none: once, then success with the first attempt; and for ever, to no effect.
macro_rules! no_attempt {
    ($trick:literal, $label:literal) => {
        [
            row(
                concat!($trick, "-once"),
                concat!(r#""tricks":{""#, $trick, r#"":1},"trick_times":1"#),
                &[1, 1],
                &[($label, 1), ("success", 1)],
                Settled("1", 1),
            ),
            row(
                concat!($trick, "-ever"),
                concat!(r#""tricks":{""#, $trick, r#"":1}"#),
                &[1, 1],
                &[($label, 2)],
                Nothing,
            ),
        ]
    };
}

/// The statuses that the protocol has.
pub const STATUSES: [Row; 8] = [
    row("1", "", &[1], &[("success", 1)], Settled("1", 1)),
    row(
        "2",
        r#""failures":1"#,
        &[1],
        &[("failure", 1)],
        Settled("2", 1),
    ),
    row(
        "3-then-1",
        r#""in_progress":1"#,
        &[1, 2],
        &[("in_progress", 1), ("success", 1)],
        Settled("1", 2),
    ),
    row(
        "3-then-2",
        r#""in_progress":1,"failures":1"#,
        &[1, 2],
        &[("failure", 1), ("in_progress", 1)],
        Settled("2", 2),
    ),
    row(
        "3-ever",
        r#""in_progress":99"#,
        &[1, 2],
        &[("in_progress", 2)],
        Exhausted("3", 2),
    ),
    row(
        "4-then-1",
        r#""in_progress":1,"unknown":1"#,
        &[1, 2],
        &[("success", 1), ("unknown", 1)],
        Settled("1", 2),
    ),
    row(
        "4-ever",
        r#""in_progress":99,"unknown":1"#,
        &[1, 2],
        &[("unknown", 2)],
        Exhausted("4", 2),
    ),
    Row {
        query: r#", not_found = "unknown""#,
        ..row(
            "404-is-4",
            r#""tricks":{"404":1},"trick_times":1"#,
            &[1, 2],
            &[("success", 1), ("unknown", 1)],
            Settled("1", 2),
        )
    },
];

/// Every trick, once and for ever.
pub const TRICKS: [[Row; 2]; 26] = [
    attempt!("html", "violation"),
    attempt!("empty", "violation"),
    attempt!("other-number", "violation"),
    attempt!("no-number", "violation"),
    attempt!("other-status", "violation"),
    attempt!("zip-bomb", "violation"),
    attempt!("huge-body", "violation"),
    no_attempt!("huge-header", "unreachable"),
    no_attempt!("close", "unreachable"),
    no_attempt!("reset", "unreachable"),
    no_attempt!("drip", "timed_out"),
    no_attempt!("hang", "timed_out"),
    no_attempt!("301", "configuration"),
    no_attempt!("302", "configuration"),
    no_attempt!("303", "configuration"),
    no_attempt!("307", "configuration"),
    no_attempt!("308", "configuration"),
    no_attempt!("400", "configuration"),
    no_attempt!("401", "configuration"),
    no_attempt!("403", "configuration"),
    no_attempt!("404", "not_found"),
    no_attempt!("429", "too_many_requests"),
    no_attempt!("500", "server_error"),
    no_attempt!("502", "server_error"),
    no_attempt!("503", "server_error"),
    no_attempt!("504", "server_error"),
];

/// Owners that no question reaches: the bank's log has none, so attempts are not looked at.
pub const UNREACHABLE: [Row; 2] = [
    row("no-listener", "", &[], &[("unreachable", 2)], Nothing),
    row("no-tls", "", &[], &[("unreachable", 2)], Nothing),
];

/// All of them.
pub fn all() -> Vec<Row> {
    let tricks = TRICKS.concat();
    [&STATUSES[..], &tricks, &UNREACHABLE].concat()
}
