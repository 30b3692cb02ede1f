//! The order types of every test, and how long their owners may take.

use crate::domain::order::{Millis, TypeName};
use crate::domain::schedule::{Ladder, Schedule};
use crate::shard::core::plan::TypePlan;

/// The whole-request deadline of every question.
pub const TIMEOUT: Millis = 2_000;

fn stages(texts: &[&str]) -> Ladder {
    Ladder::parse(
        &texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>(),
    )
    .unwrap()
}

/// Two types: one doubling, one with coarse buckets and slow questions after its end.
pub fn types() -> Vec<TypePlan> {
    let named = |name: &str, in_progress: &[&str], unknown: &[&str], then| TypePlan {
        name: TypeName::new(name).unwrap(),
        schedule: Schedule {
            in_progress: stages(in_progress),
            unknown: stages(unknown),
            then,
            ..Schedule::default()
        },
        timeout: TIMEOUT,
    };
    vec![
        named("pay", &["double 1s x 3"], &["2s x 2"], None),
        named(
            "fx",
            &["500ms", "5s", "40s"],
            &["3s until 20s"],
            Some(20_000),
        ),
    ]
}
