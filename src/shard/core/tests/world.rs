//! The world around a shard: virtual time, two workers, the view, both logs, the owner, and the
//! faults that strike them. One seed makes one run; [`World::run`] ends in a verdict.

use std::collections::BTreeMap;

use super::bank::{Account, Bank, TIMEOUT};
use super::coordinator::Coordinator;
use super::dice::Dice;
use super::log::{Log, Txn};
use super::said::{SHARD, SHARDS, Said, order};
use super::storm::{Fault, Storm};
use super::watch::Watch;
use super::wire::{Asker, Delivery, Request};
use super::worker::{Reader, Which, Worker};
use crate::clock::Clock;
use crate::domain::order::{Millis, OrderKey, TypeName};
use crate::domain::result::OrderResult;
use crate::domain::schedule::{Ladder, Schedule};
use crate::domain::status::{Open, Terminal};
use crate::kafka::ResultRecord;
use crate::shard::core::Phase;
use crate::shard::core::input::{Alarm, Input, Note, Output};
use crate::shard::core::plan::{Plan, TypePlan};
use crate::store::memory::{MemoryStore, Snapshot};
use crate::store::script::Floor;

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
    Restart(usize),
    Group,
    Notice(usize, u32),
    Mark(Txn),
    TimeOut(Txn),
    ForeignEnd(Txn),
}

/// All of it.
pub struct World {
    pub now: Millis,
    pub plan: Plan,
    pub store: MemoryStore,
    pub events: Log<Said>,
    pub results: Log<OrderResult>,
    pub coordinator: Coordinator,
    pub bank: Bank,
    pub workers: Vec<Worker>,
    pub watch: Watch,
    pub storm: Storm,
    pub dice: Dice,
    pub floor: Option<Floor>,
    /// The member group's offset.
    pub committed: u64,
    pub unavailable_until: Millis,
    pub full_until: Millis,
    /// No question about an order may come before this.
    pub first_question: BTreeMap<OrderKey, Millis>,
    /// Whom the group gave the shard.
    owner: Option<usize>,
    snapshots: Vec<Snapshot>,
    agenda: BTreeMap<(Millis, u64), Happening>,
    sequence: u64,
    visible: u64,
    violation: Option<String>,
    /// Kept only when it is asked for: it costs more than the run.
    trace: Option<Vec<String>>,
    steps: u64,
    storm_ends: Millis,
    gate_limit_seen: bool,
}

/// Longer than the shorter window.
const NIGHT: Millis = 7_200_000;

/// A run has about a thousand steps; what has so many goes in circles.
const STEPS_MAX: u64 = 300_000;

const START: Millis = 1_800_000_000_000;

/// What a run came to.
#[derive(Debug, Default)]
pub struct Tale {
    pub steps: u64,
    pub settled: usize,
    pub exhausted: usize,
    pub questions: u64,
    pub generations: u64,
    pub took: Millis,
}

fn stages(texts: &[&str]) -> Ladder {
    Ladder::parse(
        &texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>(),
    )
    .unwrap()
}

