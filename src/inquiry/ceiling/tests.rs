use super::*;
use crate::clock::Clock;
use crate::domain::order::TypeName;
use crate::store::ceiling::{Breaker, Heard, Known, Reserve};
use crate::store::memory::MemoryStore;

fn slots(first_in_us: u64, counts: ByShare<u32>, spacing_us: u64) -> Slots {
    Slots {
        first_in_us,
        counts,
        spacing_us,
        held_us: 0,
        known: Known {
            born_us: 1,
            at_us: 1,
            breaker: Breaker::Closed,
        },
    }
}

/// Slots of the rest, 10 ms apart.
fn rest(first_in_us: u64, count: u32) -> Slots {
    slots(first_in_us, [0, 0, count], 10_000)
}

#[test]
fn slots_are_spaced_and_none_comes_before_its_time() {
    let mut ceiling = Ceiling::new(100.0);
    assert_eq!(ceiling.next(0), None);
    ceiling.add(&rest(5_000, 3), 900, 1_000);
    assert_eq!(ceiling.nth(2), Some(26_000));
    assert_eq!(ceiling.nth(3), None);
    for expected in [6_000, 16_000, 26_000] {
        assert_eq!(ceiling.next(2_000), Some(expected));
        ceiling.take(Share::Rest);
    }
    assert_eq!(ceiling.next(2_000), None);
}

#[test]
fn a_slot_missed_by_a_tenth_of_a_second_is_forfeited() {
    let mut ceiling = Ceiling::new(100.0);
    ceiling.add(&rest(0, 10), 1_000_000, 1_000_000);
    assert_eq!(ceiling.next(1_100_000), Some(1_000_000));
    assert_eq!(ceiling.next(1_100_001), Some(1_010_000));
    assert_eq!(ceiling.next(1_145_000), Some(1_050_000));
    assert_eq!(ceiling.credit(Share::Rest), 5, "what is lost is no credit");
    assert_eq!(ceiling.next(1_190_001), None);
    assert_eq!(ceiling.credit(Share::Rest), 0);
}

#[test]
fn a_reply_that_took_too_long_forfeits_its_early_slots() {
    let mut ceiling = Ceiling::new(100.0);
    ceiling.add(&rest(0, 10), 1_000_000, 1_130_000);
    // Three slots lie more than 100 ms behind the moment of the request.
    assert_eq!(ceiling.next(1_130_000), Some(1_160_000));
}

#[test]
fn a_block_is_what_waits_and_ten_milliseconds_of_what_was_used_but_never_a_tenth_of_a_second() {
    let mut ceiling = Ceiling::new(10_000.0);
    assert_eq!(ceiling.wanted([0, 0, 7], 0), [0, 0, 7]);
    assert_eq!(ceiling.wanted([0, 0, 9_999], 0), [0, 0, 250]);
    ceiling.asked(0);
    ceiling.add(&slots(0, [0, 0, 50], 100), 0, 0);
    for _ in 0..50 {
        assert!(ceiling.next(0).is_some());
        ceiling.take(Share::Rest);
    }
    // 50 in 10 ms: as many again, and the one that waits.
    assert_eq!(ceiling.wanted([0, 0, 1], 10_000), [0, 0, 51]);
    ceiling.asked(10_000);
    ceiling.add(&slots(0, [0, 0, 51], 100), 10_000, 10_000);
    assert_eq!(ceiling.wanted([0, 0, 1], 10_000), [0; 3], "enough at hand");
    assert_eq!(Ceiling::new(100.0).wanted([0, 0, 500], 0), [0, 0, 10]);
    assert_eq!(Ceiling::new(0.5).wanted([0, 0, 500], 0), [0, 0, 1]);
}

/// One worker of a world in which all share a ceiling.
struct Worker {
    ceiling: Ceiling,
    reply: Option<(Slots, u64, u64)>,
    from_us: u64,
    stalled_until: u64,
}

struct World {
    store: MemoryStore,
    per_second: u64,
    /// The owner is as good as gone between these microseconds.
    outage: (u64, u64),
    random: u64,
}

