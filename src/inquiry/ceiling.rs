//! The start times that this worker reserved from an order type's ceiling. Pure: the dispatcher
//! passes the time in, fetches blocks from the store and starts a question only on a slot of one.
//!
//! A block is laid from the moment its reply arrived, so that no slot comes early, and forfeited by
//! the moment it was requested, so that a slow store cannot pile two blocks onto one instant.

use std::collections::VecDeque;

use crate::store::Slots;

/// A slot that is this late is lost; the owner must not get a stall's questions all at once.
const FORFEIT_US: u64 = 100_000;

/// The most slots a block, whatever the ceiling.
const BLOCK_MAX: u32 = 250;

/// How far ahead of demand a block reaches, so that a steady trickle of questions costs the store
/// one command per 10 ms rather than one per question.
const AHEAD_US: u64 = 10_000;

/// Reserved start times of one order type.
#[derive(Debug)]
pub(super) struct Ceiling {
    spacing_ns: u64,
    /// The most slots that are asked for at once.
    block_max: u32,
    blocks: VecDeque<Block>,
    used_since_asked: u32,
    asked_at_us: u64,
}

/// A run of slots, `spacing` apart.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// The next slot, by the moment the reply arrived, and by the moment it was requested.
    next_ns: u64,
    next_if_no_delay_ns: u64,
    left: u32,
}

impl Ceiling {
    /// `per_second` is checked by the engine: finite and above 0.
    #[expect(
        clippy::cast_sign_loss,
        reason = "positive; a rate below one a century saturates"
    )]
    pub(super) fn new(per_second: f64) -> Self {
        Self {
            spacing_ns: ((1e9 / per_second) as u64).max(1),
            // A tenth of a second's worth: ten workers that all have a backlog get their turn.
            block_max: ((per_second / 10.0) as u32).clamp(1, BLOCK_MAX),
            blocks: VecDeque::with_capacity(2),
            used_since_asked: 0,
            asked_at_us: 0,
        }
    }

    /// The next slot in microseconds, which may have passed; those too late are dropped. `None`:
    /// a block must be reserved first.
    pub(super) fn next(&mut self, now_us: u64) -> Option<u64> {
        let oldest_ns = now_us.saturating_sub(FORFEIT_US) * 1000;
        while let Some(block) = self.blocks.front_mut() {
            let late_ns = oldest_ns.saturating_sub(block.next_if_no_delay_ns);
            let lost = late_ns.div_ceil(self.spacing_ns);
            if lost < u64::from(block.left) {
                block.skip(lost as u32, self.spacing_ns);
                return Some(block.next_ns.div_ceil(1000));
            }
            self.blocks.pop_front();
        }
        None
    }

    /// Uses the slot that [`Ceiling::next`] returned.
    pub(super) fn take(&mut self) {
        if let Some(block) = self.blocks.front_mut() {
            block.skip(1, self.spacing_ns);
            if block.left == 0 {
                self.blocks.pop_front();
            }
            self.used_since_asked = self.used_since_asked.saturating_add(1);
        }
    }

    /// How many slots to reserve for `waiting` questions; 0: enough are at hand. Half a block is
    /// kept in hand while more questions wait, so that the way to the store costs no start time.
    pub(super) fn wanted(&self, waiting: u32, now_us: u64) -> u32 {
        let left: u32 = self.blocks.iter().map(|block| block.left).sum();
        if waiting <= left || left > self.block_max / 2 {
            return 0;
        }
        let since_us = now_us.saturating_sub(self.asked_at_us).max(1000);
        let ahead = u64::from(self.used_since_asked) * AHEAD_US / since_us;
        u64::from(waiting - left)
            .saturating_add(ahead)
            .min(u64::from(self.block_max)) as u32
    }

    /// Notes that a block was requested.
    pub(super) fn asked(&mut self, now_us: u64) {
        self.asked_at_us = now_us;
        self.used_since_asked = 0;
    }

    /// Adds a block that was requested at `sent_us` and came at `came_us`.
    pub(super) fn add(&mut self, slots: Slots, sent_us: u64, came_us: u64) {
        if slots.count > 0 {
            self.blocks.push_back(Block {
                next_ns: (came_us + slots.first_in_us) * 1000,
                next_if_no_delay_ns: (sent_us + slots.first_in_us) * 1000,
                left: slots.count,
            });
        }
    }
}

