//! What the audit knows of one order. Small: there is one for each order of the run.

use crate::domain::order::Millis;
use crate::domain::status::{Status, Terminal};

/// The first settled result of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub status: Terminal,
    /// An owner's answer, rather than an event.
    pub by_inquiry: bool,
    /// The order is older than the run.
    pub earlier: bool,
}

/// One order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// When its first event was appended, or the requeue of its phase; 0: never.
    opened: Millis,
    ask_at: Millis,
    /// Questions of its phase that got a status.
    answers: u16,
    /// What the bank answered last.
    last_answer: Option<Status>,
    phase: u16,
    exhausted: Option<u16>,
    settled: Option<Settled>,
    /// Its phase was opened before the run.
    earlier: bool,
    pub configured: bool,
}

impl Order {
    /// An order whose question was heard of before its event.
    pub fn asked_first(answer: Option<Status>) -> Self {
        let mut order = Self::default();
        order.asked(answer);
        order
    }

    pub fn is_accepted(&self) -> bool {
        self.opened > 0
    }

    /// Takes an event; `earlier`: of before the run.
    pub fn accept(&mut self, appended: Millis, earlier: bool) {
        let appended = appended.max(1);
        self.earlier |= earlier && self.phase == 0;
        self.opened = match self.opened {
            0 => appended,
            // A misplaced event and its copy come in any order.
            opened if self.phase == 0 => opened.min(appended),
            opened => opened,
        };
    }

    pub fn ask_not_before(&mut self, ask_at: Option<Millis>) {
        self.ask_at = self.ask_at.max(ask_at.unwrap_or(0));
    }

    pub fn requeue(&mut self, phase: u16, appended: Millis, earlier: bool) {
        if phase > self.phase && self.settled.is_none() {
            self.phase = phase;
            self.earlier = earlier;
            self.opened = appended.max(1);
            self.answers = 0;
        }
    }

    /// A question about it; `None`: it got no status.
    pub fn asked(&mut self, answer: Option<Status>) {
        if let Some(answer) = answer {
            self.answers = self.answers.saturating_add(1);
            self.last_answer = Some(answer);
        }
    }

    /// Whether it was settled before.
    pub fn settle(&mut self, settled: Settled) -> bool {
        if self.settled.is_some() {
            return true;
        }
        self.settled = Some(settled);
        false
    }

    /// Whether this phase, or a later one, was exhausted before.
    pub fn exhaust(&mut self, phase: u16) -> bool {
        let repeated = self.exhausted.is_some_and(|before| before >= phase);
        self.exhausted = self.exhausted.max(Some(phase));
        repeated
    }

    pub fn settled(&self) -> Option<Settled> {
        self.settled
    }

    pub fn is_exhausted(&self) -> bool {
        self.exhausted.is_some_and(|phase| phase >= self.phase)
    }

    pub fn has_result(&self) -> bool {
        self.settled.is_some() || self.exhausted.is_some()
    }

    pub fn opened(&self) -> Millis {
        self.opened
    }

    pub fn answers(&self) -> u16 {
        self.answers
    }

    pub fn last_answer(&self) -> Option<Status> {
        self.last_answer
    }

    /// The terminal status that the bank answered last.
    pub fn answered(&self) -> Option<Terminal> {
        self.last_answer.and_then(|status| status.split().ok())
    }

    /// When its next question is due, each of `ages` being an ideal age of one; beyond them the last
    /// counts, at which it should have been exhausted. `None` where the bank's log does not hold all
    /// of its questions.
    pub fn due(&self, ages: &[Millis]) -> Option<Millis> {
        if self.earlier {
            return None;
        }
        let age = ages.get(usize::from(self.answers)).or(ages.last())?;
        let due = self.opened + age;
        Some(if self.answers == 0 {
            due.max(self.ask_at)
        } else {
            due.max(self.ask_at + age)
        })
    }
}
