//! What business systems and operators say, and when.

use std::collections::BTreeSet;

use super::bank::Account;
use super::clocks::STRAYED_MAX;
use super::said::{Said, order};
use super::worker::Which;
use super::{Happening, World};
use crate::domain::order::{Millis, OrderKey};
use crate::domain::result::Outcome;
use crate::domain::status::{Open, Terminal};

impl World {
    /// Orders, what is said about them and when; the first strikes.
    pub(super) fn populate(&mut self) {
        let length = self.dice.between(10_000, 90_000);
        self.storm_ends = self.now + length;
        let orders = self.dice.between(1, 5);
        // Where nobody is asked, nothing is claimed: only the sweep speaks to the view.
        let quiet = self.dice.in_thousand(80);
        for n in 0..orders {
            let name = match self.dice.weighted(&[(5, "pay"), (4, "fx"), (1, "odd")]) {
                _ if quiet => "odd",
                name => name,
            };
            self.order_of_life(&order(name, n, true), length);
        }
        for _ in 0..self.dice.weighted(&[(3, 0), (2, 1), (1, 3)]) {
            let said = if self.dice.in_thousand(500) {
                Said::garbage()
            } else {
                self.misplaced()
            };
            let when = self.dice.below(length);
            self.at(when, Happening::Emit(said));
        }
        self.at(0, Happening::Group);
        self.at(5_000, Happening::Operator);
        let first = self.dice.between(1, 10_000);
        self.at(first, Happening::Strike);
        if self.storm.foreign > 150 {
            self.at(first, Happening::Intruder(None));
        }
    }

    pub(super) fn misplaced(&mut self) -> Said {
        let key = order("pay", 100, false);
        let mut said = Said::pending(&key, self.now, Open::Unknown);
        said.forwarded = self.dice.in_thousand(300);
        said
    }

    pub(super) fn order_of_life(&mut self, key: &OrderKey, length: Millis) {
        let truth = self.dice.weighted(&[
            (5, Some(Terminal::Success)),
            (3, Some(Terminal::Failure)),
            (2, None),
        ]);
        let open_answers = self.dice.below(7) as u32;
        let account = Account {
            open_answers,
            truth,
            said: BTreeSet::new(),
        };
        self.bank.accounts.insert(key.clone(), account);
        let begins = self.dice.below(length / 2);
        let status = if self.dice.in_thousand(500) {
            Open::InProgress
        } else {
            Open::Unknown
        };
        let mut first = Said::pending(key, self.now + begins, status);
        if self.dice.in_thousand(200) {
            let earliest = self.now + begins + self.dice.below(15_000);
            first = first.ask_at(earliest);
            self.first_question.insert(key.clone(), earliest);
        }
        if self.dice.in_thousand(500) {
            first = first.with_query(r#"{"bank":"CMB"}"#);
        }
        let terminal = self.dice.in_thousand(450);
        if !terminal || self.dice.in_thousand(800) {
            let copies = self.dice.weighted(&[(7, 1), (2, 2), (1, 3)]);
            for copy in 0..copies {
                let later = if copy == 0 {
                    0
                } else {
                    self.dice.below(length - begins)
                };
                self.emit_later(begins + later, first.clone());
            }
        }
        if terminal {
            // Some business systems are wrong.
            let wrong = self.dice.in_thousand(150);
            let said = match (truth, wrong) {
                (Some(Terminal::Failure), false) | (Some(Terminal::Success), true) => {
                    Terminal::Failure
                }
                _ => Terminal::Success,
            };
            for _ in 0..self.dice.weighted(&[(3, 1), (2, 2), (1, 3)]) {
                // Some come before what they follow on.
                let from = if self.dice.in_thousand(150) {
                    0
                } else {
                    begins
                };
                let when = from + self.dice.below(length - from);
                self.emit_later(when, Said::settle(key, self.now + when, said));
            }
        }
    }

    /// An event, perhaps by way of another partition: then its copy comes late, and more than once
    /// where who forwards it dies between the copy and the commit.
    fn emit_later(&mut self, when: Millis, mut said: Said) {
        if !self.dice.in_thousand(self.storm.strays) {
            return self.at(when, Happening::Emit(said));
        }
        said.forwarded = true;
        self.saw("event by way of another partition");
        for _ in 0..self.dice.weighted(&[(3, 1), (1, 2)]) {
            let late = when + self.dice.between(1, 5_000);
            let last = self.storm_ends - self.now - 1;
            self.at(late.min(last), Happening::Emit(said.clone()));
        }
    }

    /// Whom the owner tells the outcome, it often tells the business system as well.
    pub(super) fn echo(&mut self, key: &OrderKey, status: Terminal) {
        if self.fails(self.storm.echoes) {
            let soon = self.dice.between(0, 200);
            let said = Said::settle(key, self.now, status);
            self.at(soon, Happening::Emit(said));
        }
    }

    /// A repetition of what is older than the window is not promised anything.
    pub(super) fn emit_if_remembered(&mut self, mut said: Said) {
        if let Ok(event) = &mut said.event {
            event.at = self.now;
            if let Some((_, offset)) = self.watch.settled.get(&event.key)
                && let Some((at, _)) = self.results.committed(*offset)
                && at + self.plan.window < self.now + 10_000 + STRAYED_MAX
            {
                return;
            }
        }
        self.emit(said);
    }

    /// A person looks at the exhausted orders.
    pub(super) fn operator(&mut self) {
        self.at(7_000, Happening::Operator);
        if self.now >= self.storm_ends {
            return;
        }
        let open: Vec<_> = self
            .watch
            .exhausted
            .keys()
            .filter(|(key, _)| !self.watch.settled.contains_key(key))
            .cloned()
            .collect();
        for (key, phase) in open {
            let told = self.query_of_exhausted(&key, phase);
            let requeue = Said::requeue(&key, self.now, phase + 1);
            match self.dice.below(8) {
                0 => self.emit(match told {
                    Some(query) => requeue.with_query(&query),
                    None => requeue,
                }),
                1 => {
                    if let Some(account) = self.bank.accounts.get_mut(&key) {
                        account.truth.get_or_insert(Terminal::Success);
                    }
                    self.emit(requeue.with_query(r#"{"bank":"ICBC"}"#));
                }
                2 => self.emit(Said::settle(&key, self.now, Terminal::Success)),
                _ => {}
            }
        }
    }

    /// What the admin API fills in.
    fn query_of_exhausted(&self, key: &OrderKey, phase: u16) -> Option<Box<str>> {
        let offset = self.watch.exhausted.get(&(key.clone(), phase))?;
        let (_, result) = self.results.committed(*offset)?;
        match &result.outcome {
            Outcome::Exhausted { query, .. } => query.clone(),
            Outcome::Settled { .. } => None,
        }
    }

    /// Emits an event, in a transaction that is decided later if `foreign`.
    pub(super) fn emit(&mut self, said: Said) {
        let offset = self.events.high();
        self.note(|| format!("event {offset}: {said:?}"));
        if let Some((key, phase, query)) = said.opens() {
            self.watch.questions.said(key, phase, query);
        }
        if self.fails(self.storm.foreign) {
            let txn = self.events.begin();
            self.events.append(self.brokers_now(), Some(txn), said);
            let late = self.dice.between(1, 3_000);
            self.at(late, Happening::ForeignEnd(txn));
        } else {
            self.events.append(self.brokers_now(), None, said);
            self.stir(Which::Events);
        }
    }
}
