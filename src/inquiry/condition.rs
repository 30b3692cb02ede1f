//! How a type's owner stands, as far as this worker knows: what its questions came to since the last
//! report, and what the store said of the whole cluster. Every answer writes it, the dispatcher sends
//! it along with its requests for start times.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::answer::{Answer, CouldNotAsk};
use crate::store::ceiling::{Breaker, HOLD_MAX_US, Heard, Known, Reserve, Slots};

/// What was heard longer ago says nothing about now.
const STALE_US: u64 = 5_000_000;

/// What was told of a closed breaker longer ago is not worth remembering: the store may have
/// forgotten a type that nobody asked about.
const KNOWN_US: u64 = 10_000_000;

/// So many failures in a row are reported although no start time is needed: with start times at hand
/// a worker would otherwise ask on while the others know nothing.
const URGENT_ROW: u32 = 5;

/// While the breaker is not closed, the store is asked this often how things stand, also when there is
/// nothing else to say.
const LOOK_US: u64 = 5_000_000;

/// The condition of one order type's owner.
#[derive(Debug, Default)]
pub(super) struct Condition {
    inner: Mutex<Inner>,
    urgent: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    heard: Heard,
    heard_at_us: u64,
    /// Until when the owner asked to be left alone; 0: everybody knows.
    hold_until_us: u64,
    /// Others wait to hear of it.
    urgent: bool,
    known: Option<Known>,
    told_at_us: u64,
    /// Since when this worker knows that the breaker is open.
    open_since_us: u64,
    spacing_us: Option<u64>,
}

impl Condition {
    /// Takes note of an answer to a question that started at `started_us`.
    pub(super) fn note(&self, answer: &Answer, started_us: u64, now_us: u64) {
        let mut inner = self.inner();
        let breaker = inner.breaker();
        match answer {
            Answer::CouldNotAsk { why, retry_after } => {
                inner.heard.failures = inner.heard.failures.saturating_add(1);
                inner.urgent |= breaker != Breaker::Open && inner.heard.failures >= URGENT_ROW;
                let later = !matches!(why, CouldNotAsk::Configuration | CouldNotAsk::NotFound);
                if let Some(wait) = retry_after.filter(|wait| later && *wait > 0) {
                    let until = now_us + wait.saturating_mul(1000).min(HOLD_MAX_US);
                    inner.hold_until_us = inner.hold_until_us.max(until);
                    inner.urgent = true;
                }
            }
            // Asked before the owner fell silent: it says nothing about now.
            _ if breaker == Breaker::Open && started_us < inner.open_since_us => return,
            _ => {
                inner.heard = Heard {
                    answered: true,
                    failures: 0,
                };
                inner.urgent |= breaker == Breaker::Open;
            }
        }
        inner.heard_at_us = now_us;
        if inner.urgent {
            self.urgent.notify_one();
        }
    }

    /// Fills in what this worker has to say. It is taken back by [`Condition::unsaid`].
    pub(super) fn report(&self, reserve: &mut Reserve, now_us: u64) {
        let mut inner = self.inner();
        let heard = std::mem::take(&mut inner.heard);
        if now_us < inner.heard_at_us + STALE_US {
            reserve.heard = heard;
        }
        reserve.hold_us = inner.hold_until_us.saturating_sub(now_us);
        inner.hold_until_us = 0;
        inner.urgent = false;
        let since_us = now_us.saturating_sub(inner.told_at_us);
        reserve.known = inner.known.and_then(|known| match known.breaker {
            Breaker::Closed => (since_us < KNOWN_US).then_some(known),
            Breaker::Open => Some(known),
            Breaker::Closing { for_us } => Some(Known {
                breaker: Breaker::Closing {
                    for_us: for_us + since_us,
                },
                ..known
            }),
        });
    }

    /// The report may not have arrived: it is made again with the next one.
    pub(super) fn unsaid(&self, reserve: &Reserve, now_us: u64) {
        let mut inner = self.inner();
        if !inner.heard.answered {
            inner.heard.answered = reserve.heard.answered;
            inner.heard.failures = inner.heard.failures.saturating_add(reserve.heard.failures);
        }
        if reserve.hold_us > 0 {
            let until = now_us + reserve.hold_us;
            inner.hold_until_us = inner.hold_until_us.max(until);
        }
        inner.urgent |= reserve.hold_us > 0;
    }

    /// Takes what the store said; returns the breaker as it was and as it is.
    pub(super) fn told(&self, slots: &Slots, now_us: u64) -> (Breaker, Breaker) {
        let mut inner = self.inner();
        let before = inner.breaker();
        let now = slots.known.breaker;
        if now == Breaker::Open && before != Breaker::Open {
            inner.open_since_us = now_us;
        }
        inner.known = Some(slots.known);
        inner.told_at_us = now_us;
        inner.spacing_us = Some(slots.spacing_us);
        (before, now)
    }

    /// Whether the owner answers, as last told.
    pub(super) fn breaker(&self) -> Breaker {
        self.inner().breaker()
    }

