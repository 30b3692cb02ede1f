//! The simulated owner of the orders: each is in progress or unknown for some questions, then
//! terminal, or never; sometimes nobody answers, and some owners contradict themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::super::order_types::TIMEOUT;
use super::dice::Dice;
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::order::{Millis, OrderKey};
use crate::domain::status::Terminal;

/// What the owner knows of one order.
#[derive(Clone, Debug)]
pub struct Account {
    /// So many questions are answered with 3 or 4 first.
    pub open_answers: u32,
    /// What it says then; `None`: 3 or 4 for ever.
    pub truth: Option<Terminal>,
    /// Terminal answers that left the owner.
    pub said: BTreeSet<Terminal>,
}

/// All accounts.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    pub accounts: BTreeMap<OrderKey, Account>,
    /// So many of a thousand questions get no answer.
    pub trouble: u64,
    /// So many of a thousand terminal answers are taken back by a later one.
    pub fickle: u64,
    /// It refuses, or hangs, until then.
    pub away_until: Millis,
    pub hangs: bool,
}

impl Bank {
    /// What comes of one question, and after how long.
    pub fn answer(&mut self, key: &OrderKey, now: Millis, dice: &mut Dice) -> (Answer, Millis) {
        if let Some(why) = self.no_answer(now, dice) {
            return why;
        }
        let latency = if dice.in_thousand(50) {
            dice.between(100, TIMEOUT - 1)
        } else {
            dice.between(1, 30)
        };
        let Some(account) = self.accounts.get_mut(key) else {
            return (Answer::Unknown { violation: None }, latency);
        };
        let answer = match account.truth {
            Some(status) if account.open_answers == 0 => {
                account.said.insert(status);
                if dice.in_thousand(self.fickle) {
                    account.open_answers = dice.below(2) as u32;
                    account.truth = Some(other(status));
                }
                Answer::Terminal {
                    status,
                    rsp_no: None,
                    ret_cd: None,
                    ret_msg: None,
                }
            }
            _ => {
                account.open_answers = account.open_answers.saturating_sub(1);
                match dice.below(10) {
                    0..6 => Answer::InProgress,
                    6..9 => Answer::Unknown { violation: None },
                    _ => Answer::Unknown {
                        violation: Some("another order's number".to_owned()),
                    },
                }
            }
        };
        (answer, latency)
    }

    fn no_answer(&self, now: Millis, dice: &mut Dice) -> Option<(Answer, Millis)> {
        let could_not = |why, retry_after| Answer::CouldNotAsk { why, retry_after };
        if now < self.away_until {
            return Some(if self.hangs {
                (could_not(CouldNotAsk::TimedOut, None), TIMEOUT)
            } else {
                (could_not(CouldNotAsk::Unreachable, None), 1)
            });
        }
        dice.in_thousand(self.trouble).then(|| match dice.below(6) {
            0 | 1 => (could_not(CouldNotAsk::TimedOut, None), TIMEOUT),
            2 => (
                could_not(CouldNotAsk::TooManyRequests, Some(dice.between(100, 5_000))),
                3,
            ),
            3 => (
                could_not(CouldNotAsk::ServerError, None),
                dice.between(1, 500),
            ),
            4 => (could_not(CouldNotAsk::Configuration, None), 2),
            _ => (could_not(CouldNotAsk::NotStarted, None), 1),
        })
    }
}

fn other(status: Terminal) -> Terminal {
    match status {
        Terminal::Success => Terminal::Failure,
        Terminal::Failure => Terminal::Success,
    }
}
