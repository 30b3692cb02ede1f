//! Questions by the time of their arrival: the busiest sliding second, the fullest slot of 100 ms, and
//! the bank's own limit.

use crate::domain::order::Millis;

/// Arrivals of the last second, millisecond by millisecond.
#[derive(Debug)]
pub(super) struct Window {
    per_ms: Box<[u32; 1000]>,
    now: Millis,
    sum: u64,
    /// The most arrivals within any 1000 consecutive milliseconds.
    pub(super) most: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            per_ms: Box::new([0; 1000]),
            now: 0,
            sum: 0,
            most: 0,
        }
    }
}

impl Window {
    pub(super) fn add(&mut self, now: Millis) {
        self.move_to(now);
        self.per_ms[(self.now % 1000) as usize] += 1;
        self.sum += 1;
        self.most = self.most.max(self.sum);
    }

    /// Arrivals within the 1000 milliseconds up to `now`.
    fn sum(&mut self, now: Millis) -> u64 {
        self.move_to(now);
        self.sum
    }

    fn move_to(&mut self, now: Millis) {
        for passed in 0..now.saturating_sub(self.now).min(1000) {
            let left = &mut self.per_ms[((self.now + 1 + passed) % 1000) as usize];
            self.sum -= u64::from(*left);
            *left = 0;
        }
        self.now = self.now.max(now);
    }
}

/// Arrivals by slots of 100 ms.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slot: Millis,
    count: u64,
    /// The most arrivals within one slot.
    pub(super) most: u64,
}

impl Slots {
    /// Slots begin at multiples of 100 ms of `at`; it does not go back.
    pub(super) fn add(&mut self, at: Millis) {
        if self.slot != at / 100 {
            self.slot = at / 100;
            self.count = 0;
        }
        self.count += 1;
        self.most = self.most.max(self.count);
    }
}

/// The longest that a question waits for its turn.
const QUEUE_MAX_US: u64 = 10_000_000;

/// So many questions a second and no more.
#[derive(Debug, Default)]
pub(super) struct Limit {
    taken: Window,
    free_at_us: u64,
}

impl Limit {
    /// Takes a question at once, unless as many were taken within the last second.
    pub(super) fn takes(&mut self, max_per_second: u32, now: Millis) -> bool {
        let takes = self.taken.sum(now) < u64::from(max_per_second);
        if takes {
            self.taken.add(now);
        }
        takes
    }

    /// Takes a question one after the other, evenly: how long it waits in microseconds; `None` when
    /// that would be more than ten seconds.
    pub(super) fn queues(&mut self, max_per_second: u32, now_us: u64) -> Option<u64> {
        let turn_us = self.free_at_us.max(now_us);
        let wait_us = turn_us - now_us;
        (wait_us <= QUEUE_MAX_US).then(|| {
            self.free_at_us = turn_us + 1_000_000 / u64::from(max_per_second.max(1));
            wait_us
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_knows_the_busiest_thousand_milliseconds() {
        let mut window = Window::default();
        for at in [5, 900, 999, 1004] {
            window.add(at);
        }
        assert_eq!(window.most, 4, "5 to 1004 are 1000 milliseconds");
        window.add(1005);
        assert_eq!(window.most, 4);
        for _ in 0..5 {
            window.add(1_000_000);
        }
        assert_eq!(window.most, 5);
    }

    #[test]
    fn the_fullest_slot_is_one_of_a_hundred_milliseconds() {
        let mut slots = Slots::default();
        for at in [99, 100, 150, 199, 200, 201] {
            slots.add(at);
        }
        assert_eq!(slots.most, 3);
    }

    #[test]
    fn no_sliding_second_takes_more_than_the_limit() {
        let mut limit = Limit::default();
        let taken: Vec<_> = (0..30)
            .map(|n| n * 100)
            .filter(|at| limit.takes(5, *at))
            .collect();
        assert_eq!(
            taken,
            [
                0, 100, 200, 300, 400, 1000, 1100, 1200, 1300, 1400, 2000, 2100, 2200, 2300, 2400
            ]
        );
    }

    #[test]
    fn who_queues_waits_for_its_turn_ten_seconds_at_most() {
        let mut limit = Limit::default();
        let waits: Vec<_> = (0..4).map(|_| limit.queues(100, 5_000)).collect();
        assert_eq!(waits, [Some(0), Some(10_000), Some(20_000), Some(30_000)]);
        assert_eq!(limit.queues(100, 1_000_000), Some(0));
        let taken = (0..5_000).filter_map(|_| limit.queues(100, 1_000_000));
        assert_eq!(taken.count(), 1_000);
    }
}
