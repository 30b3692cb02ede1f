//! What a person should hear of an order type's owner: each trouble once when it begins, and once
//! when it has ended, with how many questions it met. Pure; the owner tells logs and metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::order::Millis;

/// Answers are weighed window by window.
const WINDOW: Millis = 30_000;

/// Fewer questions in a window say nothing about an owner.
const WINDOW_LEAST: u64 = 20;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The breaker is open, or closing.
    Breaker,
    /// The owner refuses every question as only a change of configuration mends it.
    Refusals,
    /// The owner asked to be left alone.
    Later,
    /// Half of the questions or more get no answer.
    Failing,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tale {
    /// It has begun.
    Began(Trouble),
    /// It is over.
    Ended {
        /// What.
        trouble: Trouble,
        /// Questions without an answer while it lasted.
        count: u64,
        /// How long it lasted.
        lasted: Millis,
    },
}

/// The troubles of one order type.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Since when, and how many questions it met.
    going: [Option<(Millis, u64)>; 4],
    window_began: Millis,
    asked: u64,
    failed: u64,
}

impl Troubles {
    /// A trouble has begun; nothing is told when it goes on already.
    pub(super) fn began(&self, trouble: Trouble, now: Millis) -> Option<Tale> {
        let mut inner = self.inner();
        // The louder one says it.
        if trouble == Trouble::Breaker {
            inner.going[Trouble::Failing as usize] = None;
        }
        inner.begin(trouble, now)
    }

    /// A trouble is over; nothing is told when there was none.
    pub(super) fn ended(&self, trouble: Trouble, now: Millis) -> Option<Tale> {
        self.inner().end(trouble, now)
    }

    /// A question came to its end at `now`.
    pub(super) fn asked(&self, failed: bool, now: Millis) -> Option<Tale> {
        let mut inner = self.inner();
        inner.asked += 1;
        if failed {
            inner.failed += 1;
            for (_, count) in inner.going.iter_mut().flatten() {
                *count += 1;
            }
        }
        if now < inner.window_began + WINDOW {
            return None;
        }
        let (asked, failed) = (inner.asked, inner.failed);
        (inner.asked, inner.failed, inner.window_began) = (0, 0, now);
        if asked < WINDOW_LEAST {
            None
        } else if failed * 2 < asked {
            inner.end(Trouble::Failing, now)
        } else if inner.going[Trouble::Breaker as usize].is_none() {
            let tale = inner.begin(Trouble::Failing, now);
            if let (Some(_), Some(going)) = (tale, &mut inner.going[Trouble::Failing as usize]) {
                going.1 = failed;
            }
            tale
        } else {
            None
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn begin(&mut self, trouble: Trouble, now: Millis) -> Option<Tale> {
        let going = &mut self.going[trouble as usize];
        let is_new = going.is_none();
        going.get_or_insert((now, 0));
        is_new.then_some(Tale::Began(trouble))
    }

    fn end(&mut self, trouble: Trouble, now: Millis) -> Option<Tale> {
        let (since, count) = self.going[trouble as usize].take()?;
        Some(Tale::Ended {
            trouble,
            count,
            lasted: now.saturating_sub(since),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_and_its_end_with_the_number_of_questions() {
        let troubles = Troubles::default();
        let began = troubles.began(Trouble::Refusals, 1_000);
        assert_eq!(began, Some(Tale::Began(Trouble::Refusals)));
        for now in 1_001..1_041 {
            assert_eq!(troubles.asked(true, now), None);
            assert_eq!(troubles.began(Trouble::Refusals, now), None);
        }
        let ended = Tale::Ended {
            trouble: Trouble::Refusals,
            count: 40,
            lasted: 5_000,
        };
        assert_eq!(troubles.ended(Trouble::Refusals, 6_000), Some(ended));
        assert_eq!(troubles.ended(Trouble::Refusals, 6_000), None);
    }

    /// `asked` questions in the window that ends at `now`, `failed` of them without an answer.
    fn window(troubles: &Troubles, asked: u64, failed: u64, now: Millis) -> Option<Tale> {
        for n in 1..asked {
            assert_eq!(troubles.asked(n < failed, now - 1), None);
        }
        troubles.asked(failed > 0, now)
    }

    #[test]
    fn half_of_the_questions_failing_is_one_trouble_until_fewer_do() {
        let troubles = Troubles::default();
        troubles.asked(false, WINDOW);
        assert_eq!(window(&troubles, 40, 19, WINDOW * 2), None);
        let began = window(&troubles, 40, 20, WINDOW * 3);
        assert_eq!(began, Some(Tale::Began(Trouble::Failing)));
        assert_eq!(window(&troubles, 40, 30, WINDOW * 4), None);
        assert_eq!(window(&troubles, 19, 0, WINDOW * 5), None, "too few to say");
        let ended = Tale::Ended {
            trouble: Trouble::Failing,
            count: 50,
            lasted: WINDOW * 3,
        };
        assert_eq!(window(&troubles, 40, 0, WINDOW * 6), Some(ended));
    }

    #[test]
    fn what_an_open_breaker_says_is_not_said_twice() {
        let troubles = Troubles::default();
        troubles.asked(false, WINDOW);
        troubles.began(Trouble::Breaker, WINDOW);
        assert_eq!(window(&troubles, 40, 40, WINDOW * 2), None);
        troubles.ended(Trouble::Breaker, WINDOW * 2);
        assert!(window(&troubles, 40, 40, WINDOW * 3).is_some());
        troubles.began(Trouble::Breaker, WINDOW * 3);
        assert_eq!(window(&troubles, 40, 0, WINDOW * 4), None);
    }
}
