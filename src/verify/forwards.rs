//! Misplaced events and their copies: each event below `E` of a partition that is not its order's was
//! forwarded and acknowledged, so its copy lies in its own. Told by a hash of the value; pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::domain::order::Millis;

/// An event in a foreign partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// Partition and offset.
    pub at: (u16, u64),
    /// The partition that is its order's.
    pub home: u16,
    /// Its append time.
    pub appended: Millis,
}

/// Events less copies.
#[derive(Debug, Default)]
pub struct Forwards(HashMap<u64, Debt>);

#[derive(Debug)]
struct Debt {
    last: Option<Misplaced>,
    balance: i32,
}

/// What an event and its copy have in common.
pub fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Forwards {
    /// An event that was passed in a foreign partition.
    pub fn misplaced(&mut self, value: u64, event: Misplaced) {
        self.count(value, 1, Some(event));
    }

    /// A forwarded copy in its own partition. More than one of the same event is harmless.
    pub fn copy(&mut self, value: u64) {
        self.count(value, -1, None);
    }

    fn count(&mut self, value: u64, by: i32, event: Option<Misplaced>) {
        let debt = self.0.entry(value).or_insert(Debt {
            last: None,
            balance: 0,
        });
        debt.balance += by;
        debt.last = event.or(debt.last);
        if debt.balance == 0 {
            self.0.remove(&value);
        }
    }

    /// The partitions in which copies are missing.
    pub fn homes(&self) -> BTreeSet<u16> {
        self.missing().map(|event| event.home).collect()
    }

    /// The events whose copies are missing, by place. `begins`: the append time of the oldest event of
    /// a partition whose head retention has taken; the copies of older ones are gone with it.
    pub fn lost(&self, begins: &BTreeMap<u16, Millis>) -> Vec<Misplaced> {
        let is_judged = |event: &Misplaced| {
            begins
                .get(&event.home)
                .is_none_or(|begins| *begins <= event.appended)
        };
        let mut lost: Vec<_> = self.missing().filter(is_judged).collect();
        lost.sort_unstable_by_key(|event| event.at);
        lost
    }

    fn missing(&self) -> impl Iterator<Item = Misplaced> {
        let missing = self.0.values().filter(|debt| debt.balance > 0);
        missing.filter_map(|debt| debt.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Misplaced = Misplaced {
        at: (3, 17),
        home: 1,
        appended: 5_000,
    };

    #[test]
    fn an_event_without_its_copy_is_lost_whichever_was_read_first() {
        let mut forwards = Forwards::default();
        forwards.copy(7);
        forwards.misplaced(7, EVENT);
        forwards.misplaced(8, EVENT);
        forwards.copy(8);
        assert_eq!(forwards.lost(&BTreeMap::new()), []);
        forwards.misplaced(9, EVENT);
        assert_eq!(forwards.lost(&BTreeMap::new()), [EVENT]);
        assert_eq!(forwards.homes(), [1].into());
    }

    #[test]
    fn a_copy_that_retention_may_have_taken_is_not_missed() {
        let mut forwards = Forwards::default();
        forwards.misplaced(9, EVENT);
        assert_eq!(forwards.lost(&[(1, 5_001)].into()), []);
        assert_eq!(forwards.lost(&[(1, 5_000), (3, 9_000)].into()), [EVENT]);
    }
}
