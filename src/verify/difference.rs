//! What can be wrong, a word each, and how a difference is told.

use std::collections::BTreeMap;

use serde::Serialize;

/// Differences of one kind that are told with their order; the others are counted.
pub const EXAMPLES_MAX: usize = 20;

/// What does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Accepted and folded, without a result and not in the view.
    Unaccounted,
    /// In the view, without an event in the log.
    Orphan,
    /// A result without an event in the log.
    Phantom,
    /// More than one settled result, or more than one exhaustion of a phase.
    Repeated,
    /// Settled results with different statuses.
    Contradicted,
    /// Still in the view as it was before a result that the view has folded.
    Lingering,
    /// Its terminal event was passed and there is no settled result.
    Unsettled,
    /// Exhausted in the view, without an exhaustion in the log.
    Unpublished,
    /// Pending, and due longer ago than the slack.
    Overdue,
    /// An event in a foreign partition that was passed and not forwarded, or a result in one.
    Misplaced,
    /// A record of the results that is none of ours.
    Foreign,
}

impl Kind {
    /// Those that one order shows, in the order in which they are told.
    pub(super) const OF_AN_ORDER: [Self; 9] = [
        Self::Unaccounted,
        Self::Orphan,
        Self::Phantom,
        Self::Repeated,
        Self::Contradicted,
        Self::Lingering,
        Self::Unsettled,
        Self::Unpublished,
        Self::Overdue,
    ];

    /// Its name, as it is printed.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unaccounted => "unaccounted",
            Self::Orphan => "orphan",
            Self::Phantom => "phantom",
            Self::Repeated => "repeated",
            Self::Contradicted => "contradicted",
            Self::Lingering => "lingering",
            Self::Unsettled => "unsettled",
            Self::Unpublished => "unpublished",
            Self::Overdue => "overdue",
            Self::Misplaced => "misplaced",
            Self::Foreign => "foreign",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What is wrong.
    pub kind: Kind,
    /// The shard, or the partition beyond the shards.
    pub shard: u16,
    /// `<type>/<reqNO>`, where there is an order.
    pub order: Option<String>,
    /// What was found, for a person.
    pub what: String,
}

/// Differences, counted by kind, the first of each kind whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<Kind, u64>,
    examples: BTreeMap<Kind, Vec<Difference>>,
}

impl Tally {
    /// Counts one; `tell` is asked while there is room for an example, and may know none.
    pub fn add(&mut self, kind: Kind, tell: impl FnOnce() -> Option<Difference>) {
        *self.counts.entry(kind).or_default() += 1;
        let examples = self.examples.entry(kind).or_default();
        if examples.len() < EXAMPLES_MAX {
            examples.extend(tell());
        }
    }

    /// Adds what was found elsewhere.
    pub fn append(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        for (kind, more) in other.examples {
            let examples = self.examples.entry(kind).or_default();
            let room = EXAMPLES_MAX - examples.len();
            examples.extend(more.into_iter().take(room));
        }
    }

    /// How many by kind; none of a kind: not there.
    pub fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The examples of one kind.
    pub fn examples_of(&self, kind: Kind) -> impl Iterator<Item = &Difference> {
        self.examples.get(&kind).into_iter().flatten()
    }

    /// The examples, kind by kind.
    pub fn examples(&self) -> impl Iterator<Item = &Difference> {
        self.examples.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(n: usize) -> Difference {
        Difference {
            kind: Kind::Orphan,
            shard: 0,
            order: Some(format!("pay/{n}")),
            what: String::new(),
        }
    }

    #[test]
    fn every_difference_counts_and_the_first_ones_are_told() {
        let mut tally = Tally::default();
        for n in 0..EXAMPLES_MAX + 5 {
            tally.add(Kind::Orphan, || Some(difference(n)));
        }
        tally.append(tally.clone());
        assert_eq!(tally.total(), 2 * (EXAMPLES_MAX as u64 + 5));
        assert_eq!(tally.examples().count(), EXAMPLES_MAX);
        assert_eq!(tally.examples().next(), Some(&difference(0)));
    }
}