    /// How many questions a second may start now, of the whole cluster; `None`: as configured. Until
    /// the store has told how things stand, the worst is expected.
    pub(super) fn slowed_to(&self) -> Option<f64> {
        let inner = self.inner();
        match inner.known.map(|known| known.breaker) {
            Some(Breaker::Closed) => None,
            _ => Some(inner.spacing_us.map_or(1.0, |spacing| 1e6 / spacing as f64)),
        }
    }

    /// When to ask how things stand, if nothing else is asked before; `None`: there is no need.
    pub(super) fn look_at_us(&self) -> Option<u64> {
        let inner = self.inner();
        match inner.known.map(|known| known.breaker) {
            None => Some(0),
            Some(Breaker::Closed) => None,
            Some(_) => Some(inner.told_at_us + LOOK_US),
        }
    }

    /// Whether others wait to hear what this worker knows.
    pub(super) fn is_urgent(&self) -> bool {
        self.inner().urgent
    }

    /// Returns when there is something urgent to report, perhaps before this was called.
    pub(super) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn breaker(&self) -> Breaker {
        self.known.map(|known| known.breaker).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Reserve {
        Reserve {
            wanted: [0; 3],
            most: 0,
            per_second: 1.0,
            parts: [0.0; 3],
            heard: Heard::default(),
            hold_us: 0,
            known: None,
        }
    }

    fn report(condition: &Condition, now_us: u64) -> Reserve {
        let mut reserve = empty();
        condition.report(&mut reserve, now_us);
        reserve
    }

    fn tell(condition: &Condition, breaker: Breaker, now_us: u64) {
        let known = Known {
            born_us: 1,
            at_us: now_us,
            breaker,
        };
        let slots = Slots {
            first_in_us: 0,
            counts: [0; 3],
            spacing_us: 1_000_000,
            held_us: 0,
            known,
        };
        condition.told(&slots, now_us);
    }

    fn silent() -> Answer {
        Answer::CouldNotAsk {
            why: CouldNotAsk::TimedOut,
            retry_after: None,
        }
    }

    #[test]
    fn a_report_is_the_row_since_the_last_answer_and_is_made_once() {
        let condition = Condition::default();
        for _ in 0..3 {
            condition.note(&silent(), 0, 10);
        }
        condition.note(&Answer::InProgress, 0, 11);
        for _ in 0..2 {
            condition.note(&silent(), 0, 12);
        }
        let row = |answered, failures| Heard { answered, failures };
        let said = report(&condition, 20);
        assert_eq!(said.heard, row(true, 2));
        assert_eq!(report(&condition, 20).heard, row(false, 0));
        condition.note(&silent(), 0, 21);
        condition.unsaid(&said, 22);
        assert_eq!(report(&condition, 23).heard, row(true, 3));
    }

    #[test]
    fn what_was_heard_long_ago_is_not_reported() {
        let condition = Condition::default();
        condition.note(&Answer::InProgress, 0, 10);
        assert_eq!(report(&condition, STALE_US + 10).heard, Heard::default());
    }

    #[test]
    fn an_answer_to_a_question_from_before_does_not_close_an_open_breaker() {
        let condition = Condition::default();
        tell(&condition, Breaker::Open, 1_000);
        condition.note(&Answer::InProgress, 999, 2_000);
        assert!(!condition.is_urgent());
        assert!(!report(&condition, 2_000).heard.answered);
        condition.note(&Answer::InProgress, 1_000, 2_000);
        assert!(condition.is_urgent(), "everybody waits for it");
        assert!(report(&condition, 2_000).heard.answered);
        assert!(!condition.is_urgent());
    }

    #[test]
    fn what_a_worker_knows_grows_old_with_it() {
        let condition = Condition::default();
        assert_eq!(report(&condition, 0).known, None);
        tell(&condition, Breaker::Closing { for_us: 5 }, 1_000);
        let known = report(&condition, 3_000).known.unwrap();
        assert_eq!(known.breaker, Breaker::Closing { for_us: 2_005 });
        tell(&condition, Breaker::Closed, 1_000);
        assert!(report(&condition, 3_000).known.is_some());
        assert_eq!(report(&condition, KNOWN_US + 1_000).known, None);
        tell(&condition, Breaker::Open, 1_000);
        assert!(report(&condition, KNOWN_US * 9).known.is_some());
    }

    #[test]
    fn what_the_owner_asked_for_is_told_to_all_for_a_minute_at_most() {
        let condition = Condition::default();
        let later = |why| Answer::CouldNotAsk {
            why,
            retry_after: Some(3_600_000),
        };
        condition.note(&later(CouldNotAsk::Configuration), 0, 10);
        assert!(!condition.is_urgent());
        condition.note(&later(CouldNotAsk::TooManyRequests), 0, 10);
        assert!(condition.is_urgent());
        let said = report(&condition, 1_000_010);
        assert_eq!(said.hold_us, HOLD_MAX_US - 1_000_000);
        assert_eq!(report(&condition, 1_000_010).hold_us, 0);
        condition.unsaid(&said, 2_000_010);
        assert!(report(&condition, 2_000_010).hold_us > 0);
    }
}
