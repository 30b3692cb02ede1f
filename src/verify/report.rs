//! What a verification found, as numbers: how many orders stand where, per shard and in sum.

use serde::Serialize;

use super::difference::{Difference, Kind, Tally};

/// Where the orders stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Orders with an acceptable event; = settled + exhausted + pending, and the unaccounted ones.
    pub accepted: u64,
    /// With a settled result.
    pub settled: u64,
    /// In the view as exhausted.
    pub exhausted: u64,
    /// In the view as pending, or not folded yet.
    pub pending: u64,
    /// Of the pending: not folded yet.
    pub unfolded: u64,
    /// Orders with a result whose event retention has taken; not among the accepted.
    pub older: u64,
    /// Orders accepted before the oldest result that is left, without one; not among the accepted.
    pub untold: u64,
    /// Events that lay in another partition than their order's.
    pub misplaced: u64,
}

impl Figures {
    /// Adds another shard, or more of the same.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.settled += other.settled;
        self.exhausted += other.exhausted;
        self.pending += other.pending;
        self.unfolded += other.unfolded;
        self.older += other.older;
        self.untold += other.untold;
        self.misplaced += other.misplaced;
    }
}

/// One shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ShardFigures {
    /// Its number.
    pub shard: u16,
    /// Where its orders stand.
    #[serde(flatten)]
    pub figures: Figures,
    /// Its differences, but for events that were not forwarded.
    pub differences: u64,
}

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Shard by shard.
    pub shards: Vec<ShardFigures>,
    /// Everything that does not add up.
    pub differences: Tally,
    /// Misplaced events in partitions beyond the shards.
    pub in_inlets: u64,
}

impl Report {
    /// The sum over the shards.
    pub fn sum(&self) -> Figures {
        let mut sum = Figures {
            misplaced: self.in_inlets,
            ..Figures::default()
        };
        for shard in &self.shards {
            sum.add(&shard.figures);
        }
        sum
    }

    /// As one JSON document.
    ///
    /// # Errors
    /// None that is known of: names and numbers only.
    pub fn to_json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Document<'a> {
            sum: Figures,
            shards: &'a [ShardFigures],
            differences: &'a std::collections::BTreeMap<Kind, u64>,
            examples: Vec<&'a Difference>,
        }
        serde_json::to_string(&Document {
            sum: self.sum(),
            shards: &self.shards,
            differences: self.differences.counts(),
            examples: self.differences.examples().collect(),
        })
    }
}
