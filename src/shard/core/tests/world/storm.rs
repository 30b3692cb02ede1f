//! Which faults a world has, and how often: each seed turns some kinds on, so that rare pairs meet.

use super::dice::Dice;

/// A fault that strikes at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The owner's process dies with all its memory.
    Crash,
    /// The owner's process stands still for a while.
    Pause,
    /// The shard moves, the old owner knows.
    Move,
    /// The shard moves, the old owner does not know yet.
    SilentMove,
    /// A snapshot of the view is taken.
    Snapshot,
    /// The view goes back to a snapshot.
    Rollback,
    /// The view is gone.
    Wipe,
    /// The store does not answer for a while.
    Unavailable,
    /// The store takes no intake for a while.
    Full,
    /// Nobody runs for hours.
    LongNight,
    /// One worker speaks to a master that the others have given up.
    Split,
    /// The clock of the store or of the brokers steps.
    ClockStep,
    /// The owner of the orders refuses, or hangs, for a while.
    BankAway,
    /// A worker's configuration lacks an order type for a while.
    Reload,
}

/// Kinds of faults and their weights; the rest in thousandths of what could fail.
#[derive(Clone, Debug)]
pub struct Storm {
    pub strikes: Vec<(u64, Fault)>,
    /// Scripts and other requests to the store whose fate is not the usual one.
    pub requests: u64,
    /// Folds that a full store refuses.
    pub full: u64,
    /// Commits that fail, or whose fate is not known.
    pub commits: u64,
    /// Dead letters and forwards that fail.
    pub letters: u64,
    /// Answers of the owner that do not come.
    pub bank: u64,
    /// Answers of the owner that come long after its deadline.
    pub slow: u64,
    /// Batches that are brought twice, the second time late.
    pub repeats: u64,
    /// Wake-ups that come late.
    pub jitter: u64,
    /// Emitters' transactions.
    pub foreign: u64,
    /// Recoveries that are struck while they run.
    pub interruptions: u64,
    /// Floors that are committed late.
    pub floors: u64,
    /// Terminal answers that the owner takes back.
    pub fickle: u64,
    /// Events that come by way of another partition, of another shard's or of an inlet.
    pub strays: u64,
    /// Outcomes that the business system publishes when the owner tells them to us.
    pub echoes: u64,
}

const KINDS: [(u64, Fault); 14] = [
    (6, Fault::Crash),
    (6, Fault::Pause),
    (6, Fault::Move),
    (8, Fault::SilentMove),
    (8, Fault::Snapshot),
    (8, Fault::Rollback),
    (5, Fault::Wipe),
    (4, Fault::Unavailable),
    (3, Fault::Full),
    (3, Fault::LongNight),
    (4, Fault::Split),
    (3, Fault::ClockStep),
    (3, Fault::BankAway),
    (3, Fault::Reload),
];

impl Storm {
    pub fn draw(dice: &mut Dice) -> Self {
        let mut strikes: Vec<_> = KINDS
            .into_iter()
            .filter(|_| dice.in_thousand(450))
            .collect();
        if strikes.iter().any(|(_, kind)| *kind == Fault::Rollback) {
            strikes.push((6, Fault::Snapshot));
        }
        let mut rate = |most: u64| {
            if dice.in_thousand(500) {
                dice.below(most)
            } else {
                0
            }
        };
        Self {
            strikes,
            requests: rate(150),
            full: rate(200),
            commits: rate(500),
            letters: rate(400),
            bank: rate(500),
            slow: rate(500),
            repeats: rate(200),
            jitter: rate(200),
            foreign: rate(300),
            interruptions: rate(400),
            floors: rate(500),
            fickle: rate(500),
            strays: rate(300),
            echoes: rate(600),
        }
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.strikes.iter().any(|(_, kind)| *kind == fault)
    }

    /// No fault at all.
    pub fn none() -> Self {
        Self {
            strikes: Vec::new(),
            requests: 0,
            full: 0,
            commits: 0,
            letters: 0,
            bank: 0,
            slow: 0,
            repeats: 0,
            jitter: 0,
            foreign: 0,
            interruptions: 0,
            floors: 0,
            fickle: 0,
            strays: 0,
            echoes: 0,
        }
    }
}
