//! Weighs an owner's answers window by window: whether half of the questions or more get none. Pure;
//! the owner raises the alarm.

use std::sync::{Mutex, PoisonError};

use crate::domain::order::Millis;

/// Answers are weighed so often.
const WINDOW: Millis = 30_000;

/// Of fewer questions in a window, half that fail say nothing about an owner.
const WINDOW_LEAST: u64 = 20;

/// What a window came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weighed {
    /// Half of the questions or more, so many, got no answer.
    Failing(u64),
    /// More than half of them got one.
    Answering,
}

/// The questions of one order type in the window that runs.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Millis,
    asked: u64,
    failed: u64,
}

impl Tally {
    /// A question came to its end at `now`; `None`: the window runs, or too few of its questions fail to
    /// say anything.
    pub(super) fn asked(&self, failed: bool, now: Millis) -> Option<Weighed> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.asked += 1;
        window.failed += u64::from(failed);
        if now < window.began + WINDOW {
            return None;
        }
        let over = std::mem::take(&mut *window);
        window.began = now;
        if over.failed * 2 < over.asked {
            Some(Weighed::Answering)
        } else if over.asked < WINDOW_LEAST {
            None
        } else {
            Some(Weighed::Failing(over.failed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `asked` questions in the window that ends at `now`, `failed` of them without an answer.
    fn window(tally: &Tally, asked: u64, failed: u64, now: Millis) -> Option<Weighed> {
        for n in 1..asked {
            assert_eq!(tally.asked(n < failed, now - 1), None);
        }
        tally.asked(failed > 0, now)
    }

    #[test]
    fn an_owner_fails_when_half_of_the_questions_of_a_window_do() {
        let tally = Tally::default();
        assert_eq!(tally.asked(true, WINDOW), None);
        let answering = Some(Weighed::Answering);
        assert_eq!(window(&tally, 40, 19, WINDOW * 2), answering);
        let failing = Some(Weighed::Failing(20));
        assert_eq!(window(&tally, 40, 20, WINDOW * 3), failing);
        assert_eq!(window(&tally, 19, 19, WINDOW * 4), None, "too few to say");
        assert_eq!(window(&tally, 3, 1, WINDOW * 5), answering, "few suffice");
    }
}
