//! What business systems and operators say, and when.

use std::collections::BTreeSet;

use super::bank::Account;
use super::said::{Said, order};
use super::worker::Which;
use super::{Happening, World};
use crate::domain::order::{Millis, OrderKey};
use crate::domain::status::{Open, Terminal};

impl World {
    /// Orders, what is said about them and when; the first strikes.
    pub(super) fn populate(&mut self) {
        let length = self.dice.between(10_000, 90_000);
        self.storm_ends = self.now + length;
        let orders = self.dice.between(1, 5);
        for n in 0..orders {
            let name = self.dice.weighted(&[(5, "pay"), (4, "fx"), (1, "odd")]);
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
            answered: 0,
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
        if self.dice.in_thousand(300) {
            first = first.with_query(r#"{"bank":"CMB"}"#);
        }
        let terminal = self.dice.in_thousand(450);
        if !terminal || self.dice.in_thousand(800) {
            let copies = self.dice.weighted(&[(4, 1), (1, 2)]);
            for copy in 0..copies {
                let later = if copy == 0 {
                    0
                } else {
                    self.dice.below(length - begins)
                };
                self.at(begins + later, Happening::Emit(first.clone()));
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
                let when = begins + self.dice.below(length - begins);
                self.at(
                    when,
                    Happening::Emit(Said::settle(key, self.now + when, said)),
                );
            }
        }
    }

    /// A repetition of what is older than the window is not promised anything.
    pub(super) fn emit_if_remembered(&mut self, mut said: Said) {
        if let Ok(event) = &mut said.event {
            event.at = self.now;
            if let Some((_, offset)) = self.watch.settled.get(&event.key)
                && let Some((at, _)) = self.results.committed(*offset)
                && at + self.plan.window < self.now + 10_000
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
            match self.dice.below(8) {
                0 => self.emit(Said::requeue(&key, self.now, phase + 1)),
                1 => {
                    if let Some(account) = self.bank.accounts.get_mut(&key) {
                        account.truth.get_or_insert(Terminal::Success);
                    }
                    self.emit(
                        Said::requeue(&key, self.now, phase + 1).with_query(r#"{"bank":"ICBC"}"#),
                    );
                }
                2 => self.emit(Said::settle(&key, self.now, Terminal::Success)),
                _ => {}
            }
        }
    }

    /// Emits an event, in a transaction that is decided later if `foreign`.
    pub(super) fn emit(&mut self, said: Said) {
        let offset = self.events.high();
        self.note(|| format!("event {offset}: {said:?}"));
        if self.fails(self.storm.foreign) {
            let txn = self.events.begin();
            self.events.append(self.now, Some(txn), said);
            let late = self.dice.between(1, 3_000);
            self.at(late, Happening::ForeignEnd(txn));
        } else {
            self.events.append(self.now, None, said);
            self.stir(Which::Events);
        }
    }
}