impl Block {
    fn skip(&mut self, count: u32, spacing_ns: u64) {
        let by = u64::from(count).saturating_mul(spacing_ns);
        self.next_ns = self.next_ns.saturating_add(by);
        self.next_if_no_delay_ns = self.next_if_no_delay_ns.saturating_add(by);
        self.left -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The store's side: the next free start time, on the store's own clock.
    #[derive(Default)]
    struct Shared {
        free_ns: u64,
    }

    impl Shared {
        fn reserve(&mut self, wanted: u32, per_second: u64, now_us: u64) -> Slots {
            let (at, spacing) = (now_us * 1000, 1_000_000_000 / per_second);
            let first = self.free_ns.max(at);
            let room = (at + 1_000_000_000).saturating_sub(first) / spacing;
            let count = u64::from(wanted).min(room);
            if count > 0 {
                self.free_ns = first + count * spacing;
            }
            Slots {
                first_in_us: (first - at).div_ceil(1000),
                count: count as u32,
            }
        }
    }

    fn slots(first_in_us: u64, count: u32) -> Slots {
        Slots { first_in_us, count }
    }

    #[test]
    fn slots_are_spaced_and_none_comes_before_its_time() {
        let mut ceiling = Ceiling::new(100.0);
        assert_eq!(ceiling.next(0), None);
        ceiling.add(slots(5_000, 3), 900, 1_000);
        for expected in [6_000, 16_000, 26_000] {
            assert_eq!(ceiling.next(2_000), Some(expected));
            ceiling.take();
        }
        assert_eq!(ceiling.next(2_000), None);
    }

    #[test]
    fn a_slot_missed_by_a_tenth_of_a_second_is_forfeited() {
        let mut ceiling = Ceiling::new(100.0);
        ceiling.add(slots(0, 10), 1_000_000, 1_000_000);
        assert_eq!(ceiling.next(1_100_000), Some(1_000_000));
        assert_eq!(ceiling.next(1_100_001), Some(1_010_000));
        assert_eq!(ceiling.next(1_145_000), Some(1_050_000));
        assert_eq!(ceiling.next(1_190_001), None);
    }

    #[test]
    fn a_reply_that_took_too_long_forfeits_its_early_slots() {
        let mut ceiling = Ceiling::new(100.0);
        ceiling.add(slots(0, 10), 1_000_000, 1_130_000);
        // Three slots lie more than 100 ms behind the moment of the request.
        assert_eq!(ceiling.next(1_130_000), Some(1_160_000));
    }

    #[test]
    fn a_block_is_what_waits_and_ten_milliseconds_of_what_was_used_but_never_a_tenth_of_a_second() {
        let mut ceiling = Ceiling::new(5_000.0);
        assert_eq!(ceiling.wanted(0, 0), 0);
        assert_eq!(ceiling.wanted(7, 0), 7);
        assert_eq!(ceiling.wanted(9_999, 0), 250);
        ceiling.asked(0);
        ceiling.add(slots(0, 50), 0, 0);
        for _ in 0..50 {
            assert!(ceiling.next(0).is_some());
            ceiling.take();
        }
        // 50 in 10 ms: as many again, and the one that waits.
        assert_eq!(ceiling.wanted(1, 10_000), 51);
        ceiling.asked(10_000);
        ceiling.add(slots(0, 51), 10_000, 10_000);
        assert_eq!(ceiling.wanted(1, 10_000), 0, "enough at hand");
        assert_eq!(Ceiling::new(100.0).wanted(500, 0), 10);
        assert_eq!(Ceiling::new(0.5).wanted(500, 0), 1);
    }

    /// Three workers with endless backlogs, one of which stalls now and then, for 20 s of virtual
    /// time, each way to the store taking 0 to 40 ms.
    #[test]
    fn no_sliding_second_sees_more_than_the_ceiling_two_percent_and_a_block() {
        for (seed, per_second) in [(1_u64, 40_u64), (2, 500), (3, 4_000)] {
            let mut random = seed;
            let mut draw = move |below: u64| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let mut shared = Shared::default();
            let mut workers: Vec<_> = (0..3).map(|_| Ceiling::new(per_second as f64)).collect();
            let mut replies: Vec<Option<(Slots, u64, u64)>> = vec![None; 3];
            let mut stalled_until = [0; 3];
            let mut starts = Vec::new();
            for now_us in (0..20_000_000_u64).step_by(1000) {
                for (i, worker) in workers.iter_mut().enumerate() {
                    if now_us < stalled_until[i] {
                        continue;
                    }
                    if draw(2_000) == 0 {
                        stalled_until[i] = now_us + draw(300_000);
                    }
                    if let Some((slots, sent, came)) = replies[i]
                        && came <= now_us
                    {
                        worker.add(slots, sent, now_us);
                        replies[i] = None;
                    }
                    while worker.next(now_us).is_some_and(|slot| slot <= now_us) {
                        worker.take();
                        starts.push(now_us);
                    }
                    let wanted = worker.wanted(10_000, now_us);
                    if wanted > 0 && replies[i].is_none() {
                        let way = draw(20_000);
                        let slots = shared.reserve(wanted, per_second, now_us + way);
                        worker.asked(now_us);
                        replies[i] = Some((slots, now_us, now_us + way + draw(20_000)));
                    }
                }
            }
            let mut first = 0;
            let mut most = 0;
            for (last, at) in starts.iter().enumerate() {
                while starts[first] + 1_000_000 <= *at {
                    first += 1;
                }
                most = most.max(last - first + 1);
            }
            let block = (per_second / 10).clamp(1, 250);
            let allowed = per_second + per_second / 50 + block;
            assert!(
                most as u64 <= allowed,
                "seed {seed}: {most} starts in a second, at most {allowed} are promised"
            );
            let total = starts.len() as u64;
            assert!(
                total >= per_second * 20 * 8 / 10,
                "seed {seed}: only {total} of {} start times were used",
                per_second * 20
            );
        }
    }
}
