//! How many orders of a type this worker may hold claimed: what it can start before the next claim,
//! and no more, so that a slow owner's orders stay in their buckets and not in this process.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Seconds of the ceiling that may be claimed ahead: a bucket's second and the quarter by which it
/// is claimed early.
const AHEAD_SECONDS: f64 = 1.25;

/// The claimed orders of one type, shard by shard. Reports are absolute, so that nothing can leak.
#[derive(Debug)]
pub(super) struct Budget {
    per_second: f64,
    limit: u32,
    in_flight: u32,
    claimed: AtomicU32,
    by_shard: Box<[AtomicU32]>,
}

/// How a type's questions go on this worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// Questions that wait for their start.
    pub(super) overdue: usize,
    /// Questions of shards that are in flight.
    pub(super) in_flight: u32,
    /// Questions of shards that this worker started in the last second.
    pub(super) pace: u32,
    /// So many a second may start in the whole cluster; `None`: as configured.
    pub(super) slowed_to: Option<f64>,
}

impl Budget {
    #[expect(clippy::cast_sign_loss, reason = "the engine checked it: above 0")]
    pub(super) fn new(per_second: f64, in_flight: u32) -> Self {
        Self {
            per_second,
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

    /// How many more may be claimed while `standing` is so.
    #[expect(clippy::cast_sign_loss, reason = "a rate is positive")]
    pub(super) fn permits(&self, standing: Standing) -> u32 {
        if standing.overdue > self.in_flight as usize {
            return 0;
        }
        let ahead = |per_second: f64| (per_second * AHEAD_SECONDS).ceil() as u32;
        let usual = ahead(self.per_second);
        // Where others take most of the ceiling, or the owner is slow, what could be started by the
        // ceiling alone would wait here until its lease ends.
        let paced = standing.pace.saturating_mul(2).max(usual / 5 + 2);
        let slowed = standing.slowed_to.map_or(usual, ahead);
        let limit = paced.min(usual).min(slowed);
        (limit + standing.in_flight)
            .min(self.limit)
            .saturating_sub(self.claimed.load(Relaxed))
    }

    /// Lends `permits` to a shard until its next report; fewer, where others were faster.
    pub(super) fn lend(&self, shard: u16, permits: u32) -> u32 {
        let Some(slot) = self.by_shard.get(usize::from(shard)) else {
            return 0;
        };
        let mut lent = 0;
        let taken = self.claimed.fetch_update(Relaxed, Relaxed, |claimed| {
            lent = permits.min(self.limit.saturating_sub(claimed));
            Some(claimed + lent)
        });
        if taken.is_err() {
            return 0;
        }
        slot.fetch_add(lent, Relaxed);
        lent
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

    fn standing(in_flight: u32, pace: u32) -> Standing {
        Standing {
            in_flight,
            pace,
            ..Standing::default()
        }
    }

    #[test]
    fn the_budget_is_what_can_start_in_the_next_second_and_a_quarter_and_what_is_in_flight() {
        let budget = Budget::new(100.0, 64);
        assert_eq!(budget.permits(standing(0, 0)), 27, "a beginning");
        assert_eq!(budget.permits(standing(0, 20)), 40, "twice the pace");
        assert_eq!(budget.permits(standing(0, 90)), 125, "the ceiling");
        assert_eq!(budget.permits(standing(64, 100)), 125 + 64);
        budget.report(3, 100);
        budget.report(4, 80);
        assert_eq!(budget.permits(standing(64, 100)), 9);
        budget.report(3, 200);
        assert_eq!(budget.permits(standing(64, 100)), 0);
        budget.report(3, 0);
        budget.report(4, 0);
        assert_eq!(budget.permits(standing(64, 100)), 125 + 64);
    }

    #[test]
    fn nothing_is_claimed_while_more_questions_wait_than_can_be_in_flight() {
        let budget = Budget::new(100.0, 64);
        let waiting = |overdue| Standing {
            overdue,
            ..standing(0, 100)
        };
        assert_eq!(budget.permits(waiting(64)), 125);
        assert_eq!(budget.permits(waiting(65)), 0);
    }

    #[test]
    fn where_few_may_start_few_are_claimed() {
        let slowed = |per_second| Standing {
            slowed_to: Some(per_second),
            ..standing(0, 100)
        };
        let budget = Budget::new(100.0, 64);
        assert_eq!(budget.permits(slowed(1.0)), 2);
        assert_eq!(budget.permits(slowed(12.5)), 16);
        budget.report(3, 2);
        assert_eq!(budget.permits(slowed(1.0)), 0);
        assert_eq!(Budget::new(0.1, 1).permits(slowed(0.1)), 1);
    }

    #[test]
    fn what_is_lent_to_one_shard_is_not_lent_to_another_until_it_reports() {
        let budget = Budget::new(100.0, 75);
        assert_eq!(budget.lend(0, 150), 150);
        assert_eq!(budget.permits(standing(75, 100)), 50);
        assert_eq!(budget.lend(1, 150), 50);
        assert_eq!(budget.lend(2, 1), 0);
        budget.report(0, 30);
        assert_eq!(budget.lend(2, 150), 120);
        for shard in 0..3 {
            budget.report(shard, 0);
        }
        assert_eq!(budget.permits(standing(75, 100)), 200);
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
        assert_eq!(budget.permits(standing(1, 1)), budget.limit());
    }
}
