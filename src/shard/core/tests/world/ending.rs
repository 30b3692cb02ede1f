//! How a run ends: the storm, the calm, and what must be true then.

use std::collections::BTreeMap;

use super::super::order_types::types;
use super::clocks::STRAYED_MAX;
use super::said::SHARD;
use super::storm::Storm;
use super::strikes::NIGHT;
use super::{Happening, START, World};
use crate::domain::order::Millis;
use crate::shard::core::Phase;
use crate::store::script::Found;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Tale {
    pub steps: u64,
    pub settled: usize,
    pub exhausted: usize,
    pub questions: u64,
    pub took: Millis,
    pub covered: BTreeMap<String, u64>,
}

impl Tale {
    pub fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.settled += other.settled;
        self.exhausted += other.exhausted;
        self.questions += other.questions;
        self.took += other.took;
        for (what, count) in other.covered {
            *self.covered.entry(what).or_default() += count;
        }
    }
}

impl World {
    /// Runs the storm, then the calm; then a wiped view must be folded again without a new result.
    pub fn run(&mut self) -> Result<Tale, String> {
        while self.now < self.storm_ends {
            if !self.step() {
                break;
            }
        }
        self.calm();
        self.rest()?;
        let before = (self.watch.settled.len(), self.watch.exhausted.len());
        self.note(|| "the view is wiped and folded again".to_owned());
        if self.dice.in_thousand(300) {
            self.floors.clear();
        }
        self.lose_view();
        self.start_over();
        if self.dice.in_thousand(500) {
            self.now += NIGHT;
        }
        self.rest()?;
        let after = (self.watch.settled.len(), self.watch.exhausted.len());
        if before != after {
            return Err(format!(
                "REPLAY: {before:?} resolutions and exhaustions became {after:?}"
            ));
        }
        self.note(|| "days go by".to_owned());
        for worker in &mut self.workers {
            worker.die(&self.plan);
        }
        self.days_pass();
        if self.dice.in_thousand(500) {
            self.floors.clear();
        }
        self.lose_view();
        self.start_over();
        self.rest()?;
        let after = (self.watch.settled.len(), self.watch.exhausted.len());
        if before != after {
            return Err(format!(
                "REPLAY: {before:?} resolutions and exhaustions became {after:?} days later"
            ));
        }
        self.note(|| "retention takes both logs".to_owned());
        let until = self.now + 3_000;
        while self.now < until && self.step() {}
        self.events.trim(self.events.high());
        self.results.trim(self.results.high());
        self.start_over();
        self.rest()?;
        Ok(self.tale())
    }

    /// All processes end and begin again.
    fn start_over(&mut self) {
        for worker in 0..self.workers.len() {
            self.workers[worker].die(&self.plan);
            self.workers[worker].alive = true;
        }
        self.at(0, Happening::Group);
    }

    pub fn tale(&self) -> Tale {
        Tale {
            steps: self.steps,
            settled: self.watch.settled.len(),
            exhausted: self.watch.exhausted.len(),
            questions: self.watch.questions.count,
            took: self.now - START,
            covered: self.covered.clone(),
        }
    }

    /// Faults end: everybody lives, notices and answers.
    pub(super) fn calm(&mut self) {
        self.note(|| "calm".to_owned());
        self.storm = Storm::none();
        (self.bank.trouble, self.bank.fickle, self.bank.away_until) = (0, 0, 0);
        self.heal();
        (self.unavailable_until, self.full_until, self.shaky_until) = (0, 0, 0);
        for worker in 0..self.workers.len() {
            self.workers[worker].paused_until = 0;
            let life = self.workers[worker].life;
            self.workers[worker].alive = true;
            self.replan(worker, types());
            self.at(10, Happening::Notice(worker, life));
        }
        self.at(0, Happening::Group);
    }

    /// Until all is settled or exhausted; within the longest schedule, an owner's longest back-off, a
    /// lease, what a clock strayed and a minute.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        let longest = self
            .plan
            .types
            .iter()
            .map(|known| known.schedule.longest())
            .max()
            .unwrap_or(0);
        // Slow questions after the end, for as long as the owner takes to say something.
        let slow = 20_000 * 8;
        let strayed = if self.clocks.stepped { STRAYED_MAX } else { 0 };
        let latest = self.now + longest + slow + 64_000 + 7_000 + 60_000 + strayed;
        loop {
            let look_again = self.now + 1_000;
            while self.now < look_again && self.violation.is_none() && self.step() {}
            self.now = self.now.max(look_again);
            if let Some(what) = &self.violation {
                return Err(what.clone());
            }
            match self.unfinished() {
                None => break,
                Some(why) if self.now >= latest => return Err(format!("STRANDED: {why}")),
                Some(_) => {}
            }
        }
        self.watch.forget_effects();
        self.look_at_e(self.owner.unwrap_or(0));
        if let Some(what) = self.forgotten() {
            self.hold(Err(what));
        }
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// An exhausted order that the view does not list: nobody will look at it.
    fn forgotten(&self) -> Option<String> {
        let mut open = self.watch.exhausted.iter().filter(|((key, _), offset)| {
            key.order_type.as_str() != "odd"
                && !self.watch.settled.contains_key(key)
                && **offset >= self.results.ends().low
        });
        open.find_map(|((key, phase), _)| match self.store.find_now(SHARD, key) {
            Ok(Found::Open { record, .. }) if record.phase >= *phase => None,
            found => Some(format!(
                "FORGOTTEN: {key} was exhausted in phase {phase}, the view says {found:?}"
            )),
        })
    }

    pub(super) fn unfinished(&self) -> Option<String> {
        let owner = self.owner?;
        let own = &self.workers[owner];
        if own.core.phase() != Phase::Open {
            return Some(format!("worker {owner} is {:?}", own.core.phase()));
        }
        let Ok(Some(meta)) = self.store.meta_now(SHARD, self.now) else {
            return Some("there is no view".to_owned());
        };
        if meta.e < self.events.high() || meta.rebuild.is_some() {
            return Some(format!(
                "E is {} of {}, rebuild {:?}",
                meta.e,
                self.events.high(),
                meta.rebuild
            ));
        }
        let last = (0..self.results.high())
            .rev()
            .find(|offset| self.results.committed(*offset).is_some());
        if last.is_some_and(|last| meta.r <= last) {
            return Some(format!("R is {} and a result lies at {last:?}", meta.r));
        }
        let Ok(dump) = self.store.dump_now(SHARD) else {
            return Some("the view is damaged".to_owned());
        };
        let asked: Vec<_> = meta
            .types
            .iter()
            .filter(|(_, name, _)| name.as_str() != "odd")
            .map(|(id, ..)| format!("{}/", id.0))
            .collect();
        let pending = dump.records.iter().find(|(id, record)| {
            !record.exhausted && asked.iter().any(|prefix| id.starts_with(prefix))
        });
        if let Some((id, record)) = pending {
            return Some(format!("{id} is pending: {record:?}"));
        }
        self.bank.accounts.iter().find_map(|(key, account)| {
            let accepted = (0..self.events.high())
                .filter_map(|at| self.events.committed(at))
                .any(|(_, said)| said.is_about(key));
            let settled = self.watch.settled.contains_key(key);
            let slow = key.order_type.as_str() == "fx" && account.truth.is_some();
            let asked = key.order_type.as_str() != "odd";
            let exhausted = self
                .watch
                .exhausted
                .range((key.clone(), 0)..=(key.clone(), u16::MAX))
                .next()
                .is_some();
            (accepted && asked && !settled && (slow || !exhausted))
                .then(|| format!("{key} has no result, {account:?}"))
        })
    }
}
