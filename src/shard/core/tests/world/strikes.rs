//! The faults of a storm, as they strike.

use super::said::{SHARD, Said};
use super::storage::FAILOVER_MAX;
use super::storm::Fault;
use super::{Happening, World};
use crate::domain::order::Millis;
use crate::domain::status::Open;
use crate::shard::core::Phase;
use crate::shard::core::plan::TypePlan;
use crate::shard::core::tests::order_types::types;

/// Longer than the shorter window.
pub const NIGHT: Millis = 7_200_000;

impl World {
    pub(super) fn strike(&mut self) {
        if self.now >= self.storm_ends || self.storm.strikes.iter().all(|(weight, _)| *weight == 0)
        {
            return;
        }
        let fault = self.dice.weighted(&self.storm.strikes);
        let next =
            self.dice.between(100, 12_000) + if fault == Fault::LongNight { NIGHT } else { 0 };
        self.at(next, Happening::Strike);
        self.note(|| format!("STRIKE {fault:?}"));
        self.saw(&format!("strike {fault:?}"));
        let other = |owner: Option<usize>| 1 - owner.unwrap_or(0);
        match fault {
            Fault::Crash => {
                let victim = if self.dice.in_thousand(800) {
                    self.owner.unwrap_or(0)
                } else {
                    other(self.owner)
                };
                self.crash(victim);
            }
            Fault::Pause => {
                let victim = self.owner.unwrap_or(0);
                self.workers[victim].paused_until = self.now + self.dice.between(50, 12_000);
            }
            Fault::Move => self.hand_on(true),
            Fault::SilentMove => self.hand_on(false),
            Fault::Snapshot => {
                self.snapshots.push(self.store.snapshot(SHARD));
                if self.snapshots.len() > 3 {
                    self.snapshots.remove(0);
                }
            }
            Fault::Rollback => self.roll_back(),
            Fault::Wipe => self.lose_view(),
            Fault::Unavailable => self.unavailable_until = self.now + self.dice.between(10, 10_000),
            Fault::Full => self.full_until = self.now + self.dice.between(10, 10_000),
            Fault::LongNight => self.long_night(),
            Fault::Split => self.split(),
            Fault::ClockStep => self.step_a_clock(),
            Fault::BankAway => {
                self.bank.away_until = self.now + self.dice.between(500, 20_000);
                self.bank.hangs = self.dice.in_thousand(500);
            }
            Fault::Reload => {
                let victim = self.owner.unwrap_or(0);
                let mut types = types();
                let out = self.dice.below(types.len() as u64) as usize;
                // Where no more unknown types are taken, its events become dead letters.
                if self.plan.unknown_types >= types.len() {
                    types.remove(out);
                }
                self.replan(victim, types);
                let back = self.dice.between(500, 15_000);
                self.at(back, Happening::Reload(victim));
            }
        }
    }

    /// A worker reads its configuration again.
    pub(super) fn replan(&mut self, worker: usize, types: Vec<TypePlan>) {
        self.workers[worker].core.replan(types);
        self.wake_in(worker, 0);
    }

    /// The shard moves; the old owner knows, or notices later.
    fn hand_on(&mut self, known: bool) {
        let old = self.owner.unwrap_or(0);
        let new = 1 - old;
        if !self.workers[new].alive || !self.workers[old].alive {
            return;
        }
        if known {
            self.revoke(old);
        } else {
            let (life, late) = (self.workers[old].life, self.dice.between(1, 15_000));
            self.at(late, Happening::Notice(old, life));
        }
        self.assign(new);
    }

    /// A recovery has begun; something may strike before it is over.
    pub(super) fn interrupt_soon(&mut self, worker: usize) {
        if self.fails(self.storm.interruptions) {
            let most = self.dice.weighted(&[(2, 40), (1, 400)]);
            let soon = self.dice.between(1, most);
            self.at(soon, Happening::Interrupt(worker));
        }
    }

    pub(super) fn interrupt(&mut self, worker: usize) {
        if self.now >= self.storm_ends || self.owner != Some(worker) {
            return;
        }
        let own = &self.workers[worker];
        if own.core.phase() != Phase::Open {
            let rebuilding = self.store.meta_now(SHARD, self.now);
            if rebuilding.is_ok_and(|meta| meta.is_some_and(|meta| meta.rebuild.is_some())) {
                self.saw("rebuild interrupted");
            }
        }
        match self.dice.below(6) {
            0 | 1 => self.crash(worker),
            2 => self.hand_on(true),
            3 => self.hand_on(false),
            4 if self.storm.has(Fault::Rollback) => self.roll_back(),
            5 if self.storm.has(Fault::Wipe) => self.lose_view(),
            _ => {}
        }
    }

    fn roll_back(&mut self) {
        let old = self.snapshots.iter();
        let views: Vec<_> = if self.snapshots.is_empty() || self.dice.in_thousand(500) {
            let since = self.now.saturating_sub(FAILOVER_MAX);
            let recent = self.recent.iter().filter(|(at, _)| *at >= since);
            recent.map(|(_, view)| view).collect()
        } else {
            old.collect()
        };
        if !views.is_empty() {
            let one = self.dice.below(views.len() as u64) as usize;
            self.store.restore(SHARD, views[one].clone());
            self.watch.forget_effects();
        }
    }

    pub(super) fn lose_view(&mut self) {
        self.store.wipe(SHARD);
        self.watch.forget_effects();
    }

    pub(super) fn crash(&mut self, victim: usize) {
        if self.workers[victim].alive {
            self.workers[victim].die(&self.plan);
            let back = self.dice.between(100, 10_000);
            self.at(back, Happening::Restart(victim));
            let noticed = self.dice.between(100, 8_000);
            self.at(noticed, Happening::Group);
        }
    }

    /// Everybody is away for longer than the shorter window; what was said meanwhile waits.
    pub(super) fn long_night(&mut self) {
        for worker in 0..self.workers.len() {
            self.workers[worker].die(&self.plan);
            let back = NIGHT + self.dice.below(10_000);
            self.at(back, Happening::Restart(worker));
        }
        self.storm_ends += NIGHT;
        // Business systems go on, and some repeat what was settled before.
        for (key, (status, _)) in self.watch.settled.clone() {
            let when = self.dice.below(NIGHT / 4);
            let said = match self.dice.below(6) {
                0 => Said::pending(&key, self.now + when, Open::InProgress),
                1 | 2 => Said::settle(&key, self.now + when, status),
                _ => continue,
            };
            self.at(when, Happening::Emit(said));
        }
        // Nobody notices before the morning.
        match self.dice.below(4) {
            0 | 1 => self.lose_view(),
            2 => self.roll_back(),
            _ => {}
        }
        // One is enough.
        self.storm
            .strikes
            .retain(|(_, fault)| *fault != Fault::LongNight);
    }
}
