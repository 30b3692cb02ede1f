//! How many orders of a type this worker may hold claimed: what it can start before the next claim,
//! and no more, so that a slow owner's orders stay in their buckets and not in this process.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Seconds of the ceiling that may be claimed ahead: a bucket's second and the quarter by which it
/// is claimed early.
const AHEAD_SECONDS: f64 = 1.25;

/// The claimed orders of one type, shard by shard. Reports are absolute, so that nothing can leak.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u32,
    in_flight: u32,
    claimed: AtomicU32,
    by_shard: Box<[AtomicU32]>,
}

impl Budget {
    #[expect(clippy::cast_sign_loss, reason = "the engine checked it: above 0")]
    pub(super) fn new(per_second: f64, in_flight: u32) -> Self {
        Self {
            limit: ((per_second * AHEAD_SECONDS).ceil() as u32).saturating_add(in_flight),
            in_flight,
            claimed: AtomicU32::new(0),
            by_shard: (0..256).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// The most orders that may be claimed at a time.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// How many more may be claimed while `overdue` questions wait for their start.
    pub(super) fn permits(&self, overdue: usize) -> u32 {
        if overdue > self.in_flight as usize {
            return 0;
        }
        self.limit.saturating_sub(self.claimed.load(Relaxed))
    }

    /// Replaces what a shard reported before; a shard that is not one of 256 is not counted.
    pub(super) fn report(&self, shard: u16, claimed: u32) {
        if let Some(slot) = self.by_shard.get(usize::from(shard)) {
            let before = slot.swap(claimed, Relaxed);
            // Wrapping on purpose: adds the difference, whatever its sign.
            self.claimed
                .fetch_add(claimed.wrapping_sub(before), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_the_ceilings_next_second_and_a_quarter_and_what_is_in_flight() {
        let budget = Budget::new(100.0, 64);
        assert_eq!(budget.permits(0), 125 + 64);
        budget.report(3, 100);
        budget.report(4, 80);
        assert_eq!(budget.permits(0), 9);
        budget.report(3, 200);
        assert_eq!(budget.permits(0), 0);
        budget.report(3, 0);
        budget.report(4, 0);
        assert_eq!(budget.permits(0), 125 + 64);
    }

    #[test]
    fn nothing_is_claimed_while_more_questions_wait_than_can_be_in_flight() {
        let budget = Budget::new(100.0, 64);
        assert_eq!(budget.permits(64), 125 + 64);
        assert_eq!(budget.permits(65), 0);
    }

    #[test]
    fn repeated_reports_of_many_shards_leave_no_residue() {
        let budget = Budget::new(1.0, 1);
        for round in 0..100 {
            for shard in 0..256 {
                budget.report(shard, (u32::from(shard) * 7 + round) % 11);
            }
        }
        for shard in 0..256 {
            budget.report(shard, 0);
        }
        budget.report(256, 5);
        assert_eq!(budget.permits(0), budget.limit());
    }
}
