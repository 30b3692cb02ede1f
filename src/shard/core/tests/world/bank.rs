//! The simulated owner of the orders: each is in progress or unknown for some questions, then
//! terminal, or never; sometimes nobody answers.

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
    /// Questions that got an answer.
    pub answered: u32,
    /// Terminal answers that left the owner.
    pub said: BTreeSet<Terminal>,
}

/// All accounts.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    pub accounts: BTreeMap<OrderKey, Account>,
    /// So many of a thousand questions get no answer.
    pub trouble: u64,
}

impl Bank {
    /// What comes of one question, and after how long.
    pub fn answer(&mut self, key: &OrderKey, dice: &mut Dice) -> (Answer, Millis) {
        if dice.in_thousand(self.trouble) {
            let could_not = |why, retry_after| Answer::CouldNotAsk { why, retry_after };
            return match dice.below(4) {
                0 => (could_not(CouldNotAsk::TimedOut, None), TIMEOUT),
                1 => (
                    could_not(CouldNotAsk::TooManyRequests, Some(dice.between(100, 5_000))),
                    3,
                ),
                2 => (
                    could_not(CouldNotAsk::ServerError, None),
                    dice.between(1, 500),
                ),
                _ => (could_not(CouldNotAsk::NotStarted, None), 1),
            };
        }
        let latency = if dice.in_thousand(50) {
            dice.between(100, TIMEOUT - 1)
        } else {
            dice.between(1, 30)
        };
        let Some(account) = self.accounts.get_mut(key) else {
            return (Answer::Unknown { violation: None }, latency);
        };
        account.answered += 1;
        let answer = match account.truth {
            Some(status) if account.open_answers == 0 => {
                account.said.insert(status);
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
}