/// The types of every world: one doubling, one with coarse buckets and slow questions after its end.
pub fn types() -> Vec<TypePlan> {
    let named = |name: &str, in_progress: &[&str], unknown: &[&str], then| TypePlan {
        name: TypeName::new(name).unwrap(),
        schedule: Schedule {
            in_progress: stages(in_progress),
            unknown: stages(unknown),
            then,
        },
        timeout: TIMEOUT,
    };
    vec![
        named("pay", &["double 1s x 3"], &["2s x 2"], None),
        named(
            "fx",
            &["500ms", "5s", "40s"],
            &["3s until 20s"],
            Some(20_000),
        ),
    ]
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let storm = if dice.in_thousand(100) {
            Storm::none()
        } else {
            Storm::draw(&mut dice)
        };
        let window = if dice.in_thousand(400) {
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
            ..Bank::default()
        };
        let workers = (0..2)
            .map(|_| Worker::new(&plan, START - dice.below(1_000_000)))
            .collect();
        let mut world = Self {
            now: START,
            plan,
            store: MemoryStore::new(Clock::start()),
            events: Log::new(),
            results: Log::new(),
            coordinator: Coordinator::default(),
            bank,
            workers,
            watch: Watch::default(),
            storm,
            dice,
            floor: None,
            committed: 0,
            unavailable_until: 0,
            full_until: 0,
            first_question: BTreeMap::new(),
            owner: None,
            snapshots: Vec::new(),
            agenda: BTreeMap::new(),
            sequence: 0,
            visible: 0,
            violation: None,
            trace: None,
            steps: 0,
            storm_ends: 0,
            gate_limit_seen: false,
        };
        world.populate();
        world
    }

    /// Orders, what is said about them and when; the first strikes.
    fn populate(&mut self) {
        let length = self.dice.between(10_000, 90_000);
        self.storm_ends = self.now + length;
        let orders = self.dice.between(1, 5);
        for n in 0..orders {
            let name = self.dice.weighted(&[(5, "pay"), (4, "fx"), (1, "odd")]);
            self.order_of_life(&order(name, n, true), length);
        }
        for _ in 0..self.dice.weighted(&[(3, 0), (2, 1), (1, 3)]) {
            let said = if self.dice.in_thousand(500) {
                Said::garbage()
            } else {
                self.misplaced()
            };
            let when = self.dice.below(length);
            self.at(when, Happening::Emit(said));
        }
        self.at(0, Happening::Group);
        self.at(5_000, Happening::Operator);
        let first = self.dice.between(1, 10_000);
        self.at(first, Happening::Strike);
    }

    fn misplaced(&mut self) -> Said {
        let key = order("pay", 100, false);
        let mut said = Said::pending(&key, self.now, Open::Unknown);
        said.forwarded = self.dice.in_thousand(300);
        said
    }

    fn order_of_life(&mut self, key: &OrderKey, length: Millis) {
        let truth = self.dice.weighted(&[
            (5, Some(Terminal::Success)),
            (3, Some(Terminal::Failure)),
            (2, None),
        ]);
        let open_answers = self.dice.below(7) as u32;
        let account = Account {
            open_answers,
            truth,
            answered: 0,
            said: std::collections::BTreeSet::new(),
        };
        self.bank.accounts.insert(key.clone(), account);
        let begins = self.dice.below(length / 2);
        let status = if self.dice.in_thousand(500) {
            Open::InProgress
        } else {
            Open::Unknown
        };
        let mut first = Said::pending(key, self.now + begins, status);
        if self.dice.in_thousand(200) {
            let earliest = self.now + begins + self.dice.below(15_000);
            first = first.ask_at(earliest);
            self.first_question.insert(key.clone(), earliest);
        }
        if self.dice.in_thousand(300) {
            first = first.with_query(r#"{"bank":"CMB"}"#);
        }
        let terminal = self.dice.in_thousand(450);
        if !terminal || self.dice.in_thousand(800) {
            let copies = self.dice.weighted(&[(4, 1), (1, 2)]);
            for copy in 0..copies {
                let later = if copy == 0 {
                    0
                } else {
                    self.dice.below(length - begins)
                };
                self.at(begins + later, Happening::Emit(first.clone()));
            }
        }
        if terminal {
            // Some business systems are wrong.
            let wrong = self.dice.in_thousand(150);
            let said = match (truth, wrong) {
                (Some(Terminal::Failure), false) | (Some(Terminal::Success), true) => {
                    Terminal::Failure
                }
                _ => Terminal::Success,
            };
            for _ in 0..self.dice.weighted(&[(3, 1), (2, 2), (1, 3)]) {
                let when = begins + self.dice.below(length - begins);
                self.at(
                    when,
                    Happening::Emit(Said::settle(key, self.now + when, said)),
                );
            }
        }
    }

    pub(super) fn at(&mut self, delay: Millis, what: Happening) {
        self.sequence += 1;
        self.agenda.insert((self.now + delay, self.sequence), what);
    }

    /// How long something takes on the wire.
    pub(super) fn delay(&mut self) -> Millis {
        if self.dice.in_thousand(self.storm.jitter / 10) {
            self.dice.between(100, 3_000)
        } else {
            self.dice.between(0, 6)
        }
    }

    pub(super) fn asker(&self, worker: usize) -> Asker {
        let own = &self.workers[worker];
        Asker {
            worker,
            life: own.life,
            generation: own.core.generation(),
        }
    }

    /// Keeps the first violation; the run ends with it.
    pub(super) fn hold(&mut self, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.note(|| what.clone());
            self.violation.get_or_insert(what);
        }
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.trace.is_some() {
            let line = format!("{:>8} {}", self.now - START, what());
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
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
            Happening::Restart(worker) => {
                self.workers[worker].alive = true;
                let delay = self.dice.between(0, 3_000);
                self.at(delay, Happening::Group);
            }
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
                self.coordinator.mark(&mut self.results, self.now, txn);
                self.stir(Which::Results);
            }
            Happening::TimeOut(txn) => {
                self.coordinator.time_out(&mut self.results, self.now, txn);
                self.stir(Which::Results);
            }
            Happening::ForeignEnd(txn) => {
                let commit = self.dice.in_thousand(600);
                self.events.end(self.now, txn, commit);
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

    /// A repetition of what is older than the window is not promised anything.
    fn emit_if_remembered(&mut self, mut said: Said) {
        if let Ok(event) = &mut said.event {
            event.at = self.now;
            if let Some((_, offset)) = self.watch.settled.get(&event.key)
                && let Some((at, _)) = self.results.committed(*offset)
                && at + self.plan.window < self.now + 10_000
            {
                return;
            }
        }
        self.emit(said);
    }

    /// A person looks at the exhausted orders.
    fn operator(&mut self) {
        self.at(7_000, Happening::Operator);
        if self.now >= self.storm_ends {
            return;
        }
        let open: Vec<_> = self
            .watch
            .exhausted
            .keys()
            .filter(|(key, _)| !self.watch.settled.contains_key(key))
            .cloned()
            .collect();
        for (key, phase) in open {
            match self.dice.below(8) {
                0 => self.emit(Said::requeue(&key, self.now, phase + 1)),
                1 => {
                    if let Some(account) = self.bank.accounts.get_mut(&key) {
                        account.truth.get_or_insert(Terminal::Success);
                    }
                    self.emit(
                        Said::requeue(&key, self.now, phase + 1).with_query(r#"{"bank":"ICBC"}"#),
                    );
                }
                2 => self.emit(Said::settle(&key, self.now, Terminal::Success)),
                _ => {}
            }
        }
    }

    // Workers.

    pub(super) fn start_reading(&mut self, worker: usize, which: Which, offset: u64) {
        let generation = self.workers[worker].core.generation();
        self.workers[worker].readers[which as usize] = Some(Reader { generation, offset });
        self.poll_soon(worker, which);
    }

    fn poll_soon(&mut self, worker: usize, which: Which) {
        let own = &mut self.workers[worker];
        if own.readers[which as usize].is_some() && !own.polling[which as usize] {
            own.polling[which as usize] = true;
            let life = own.life;
            let delay = self.delay();
            self.at(delay + 1, Happening::Poll(worker, life, which));
        }
    }

    /// A log has something new.
    pub(super) fn stir(&mut self, which: Which) {
        for worker in 0..self.workers.len() {
            self.poll_soon(worker, which);
        }
    }

    fn poll(&mut self, worker: usize, life: u32, which: Which) {
        let own = &mut self.workers[worker];
        if own.life != life || !own.alive {
            return;
        }
        own.polling[which as usize] = false;
        if own.paused_until > self.now {
            let delay = own.paused_until - self.now;
            own.polling[which as usize] = true;
            return self.at(delay, Happening::Poll(worker, life, which));
        }
        let Some(reader) = own.readers[which as usize] else {
            return;
        };
        if which == Which::Events && !own.core.wants_events() {
            own.polling[which as usize] = true;
            return self.at(20, Happening::Poll(worker, life, which));
        }
        let max = self.dice.weighted(&[(3, 250), (2, 1), (1, 3)]);
        let to_end = self.dice.in_thousand(700);
        let (input, again, position) = match which {
            Which::Events => {
                let (records, position) = self.events.read(reader.offset, max, to_end);
                let records: Vec<_> = records
                    .iter()
                    .map(|(offset, at, said)| said.record(*offset, *at))
                    .collect();
                (
                    Input::Events(records.clone(), position),
                    Input::Events(records, position),
                    position,
                )
            }
            Which::Results => {
                let (records, position) = self.results.read(reader.offset, max, to_end);
                let records: Vec<_> = records
                    .into_iter()
                    .map(|(offset, appended, result)| ResultRecord {
                        offset,
                        appended,
                        result: Some(result),
                    })
                    .collect();
                (
                    Input::Results(records.clone(), position),
                    Input::Results(records, position),
                    position,
                )
            }
        };
        if position == reader.offset {
            if !to_end {
                self.poll_soon(worker, which);
            }
            return;
        }
        let asker = Asker {
            generation: reader.generation,
            ..self.asker(worker)
        };
        if self.dice.in_thousand(self.storm.repeats) {
            let late = self.dice.between(1, 10_000);
            self.at(late, Happening::Deliver(asker, Delivery::Input(again)));
        }
        self.workers[worker].readers[which as usize] = Some(Reader {
            offset: position,
            ..reader
        });
        self.poll_soon(worker, which);
        self.input(worker, reader.generation, input);
        self.turn(worker);
    }

    fn hand_over(&mut self, to: Asker, delivery: Delivery) {
        let own = &mut self.workers[to.worker];
        if own.life != to.life || !own.alive {
            return;
        }
        if own.paused_until > self.now {
            let delay = own.paused_until - self.now;
            return self.at(delay, Happening::Deliver(to, delivery));
        }
        let current = own.core.generation() == to.generation;
        let input = match delivery {
            Delivery::Input(input) => input,
            Delivery::Opened(epoch) | Delivery::Published(epoch) => {
                if current {
                    own.publisher = Some(epoch);
                }
                if matches!(delivery, Delivery::Opened(_)) {
                    Input::Fenced(Ok(()))
                } else {
                    Input::Published(Ok(()))
                }
            }
        };
        // The actor takes many answers in one turn.
        let together = matches!(input, Input::Answered(_)) && self.dice.in_thousand(300);
        self.input(to.worker, to.generation, input);
        if together {
            self.wake_in(to.worker, 1);
        } else {
            self.turn(to.worker);
        }
    }

    /// One step of a core, and what it told.
    fn input(&mut self, worker: usize, generation: u64, input: Input) {
        let now = self.now;
        if self.trace.is_some() && !matches!(input, Input::Tick) {
            self.note(|| format!("worker {worker} g{generation} <- {input:?}"));
        }
        let own = &mut self.workers[worker];
        let mut out = Output::default();
        own.core.step(own.mono(now), generation, input, &mut out);
        self.listen(worker, out);
    }

    fn listen(&mut self, worker: usize, out: Output) {
        for note in out.notes {
            self.note(|| format!("worker {worker} -- {note:?}"));
            if let Note::Alarm(
                alarm @ (Alarm::OutOfRange { .. } | Alarm::Damaged(_) | Alarm::ForeignResult(_)),
            ) = note
            {
                self.hold(Err(format!("ALARM: {alarm:?}")));
            }
        }
        for command in out.commands {
            self.note(|| format!("worker {worker} -> {command:?}"));
            self.carry_out(worker, command);
        }
    }

    /// As the actor's turn: permits, a tick, what is to be sent, and when to wake.
    fn turn(&mut self, worker: usize) {
        let now = self.now;
        let blocked = self.dice.in_thousand(self.storm.bank / 4);
        let own = &mut self.workers[worker];
        for index in 0..self.plan.types.len() {
            let free = 3_u32.saturating_sub(own.core.claimed(index));
            own.core.permit(index, if blocked { 0 } else { free });
        }
        let mut out = Output::default();
        own.core
            .step(own.mono(now), own.core.generation(), Input::Tick, &mut out);
        own.core.flush(&mut out);
        own.idle_turns = if out.commands.is_empty() {
            own.idle_turns
        } else {
            0
        };
        let next = own.core.next_wakeup();
        let spins = out.commands.is_empty() && next <= own.mono(now);
        self.gate_limit_seen |= own.core.paused().is_some();
        let phase = own.core.phase();
        self.listen(worker, out);
        if spins {
            self.hold(Err(format!("SPINS: worker {worker} in {phase:?} wants to wake at {next}, which is now, and does nothing")));
        }
        let own = &self.workers[worker];
        let sleep = next.saturating_sub(own.mono(now)).min(1_000);
        let late = if self.dice.in_thousand(self.storm.jitter) {
            self.dice.between(1, 900)
        } else {
            self.dice.below(2)
        };
        self.wake_in(worker, sleep + late);
    }

    fn wake_in(&mut self, worker: usize, delay: Millis) {
        let own = &mut self.workers[worker];
        own.wake += 1;
        let (life, wake) = (own.life, own.wake);
        self.at(delay, Happening::Wake(worker, life, wake));
    }

    fn wake(&mut self, worker: usize, life: u32, wake: u64) {
        let own = &self.workers[worker];
        if own.life != life || own.wake != wake || !own.alive {
            return;
        }
        if own.paused_until > self.now {
            let delay = own.paused_until - self.now;
            return self.at(delay, Happening::Wake(worker, life, wake));
        }
        if own.believes {
            self.turn(worker);
        }
    }

    // The group.

    fn group(&mut self) {
        // An owner that died and came back is a new member.
        if self.owner.is_some_and(|owner| self.workers[owner].believes) {
            return;
        }
        let Some(next) = (0..self.workers.len()).find(|worker| self.workers[*worker].alive) else {
            return;
        };
        self.assign(next);
    }

    fn assign(&mut self, worker: usize) {
        self.owner = Some(worker);
        let own = &mut self.workers[worker];
        if own.believes {
            // It had not noticed that it lost the shard; the group takes it away first.
            self.revoke(worker);
        }
        self.note(|| format!("the group gives the shard to worker {worker}"));
        self.workers[worker].believes = true;
        let generation = self.workers[worker].core.generation();
        self.input(worker, generation, Input::Assigned);
        self.turn(worker);
    }

    fn revoke(&mut self, worker: usize) {
        self.note(|| format!("worker {worker} loses the shard"));
        self.workers[worker].believes = false;
        let generation = self.workers[worker].core.generation();
        self.input(worker, generation, Input::Revoked);
    }

    // Faults.

    fn strike(&mut self) {
        if self.now >= self.storm_ends || self.storm.strikes.iter().all(|(weight, _)| *weight == 0)
        {
            return;
        }
        let fault = self.dice.weighted(&self.storm.strikes);
        let next =
            self.dice.between(100, 12_000) + if fault == Fault::LongNight { NIGHT } else { 0 };
        self.at(next, Happening::Strike);
        self.note(|| format!("STRIKE {fault:?}"));
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
            Fault::Move | Fault::SilentMove => {
                let (old, new) = (self.owner.unwrap_or(0), other(self.owner));
                if !self.workers[new].alive || !self.workers[old].alive {
                    return;
                }
                if fault == Fault::Move {
                    self.revoke(old);
                } else {
                    let (life, late) = (self.workers[old].life, self.dice.between(1, 15_000));
                    self.at(late, Happening::Notice(old, life));
                }
                self.assign(new);
            }
            Fault::Snapshot => {
                self.snapshots.push(self.store.snapshot(SHARD));
                if self.snapshots.len() > 3 {
                    self.snapshots.remove(0);
                }
            }
            Fault::Rollback => {
                if !self.snapshots.is_empty() {
                    let one = self.dice.below(self.snapshots.len() as u64) as usize;
                    self.store.restore(SHARD, self.snapshots[one].clone());
                    self.watch.forget_effects();
                }
            }
            Fault::Wipe => {
                self.store.wipe(SHARD);
                self.watch.forget_effects();
            }
            Fault::Unavailable => self.unavailable_until = self.now + self.dice.between(10, 10_000),
            Fault::Full => self.full_until = self.now + self.dice.between(10, 10_000),
            Fault::LongNight => self.long_night(),
        }
    }

    fn crash(&mut self, victim: usize) {
        if self.workers[victim].alive {
            self.workers[victim].die(&self.plan);
            let back = self.dice.between(100, 10_000);
            self.at(back, Happening::Restart(victim));
            let noticed = self.dice.between(100, 8_000);
            self.at(noticed, Happening::Group);
        }
    }

    /// Everybody is away for longer than the shorter window; what was said meanwhile waits.
    fn long_night(&mut self) {
        for worker in 0..self.workers.len() {
            self.workers[worker].die(&self.plan);
            let back = NIGHT + self.dice.below(10_000);
            self.at(back, Happening::Restart(worker));
        }
        self.storm_ends += NIGHT;
        // One is enough.
        self.storm
            .strikes
            .retain(|(_, fault)| *fault != Fault::LongNight);
    }

    // The end.

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
        if self.dice.in_thousand(500) {
            self.floor = None;
        }
        self.store.wipe(SHARD);
        self.watch.forget_effects();
        for worker in 0..self.workers.len() {
            self.workers[worker].die(&self.plan);
            self.workers[worker].alive = true;
        }
        self.at(0, Happening::Group);
        self.rest()?;
        let after = (self.watch.settled.len(), self.watch.exhausted.len());
        if before != after {
            return Err(format!(
                "REPLAY: {before:?} resolutions and exhaustions became {after:?}"
            ));
        }
        Ok(self.tale())
    }

    pub fn tale(&self) -> Tale {
        Tale {
            steps: self.steps,
            settled: self.watch.settled.len(),
            exhausted: self.watch.exhausted.len(),
            questions: self.watch.questions,
            generations: self
                .workers
                .iter()
                .map(|worker| worker.core.generation())
                .sum(),
            took: self.now - START,
        }
    }

    /// Faults end: everybody lives, notices and answers.
    fn calm(&mut self) {
        self.note(|| "calm".to_owned());
        self.storm = Storm::none();
        self.bank.trouble = 0;
        (self.unavailable_until, self.full_until) = (0, 0);
        for worker in 0..self.workers.len() {
            self.workers[worker].paused_until = 0;
            let life = self.workers[worker].life;
            self.workers[worker].alive = true;
            self.at(10, Happening::Notice(worker, life));
        }
        self.at(0, Happening::Group);
    }

    /// Until all is settled or exhausted; within the longest schedule, an owner's longest back-off, a
    /// lease and a minute.
    fn rest(&mut self) -> Result<(), String> {
        let longest = self
            .plan
            .types
            .iter()
            .map(|known| known.schedule.longest())
            .max()
            .unwrap_or(0);
        // Slow questions after the end, for as long as the owner takes to say something.
        let slow = 20_000 * 8;
        let latest = self.now + longest + slow + 64_000 + 7_000 + 60_000;
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
        self.look_at_e();
        self.violation.clone().map_or(Ok(()), Err)
    }

    fn unfinished(&self) -> Option<String> {
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
