//! When an order type is not asked at all for a while: the owner said «later», or refuses every
//! question in a way that only a change of configuration mends. Orders are kept, no attempt is spent.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::order::Millis;

/// How long a type rests before the next question tells whether it was mended.
const FAULT_PAUSE_MS: Millis = 30_000;

/// The longest that one `Retry-After` silences a type; the order that got it may wait longer.
const RETRY_AFTER_MAX_MS: Millis = 60_000;

/// The pause of one order type, written by every answer.
#[derive(Debug)]
pub(super) struct Pause {
    /// So many refusals in a row are no accident of single orders.
    faults_max: u32,
    until: AtomicU64,
    by_faults: AtomicBool,
    faults_in_a_row: AtomicU32,
    by_operator: AtomicBool,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// Nothing.
    Unchanged,
    /// A pause of this many milliseconds began, because the owner asked for it.
    OwnerSaidLater(Millis),
    /// A pause of this many milliseconds began, because the configuration seems wrong.
    Misconfigured(Millis),
}

impl Pause {
    /// `faults_max` refusals in a row are a fault of the configuration.
    pub(super) fn new(faults_max: u32) -> Self {
        Self {
            faults_max,
            until: AtomicU64::new(0),
            by_faults: AtomicBool::new(false),
            faults_in_a_row: AtomicU32::new(0),
            by_operator: AtomicBool::new(false),
        }
    }

    /// Why and for how long no question may start; `None`: go on.
    pub(super) fn held(&self, now: Millis) -> Option<Answer> {
        if self.by_operator.load(Relaxed) {
            return Some(Answer::CouldNotAsk {
                why: CouldNotAsk::Paused,
                retry_after: None,
            });
        }
        let left = self.until.load(Relaxed).saturating_sub(now);
        (left > 0).then(|| Answer::CouldNotAsk {
            why: if self.by_faults.load(Relaxed) {
                CouldNotAsk::Configuration
            } else {
                CouldNotAsk::TooManyRequests
            },
            retry_after: Some(left),
        })
    }

    /// An operator pauses or resumes the type; a pause of another cause goes on beside it.
    pub(super) fn is_by_operator(&self) -> bool {
        self.by_operator.load(Relaxed)
    }

    pub(super) fn set_by_operator(&self, paused: bool) {
        self.by_operator.store(paused, Relaxed);
    }

    /// Takes note of an answer that came from the owner.
    pub(super) fn note(&self, answer: &Answer, now: Millis) -> Noted {
        let Answer::CouldNotAsk { why, retry_after } = answer else {
            if self.faults_in_a_row.load(Relaxed) > 0 {
                self.faults_in_a_row.store(0, Relaxed);
            }
            return Noted::Unchanged;
        };
        if matches!(why, CouldNotAsk::Configuration | CouldNotAsk::NotFound) {
            let faults = self.faults_in_a_row.fetch_add(1, Relaxed) + 1;
            if faults >= self.faults_max && self.begin(now, FAULT_PAUSE_MS, true) {
                return Noted::Misconfigured(FAULT_PAUSE_MS);
            }
            return Noted::Unchanged;
        }
        match retry_after {
            Some(wait) if *wait > 0 => {
                let wait = (*wait).min(RETRY_AFTER_MAX_MS);
                if self.begin(now, wait, false) {
                    Noted::OwnerSaidLater(wait)
                } else {
                    Noted::Unchanged
                }
            }
            _ => Noted::Unchanged,
        }
    }

    /// Another worker was told «later».
    pub(super) fn hold(&self, now: Millis, wait: Millis) {
        self.begin(now, wait.min(RETRY_AFTER_MAX_MS), false);
    }

    /// Whether a pause began with this; a longer one only replaces the running one.
    fn begin(&self, now: Millis, wait: Millis, by_faults: bool) -> bool {
        let before = self.until.fetch_max(now + wait, Relaxed);
        if before < now + wait {
            self.by_faults.store(by_faults, Relaxed);
        }
        before <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn could_not(why: CouldNotAsk, retry_after: Option<Millis>) -> Answer {
        Answer::CouldNotAsk { why, retry_after }
    }

    #[test]
    fn an_owner_that_says_later_is_left_alone_until_then() {
        let pause = Pause::new(20);
        let later = could_not(CouldNotAsk::TooManyRequests, Some(2_000));
        assert_eq!(pause.note(&later, 1_000), Noted::OwnerSaidLater(2_000));
        assert_eq!(pause.note(&later, 1_500), Noted::Unchanged, "said once");
        assert_eq!(
            pause.held(1_600),
            Some(could_not(CouldNotAsk::TooManyRequests, Some(1_900)))
        );
        assert_eq!(pause.held(3_500), None);
        let year = could_not(CouldNotAsk::ServerError, Some(31_536_000_000));
        assert_eq!(pause.note(&year, 4_000), Noted::OwnerSaidLater(60_000));
    }

    #[test]
    fn twenty_refusals_in_a_row_pause_a_type_and_any_answer_breaks_the_row() {
        let pause = Pause::new(20);
        let refused = could_not(CouldNotAsk::Configuration, None);
        for _ in 0..19 {
            assert_eq!(pause.note(&refused, 10), Noted::Unchanged);
        }
        assert_eq!(pause.note(&Answer::InProgress, 10), Noted::Unchanged);
        for _ in 0..19 {
            assert_eq!(pause.note(&refused, 10), Noted::Unchanged);
        }
        assert_eq!(pause.held(11), None);
        assert_eq!(pause.note(&refused, 10), Noted::Misconfigured(30_000));
        assert_eq!(
            pause.held(11),
            Some(could_not(CouldNotAsk::Configuration, Some(29_999)))
        );
        assert_eq!(pause.held(30_010), None);
        assert_eq!(
            pause.note(&refused, 30_020),
            Noted::Misconfigured(30_000),
            "one more is enough once it was paused"
        );
    }

    #[test]
    fn a_type_may_be_paused_by_its_first_refusal() {
        let pause = Pause::new(1);
        let refused = could_not(CouldNotAsk::NotFound, None);
        assert_eq!(pause.note(&refused, 10), Noted::Misconfigured(30_000));
    }

    #[test]
    fn what_an_operator_paused_rests_until_it_is_resumed() {
        let pause = Pause::new(20);
        pause.set_by_operator(true);
        let paused = Some(could_not(CouldNotAsk::Paused, None));
        assert_eq!(pause.held(10), paused);
        let later = could_not(CouldNotAsk::TooManyRequests, Some(2_000));
        pause.note(&later, 10);
        assert_eq!(pause.held(u64::MAX), paused);
        pause.set_by_operator(false);
        assert_eq!(
            pause.held(1_010),
            Some(could_not(CouldNotAsk::TooManyRequests, Some(1_000)))
        );
        assert_eq!(pause.held(2_010), None);
    }

    #[test]
    fn an_owner_that_is_down_is_not_misconfigured() {
        let pause = Pause::new(20);
        for _ in 0..100 {
            assert_eq!(
                pause.note(&could_not(CouldNotAsk::ServerError, None), 10),
                Noted::Unchanged
            );
        }
        assert_eq!(pause.held(10), None);
    }
}
