//! The world around a shard: virtual time, two workers, the view, both logs, the owner, and the
//! faults that strike them. One seed makes one run; [`World::run`] ends in a verdict.

pub mod bank;
mod broker;
mod business;
mod clocks;
pub mod coordinator;
mod dice;
mod ending;
mod group;
pub mod log;
pub mod questions;
mod reading;
mod retention;
pub mod said;
mod split;
mod storage;
mod storm;
mod strikes;
mod turns;
pub mod watch;
mod wire;
pub mod worker;

use std::collections::{BTreeMap, VecDeque};

pub use self::ending::Tale;
use super::order_types::types;
use crate::clock::Clock;
use crate::domain::order::{Millis, OrderKey};
use crate::domain::result::OrderResult;
use crate::shard::core::plan::Plan;
use crate::store::memory::{MemoryStore, Snapshot};
use crate::store::script::Floor;
use bank::Bank;
use clocks::Clocks;
use coordinator::Coordinator;
use dice::Dice;
use log::{Log, Txn};
use retention::Retention;
use said::{SHARD, SHARDS, Said};
use split::Split;
use storm::{Fault, Storm};
use watch::Watch;
use wire::{Asker, Delivery, Request};
use worker::{Which, Worker};

/// What happens at a moment.
#[derive(Debug)]
pub enum Happening {
    Wake(usize, u32, u64),
    Arrive(Asker, Request),
    Deliver(Asker, Delivery),
    Poll(usize, u32, Which),
    Emit(Said),
    Operator,
    Strike,
    /// The store is one again.
    Heal,
    Interrupt(usize),
    Restart(usize),
    /// A worker's configuration is whole again.
    Reload(usize),
    Group,
    Notice(usize, u32),
    Mark(Txn),
    TimeOut(Txn),
    ForeignEnd(Txn),
    /// Somebody else's transaction in `order-results` begins, or is aborted.
    Intruder(Option<Txn>),
}

/// All of it.
pub struct World {
    pub now: Millis,
    pub plan: Plan,
    pub store: MemoryStore,
    pub events: Log<Said>,
    pub results: Log<OrderResult>,
    /// By transactional id: one, as long as it names the shard alone.
    pub coordinators: [Coordinator; 2],
    pub bank: Bank,
    pub workers: Vec<Worker>,
    pub watch: Watch,
    pub storm: Storm,
    pub dice: Dice,
    /// Floors as they were committed, by old owners too.
    pub floors: Vec<Floor>,
    /// The member group's offset.
    pub committed: u64,
    pub clocks: Clocks,
    pub retention: Retention,
    pub split: Option<Split>,
    pub unavailable_until: Millis,
    pub full_until: Millis,
    /// Requests to the store fail often until then.
    pub shaky_until: Millis,
    /// No question about an order may come before this.
    pub first_question: BTreeMap<OrderKey, Millis>,
    /// Whom the group gave the shard.
    owner: Option<usize>,
    snapshots: Vec<Snapshot>,
    /// As the view was within the last seconds.
    recent: VecDeque<(Millis, Snapshot)>,
    agenda: BTreeMap<(Millis, u64), Happening>,
    sequence: u64,
    visible: u64,
    violation: Option<String>,
    /// Kept only when it is asked for: it costs more than the run.
    trace: Option<Vec<String>>,
    /// What was met, and how often.
    covered: BTreeMap<String, u64>,
    steps: u64,
    storm_ends: Millis,
}

/// A run has about a thousand steps; what has so many goes in circles.
const STEPS_MAX: u64 = 300_000;

const START: Millis = 1_800_000_000_000;