impl World {
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// `waiting` of each share for ever, each way to the store taking 0 to 20 ms, workers that stall
    /// now and then; worker `n` comes at `n * join_us`. The moments at which questions started, by
    /// share.
    fn run(&mut self, workers: u64, join_us: u64, waiting: ByShare<u32>) -> Vec<(u64, Share)> {
        let name = TypeName::new("transfer").unwrap();
        let mut all: Vec<Worker> = Vec::new();
        let mut starts = Vec::new();
        let mut heard = Heard::default();
        for now_us in (0..20_000_000_u64).step_by(1000) {
            if (all.len() as u64) < workers && now_us >= all.len() as u64 * join_us {
                all.push(Worker {
                    ceiling: Ceiling::new(self.per_second as f64),
                    reply: None,
                    from_us: 0,
                    stalled_until: 0,
                });
            }
            for worker in &mut all {
                if now_us < worker.stalled_until {
                    continue;
                }
                if self.draw(2_000) == 0 {
                    worker.stalled_until = now_us + self.draw(300_000);
                }
                if let Some((slots, sent, came)) = &worker.reply
                    && *came <= now_us
                {
                    worker.ceiling.add(slots, *sent, now_us);
                    if slots.count() == 0 {
                        worker.from_us = now_us + 5_000;
                    }
                    worker.reply = None;
                }
                while worker
                    .ceiling
                    .next(now_us)
                    .is_some_and(|slot| slot <= now_us)
                {
                    let share = Share::ALL
                        .into_iter()
                        .find(|share| worker.ceiling.credit(*share) > 0)
                        .unwrap();
                    worker.ceiling.take(share);
                    starts.push((now_us, share));
                    if (self.outage.0..self.outage.1).contains(&now_us) {
                        heard.failures += 1;
                    } else {
                        heard = Heard {
                            answered: true,
                            failures: 0,
                        };
                    }
                }
                let wanted = worker.ceiling.wanted(waiting, now_us);
                if wanted != [0; 3] && worker.reply.is_none() && now_us >= worker.from_us {
                    let (way, back) = (self.draw(20_000), self.draw(20_000));
                    let reserve = Reserve {
                        wanted,
                        most: worker.ceiling.block_max(),
                        per_second: self.per_second as f64,
                        parts: [0.2, 0.5, 0.3],
                        heard: std::mem::take(&mut heard),
                        hold_us: 0,
                        known: None,
                    };
                    let slots = self.store.reserve_now(&name, &reserve, now_us + way);
                    worker.ceiling.asked(now_us);
                    worker.reply = Some((slots, now_us, now_us + way + back));
                }
            }
        }
        starts
    }
}

fn world(seed: u64, per_second: u64) -> World {
    World {
        store: MemoryStore::new(Clock::start()),
        per_second,
        outage: (0, 0),
        random: seed,
    }
}

/// The most starts in any sliding second.
fn peak(starts: &[(u64, Share)]) -> u64 {
    let (mut first, mut most) = (0, 0);
    for (last, (at, _)) in starts.iter().enumerate() {
        while starts[first].0 + 1_000_000 <= *at {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most as u64
}

fn promised(per_second: u64) -> u64 {
    per_second + per_second / 50 + (per_second / 10).clamp(1, 250)
}

#[test]
fn no_sliding_second_sees_more_than_the_ceiling_two_percent_and_a_block() {
    for (seed, per_second) in [(1, 40), (2, 500), (3, 4_000)] {
        for waiting in [[0, 0, 10_000], [10_000, 10_000, 10_000]] {
            let starts = world(seed, per_second).run(3, 0, waiting);
            let most = peak(&starts);
            assert!(
                most <= promised(per_second),
                "seed {seed}: {most} starts in a second, at most {} are promised",
                promised(per_second)
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

#[test]
fn workers_that_join_in_the_middle_of_an_outage_add_nothing_to_the_ceiling() {
    for (seed, per_second) in [(4, 40), (5, 500), (6, 4_000)] {
        let mut world = world(seed, per_second);
        world.outage = (2_000_000, 12_000_000);
        let starts = world.run(3, 4_000_000, [0, 0, 10_000]);
        let most = peak(&starts);
        assert!(most <= promised(per_second), "seed {seed}: {most}");
        let probes = starts
            .iter()
            .filter(|(at, _)| (4_000_000..12_000_000).contains(at));
        let probes = probes.count();
        assert!((6..=9).contains(&probes), "seed {seed}: {probes} in 8 s");
        let after = starts.iter().filter(|(at, _)| *at > 14_000_000).count() as u64;
        assert!(
            after >= per_second / 8 * 4,
            "seed {seed}: {after} afterwards"
        );
    }
}

#[test]
fn each_share_gets_its_part_and_what_the_others_leave() {
    let count = |starts: &[(u64, Share)], share: Share| {
        starts.iter().filter(|(_, of)| *of == share).count() as f64 / starts.len() as f64
    };
    let starts = world(7, 500).run(3, 0, [10_000, 10_000, 10_000]);
    for (share, least) in Share::ALL.into_iter().zip([0.15, 0.35, 0.15]) {
        let part = count(&starts, share);
        assert!(part >= least, "{share:?} got {part}");
    }
    for waiting in [[10_000, 0, 0], [0, 10_000, 0], [0, 0, 10_000]] {
        let starts = world(8, 500).run(3, 0, waiting);
        assert!(starts.len() > 500 * 20 * 8 / 10, "{}", starts.len());
    }
}
