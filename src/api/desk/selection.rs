//! What a dry run has shown: orders, each in its phase, and a token made of them. The real run names the
//! token, and does to these orders what was shown and to no others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::command::Command;
use super::filter::Stretch;
use crate::domain::order::OrderKey;
use crate::domain::status::Status;

/// Selections that a worker remembers; a large one takes a megabyte.
const KEPT: usize = 8;

/// An order of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub key: OrderKey,
    /// The phase in which it is exhausted.
    pub phase: u16,
}

/// The orders of a selection, in the order of the walk.
pub(super) type Orders = Arc<Vec<Chosen>>;

/// The latest selections that were shown here.
#[derive(Debug, Default)]
pub(super) struct Selections(Mutex<VecDeque<(String, Orders)>>);

/// The orders of a stretch.
pub(super) fn chosen(stretch: Stretch) -> Vec<Chosen> {
    let orders = stretch.orders.into_iter();
    let chosen = orders.map(|(_, order)| Chosen {
        phase: order.record.phase,
        key: order.key,
    });
    chosen.collect()
}

/// 32 hexadecimal digits that name what is to be done to which orders.
pub(super) fn token(command: &Command, orders: &[Chosen]) -> String {
    let mut digest = Sha256::new().chain_update(command.name());
    if let Command::Settle(outcome) = command {
        digest.update(Status::from(outcome.status).code());
    }
    for order in orders {
        digest.update(format!("\n{}/{}", order.key, order.phase));
    }
    let mut name = [0; 16];
    name.copy_from_slice(&digest.finalize()[..16]);
    format!("{:032x}", u128::from_be_bytes(name))
}

impl Selections {
    /// Remembers a selection that is shown, in place of the oldest.
    pub fn show(&self, token: &str, orders: Orders) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|(known, _)| known != token);
        shown.push_back((token.to_owned(), orders));
        if shown.len() > KEPT {
            shown.pop_front();
        }
    }

    /// What was shown under this token.
    pub fn shown(&self, token: &str) -> Option<Orders> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown = shown.iter();
        let found = shown.find(|(known, _)| known == token);
        found.map(|(_, orders)| Arc::clone(orders))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::desk::command::Outcome;
    use crate::domain::status::Terminal;

    fn chosen(number: &str, phase: u16) -> Chosen {
        Chosen {
            key: OrderKey::parse(number).unwrap(),
            phase,
        }
    }

    #[test]
    fn another_command_order_or_phase_is_another_selection() {
        let settle = |status| {
            Command::Settle(Outcome {
                status,
                rsp_no: None,
                ret_cd: None,
                ret_msg: None,
            })
        };
        let one = chosen("transfer/TX1", 0);
        let tokens = [
            token(&Command::Requeue, std::slice::from_ref(&one)),
            token(&Command::Requeue, &[chosen("transfer/TX1", 1)]),
            token(&Command::Requeue, &[chosen("transfer/TX2", 0)]),
            token(&Command::Requeue, &[]),
            token(&settle(Terminal::Success), std::slice::from_ref(&one)),
            token(&settle(Terminal::Failure), &[one]),
        ];
        let mut distinct = tokens.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), tokens.len());
    }

    #[test]
    fn the_oldest_selection_is_forgotten() {
        let selections = Selections::default();
        for n in 0..=KEPT {
            selections.show(&n.to_string(), Arc::default());
        }
        assert!(selections.shown("0").is_none());
        assert!(selections.shown("1").is_some());
    }
}
