//! The terms on which a caller asks: how long to wait for the owner's answer, and how old one may be.
//! Strict: a misspelt parameter must not read as its default.

use std::time::Duration;

use axum::http::StatusCode;

use super::refusal::Refusal;
use crate::domain::json::echo;

/// An answer of the last half second is told again unless the caller wants otherwise, so that a crowd
/// at one screen costs its owner one question. Short, because it should be the truth of the moment.
pub const FRESH: Duration = Duration::from_millis(500);

/// The longest that a caller may wait for an owner, milliseconds: what proxies let pass.
const WAIT_MAX_MS: u64 = 60_000;

/// The oldest answer that a caller may take for fresh, milliseconds; for so long answers are kept.
pub(super) const AGE_MAX_MS: u64 = 60_000;

/// What a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long; `None`: as long as a question of its order type may take. Zero: nobody is asked.
    pub wait: Option<Duration>,
    /// How old.
    pub max_age: Duration,
}

impl Terms {
    /// Of the query part of an address.
    pub fn parse(query: Option<&str>) -> Result<Self, Refusal> {
        let (mut wait_ms, mut max_age_ms) = (None, None);
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name {
                "wait_ms" => &mut wait_ms,
                "max_age_ms" => &mut max_age_ms,
                other => {
                    let other = echo(other);
                    return Err(bad(format!(
                        "there is no parameter {other}; there are wait_ms and max_age_ms"
                    )));
                }
            };
            if slot.is_some() {
                return Err(bad(format!("{name} stands there twice")));
            }
            *slot = Some(digits(value).ok_or_else(|| out_of_range(name))?);
        }
        Self::of(wait_ms, max_age_ms)
    }

    /// Of milliseconds, where they are given.
    pub fn of(wait_ms: Option<u64>, max_age_ms: Option<u64>) -> Result<Self, Refusal> {
        if wait_ms.is_some_and(|ms| ms > WAIT_MAX_MS) {
            return Err(out_of_range("wait_ms"));
        }
        if max_age_ms.is_some_and(|ms| ms > AGE_MAX_MS) {
            return Err(out_of_range("max_age_ms"));
        }
        Ok(Self {
            wait: wait_ms.map(Duration::from_millis),
            max_age: max_age_ms.map_or(FRESH, Duration::from_millis),
        })
    }
}

/// Digits alone: `parse` would also take a sign.
fn digits(value: &str) -> Option<u64> {
    let all = value.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| value.parse().ok()).flatten()
}

fn out_of_range(name: &str) -> Refusal {
    let max = match name {
        "wait_ms" => WAIT_MAX_MS,
        _ => AGE_MAX_MS,
    };
    bad(format!(
        "{name}: expected whole milliseconds from 0 to {max}"
    ))
}

fn bad(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad-parameter", message)
}
