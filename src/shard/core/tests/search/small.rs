//! A small world that can be copied: two cores, the view and one snapshot of it, both logs with their
//! transactions, and what is under way. Nothing in it is drawn or timed: every step is a choice.

use std::rc::Rc;
use std::sync::Arc;

use super::super::world::bank::{Account, Bank};
use super::super::world::coordinator::Coordinator;
use super::super::world::log::{Log, Txn};
use super::super::world::said::{SHARD, Said, order};
use super::happening::Happening;
use super::mail::Mail;
use super::part::{Part, print_but};
use super::scenario::{Faults, ORDERS, Say, Scenario};
use crate::clock::Clock;
use crate::domain::order::{Millis, OrderKey};
use crate::domain::result::OrderResult;
use crate::shard::core::Core;
use crate::shard::core::plan::Plan;
use crate::store::memory::{MemoryStore, Snapshot};
use crate::store::script::{Floor, Meta, Script};

/// Four minutes before a group of hours of marks ends, and a whole number of great steps.
pub const START: Millis = 1_800_003_360_000;

/// World time at which everybody's monotonic clock was zero.
pub const BASE: Millis = START - 1_000_000;

/// What does not change while a scenario is searched.
pub struct Ground {
    pub scenario: Scenario,
    pub plan: Plan,
    pub orders: Vec<OrderKey>,
    pub bank: Bank,
    /// The last phase that a requeue opens.
    pub phases: u16,
    /// Where a world's view is put to be looked at or changed.
    store: MemoryStore,
}

impl Ground {
    pub fn new(scenario: &Scenario) -> Self {
        let orders: Vec<_> = (1..=ORDERS as u64).map(|n| order("pay", n, true)).collect();
        let account = |n: usize| Account {
            open_answers: 0,
            truth: scenario.truths[n],
            said: scenario.truths[n].into_iter().collect(),
        };
        let accounts = orders.iter().cloned().zip((0..ORDERS).map(account));
        Self {
            scenario: scenario.clone(),
            plan: scenario.plan(),
            bank: Bank {
                accounts: accounts.collect(),
                ..Bank::default()
            },
            orders,
            phases: scenario.events.iter().map(Say::phase).max().unwrap_or(0),
            store: MemoryStore::new(Clock::start()),
        }
    }

    /// The store as a view has it.
    pub fn store(&self, view: &View) -> &MemoryStore {
        self.store.restore(SHARD, view.content.clone());
        &self.store
    }

    pub fn who(&self, key: &OrderKey) -> Option<usize> {
        self.orders.iter().position(|order| order == key)
    }
}

/// The view, and what of it is often looked at.
#[derive(Clone, Debug)]
pub struct View {
    content: Snapshot,
    pub meta: Option<Meta>,
    pub pending: u64,
}

impl View {
    /// What the store holds now.
    pub fn of(store: &MemoryStore) -> Self {
        let survey = store.survey_now(SHARD).unwrap();
        Self {
            content: store.snapshot(SHARD),
            meta: store.meta_now(SHARD, 0).unwrap(),
            pending: survey.slots.iter().map(|slot| slot.count).sum(),
        }
    }

    /// Its version is told by `Small::print`; its clock is behind everybody's time, and its epoch is
    /// for people.
    pub fn print(&self) -> u64 {
        print_but(&self.content, &["version: ", "clock: ", "epoch: "])
    }

    pub fn version(&self) -> u64 {
        self.meta.as_ref().map_or(0, |meta| meta.version)
    }
}

/// A commit on its way: the publisher's transactional id and epoch, and the transaction.
pub type Commit = (usize, u32, Txn);

/// One process.
#[derive(Clone, Debug)]
pub struct Worker {
    pub core: Part<Core>,
    /// It thinks that the shard is its own.
    pub believes: bool,
    /// It has looked at the time since that passed.
    pub awake: bool,
    /// Where its readers of events and of results stand.
    pub readers: [Option<u64>; 2],
    /// The epoch of its publisher, while that is at hand.
    pub publisher: Option<u32>,
    /// What is on its way from it or to it.
    pub mail: Vec<Rc<Mail>>,
}

impl Worker {
    pub fn new(plan: &Plan, generation: u64) -> Self {
        Self {
            core: Part::new(Core::new(plan.clone(), generation)),
            believes: false,
            awake: true,
            readers: [None; 2],
            publisher: None,
            mail: Vec::new(),
        }
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Small {
    pub now: Millis,
    pub workers: [Worker; 2],
    /// Whom the group gave the shard.
    pub owner: Option<usize>,
    pub view: Part<View>,
    pub snapshot: Option<Part<View>>,
    pub events: Part<Log<Said>>,
    pub results: Part<Log<OrderResult>>,
    /// By transactional id: one, as long as it names the shard alone.
    pub coordinators: [Coordinator; 2],
    /// Scripts whose senders were told that their replies are lost.
    pub ghosts: Vec<Arc<Script>>,
    /// A commit of unknown fate.
    pub late_commit: Option<Commit>,
    /// Somebody else's open transaction.
    pub intruder: Option<Txn>,
    /// The floor as it was committed, and one that is on its way.
    pub floors: [Option<Floor>; 2],
    /// The member group's offset.
    pub committed: u64,
    /// Offsets of events that are kept as dead letters, and of those that were forwarded.
    pub letters: u64,
    pub forwards: u64,
    /// Answers that left each order open, as far as its exhaustions could count them.
    pub answers: [u8; ORDERS],
    pub tokens: u64,
    /// Events that were appended so far.
    pub said: usize,
    pub left: Faults,
}

impl Small {
    /// A shard that has just been given to the first of two workers.
    pub fn new(ground: &Ground) -> Self {
        let empty = MemoryStore::new(Clock::start());
        Self {
            now: START,
            workers: [Worker::new(&ground.plan, 0), Worker::new(&ground.plan, 0)],
            owner: None,
            view: Part::new(View::of(&empty)),
            snapshot: None,
            events: Part::new(Log::new()),
            results: Part::new(Log::new()),
            coordinators: Default::default(),
            ghosts: Vec::new(),
            late_commit: None,
            intruder: None,
            floors: [None; 2],
            committed: 0,
            letters: 0,
            forwards: 0,
            answers: [0; ORDERS],
            tokens: 0,
            said: 0,
            left: Faults::default(),
        }
    }

    pub fn mono(&self) -> Millis {
        self.now - BASE
    }

    /// What the store has of a result or an event at its offset.
    pub fn results_seen(&self) -> impl Iterator<Item = (u64, &OrderResult)> {
        (0..self.results.stable()).filter_map(|at| Some((at, self.results.committed(at)?.1)))
    }

    /// A step in words, before it is taken.
    pub fn told(&self, happening: Happening) -> String {
        match happening {
            Happening::Deliver(worker, n, manner) => {
                let mail = format!("{:?}", self.workers[worker].mail[n].what);
                let short: String = mail.chars().take(400).collect();
                format!("worker {worker}: {manner:?} {short}")
            }
            other => format!("{other:?}"),
        }
    }
}