impl World {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let storm = if dice.in_thousand(100) {
            Storm::none()
        } else {
            Storm::draw(&mut dice)
        };
        // A night is longer than the shorter window.
        let short = if storm.has(Fault::LongNight) {
            800
        } else {
            300
        };
        let window = if dice.in_thousand(short) {
            3_600_000
        } else {
            86_400_000
        };
        let mut plan = Plan::new(SHARD, SHARDS, window, types());
        plan.floor_every = dice.weighted(&[(1, 60_000), (3, 10_000), (2, 1_000)]);
        plan.gate_limit = dice.weighted(&[(4, 4_000), (1, 1), (1, 3)]);
        plan.unknown_types = dice.weighted(&[(3, 200), (1, 1), (1, 0)]);
        let bank = Bank {
            trouble: storm.bank,
            fickle: storm.fickle,
            ..Bank::default()
        };
        let retention = Retention::draw(&plan, &mut dice);
        let workers = (0..2)
            .map(|_| Worker::new(&plan, START - dice.below(1_000_000)))
            .collect();
        let mut world = Self {
            now: START,
            plan,
            store: MemoryStore::new(Clock::start()),
            events: Log::new(),
            results: Log::new(),
            coordinators: Default::default(),
            bank,
            workers,
            watch: Watch::default(),
            storm,
            dice,
            floors: Vec::new(),
            committed: 0,
            clocks: Clocks::default(),
            retention,
            split: None,
            unavailable_until: 0,
            full_until: 0,
            shaky_until: 0,
            first_question: BTreeMap::new(),
            owner: None,
            snapshots: Vec::new(),
            recent: VecDeque::new(),
            agenda: BTreeMap::new(),
            sequence: 0,
            visible: 0,
            violation: None,
            trace: None,
            covered: BTreeMap::new(),
            steps: 0,
            storm_ends: 0,
        };
        world.populate();
        world
    }

    fn at(&mut self, delay: Millis, what: Happening) {
        self.sequence += 1;
        self.agenda.insert((self.now + delay, self.sequence), what);
    }

    /// How long something takes on the wire.
    fn delay(&mut self) -> Millis {
        if self.dice.in_thousand(self.storm.jitter / 10) {
            self.dice.between(100, 3_000)
        } else {
            self.dice.between(0, 6)
        }
    }

    fn asker(&self, worker: usize) -> Asker {
        let own = &self.workers[worker];
        Asker {
            worker,
            life: own.life,
            generation: own.core.generation(),
        }
    }

    /// Keeps the first violation; the run ends with it.
    fn hold(&mut self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.note(|| what.clone());
            self.violation.get_or_insert(what);
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.trace.is_some() {
            let line = format!("{:>8} {}", self.now - START, what());
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }

    /// Counts what a run has met, so that a world without teeth is noticed.
    fn saw(&mut self, what: &str) {
        match self.covered.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.covered.insert(what.to_owned(), 1)),
        }
    }

    /// From now on what happens is kept, for people.
    pub fn remember(&mut self) {
        self.trace = Some(Vec::new());
    }

    /// The last lines of what was kept.
    pub fn memory(&self, lines: usize) -> String {
        let trace = self.trace.as_deref().unwrap_or_default();
        trace[trace.len().saturating_sub(lines)..].join("\n")
    }

    /// The next happening. False when the run is over.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), what)) = self.agenda.pop_first() else {
            return false;
        };
        self.now = self.now.max(at);
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.hold(Err("ENDLESS: so many steps for so few orders".to_owned()));
        }
        self.happen(what);
        self.violation.is_none()
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake(worker, life, wake) => self.wake(worker, life, wake),
            Happening::Arrive(asker, request) => self.arrive(asker, request),
            Happening::Deliver(to, delivery) => self.hand_over(to, delivery),
            Happening::Poll(worker, life, which) => self.poll(worker, life, which),
            Happening::Emit(said) => self.emit_if_remembered(said),
            Happening::Operator => self.operator(),
            Happening::Strike => self.strike(),
            Happening::Heal => self.heal(),
            Happening::Interrupt(worker) => self.interrupt(worker),
            Happening::Restart(worker) => {
                self.workers[worker].alive = true;
                let delay = self.dice.between(0, 3_000);
                self.at(delay, Happening::Group);
            }
            Happening::Reload(worker) => self.replan(worker, types()),
            Happening::Group => self.group(),
            Happening::Notice(worker, life) => {
                if self.workers[worker].life == life
                    && self.owner != Some(worker)
                    && self.workers[worker].believes
                {
                    self.revoke(worker);
                }
            }
            Happening::Mark(txn) => {
                let now = self.brokers_now();
                for coordinator in &mut self.coordinators {
                    coordinator.mark(&mut self.results, now, txn);
                }
                self.stir(Which::Results);
            }
            Happening::TimeOut(txn) => {
                let now = self.brokers_now();
                for id in 0..self.coordinators.len() {
                    if self.coordinators[id].time_out(&mut self.results, now, txn) {
                        self.saw("transaction timed out");
                        self.stir(Which::Results);
                    }
                }
            }
            Happening::Intruder(end) => self.intruder(end),
            Happening::ForeignEnd(txn) => {
                let commit = self.dice.in_thousand(600);
                self.events.end(self.brokers_now(), txn, commit);
                self.stir(Which::Events);
            }
        }
        self.see_results();
    }

    /// What became visible since the last look.
    fn see_results(&mut self) {
        while self.visible < self.results.stable() {
            if let Some((_, result)) = self.results.committed(self.visible) {
                let result = result.clone();
                self.note(|| {
                    format!(
                        "result: {} {:?} phase {}",
                        result.key, result.outcome, result.phase
                    )
                });
                let verdict = self
                    .watch
                    .result(self.visible, &result, &self.events, &self.bank);
                self.hold(verdict);
            }
            self.visible += 1;
        }
    }
}
