//! One core on a bench: requests to the store are served at once, everything else that it commands
//! is laid aside for the test to look at and to answer.

use std::sync::Arc;

use super::order_types::types;
use super::world::said::{SHARD, SHARDS, Said};
use crate::clock::Clock;
use crate::domain::answer::Answer;
use crate::domain::event::Reason;
use crate::domain::order::{MarkKey, Millis, OrderKey};
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::{Open, Status, Terminal};
use crate::kafka::{Ends, ResultRecord};
use crate::shard::core::input::{Ask, Command, FloorFound, Heard, Input, LogEnds, Note, Output};
use crate::shard::core::plan::Plan;
use crate::shard::core::{Core, Phase};
use crate::store::memory::MemoryStore;
use crate::store::script::{Floor, Meta, Script, Token};
use crate::store::{Acquire, StoreError};

/// Unix time at monotonic zero.
pub const START: Millis = 1_800_000_000_000;

pub struct Bench {
    pub core: Core,
    pub store: MemoryStore,
    pub mono: Millis,
    pub permits: u32,
    pub ends: LogEnds,
    pub floor: FloorFound,
    /// Scripts are laid aside instead of served.
    pub holds: bool,
    pub scripts: Vec<Arc<Script>>,
    pub served: Vec<Arc<Script>>,
    pub asks: Vec<Ask>,
    pub published: Vec<Vec<OrderResult>>,
    pub letters: Vec<(u64, Reason)>,
    pub notes: Vec<Note>,
    /// As the core wants them committed.
    pub floors: Vec<Floor>,
    /// The group's offsets, the same.
    pub committed: Vec<u64>,
    pub meta_reads: usize,
    pub ends_asked: usize,
    pub surveys: usize,
    pub acquires: usize,
    next_event: u64,
    next_result: u64,
    token: u64,
}

impl Bench {
    pub fn new(plan: Plan) -> Self {
        let none = Ends { low: 0, high: 0 };
        Self {
            core: Core::new(plan, 0),
            store: MemoryStore::new(Clock::start()),
            mono: 1_000_000,
            permits: 10,
            ends: LogEnds {
                events: none,
                results: none,
            },
            floor: FloorFound {
                floor: Floor { e: 0, r: 0 },
                known_below: 0,
            },
            holds: false,
            scripts: Vec::new(),
            served: Vec::new(),
            asks: Vec::new(),
            published: Vec::new(),
            letters: Vec::new(),
            notes: Vec::new(),
            floors: Vec::new(),
            committed: Vec::new(),
            meta_reads: 0,
            ends_asked: 0,
            surveys: 0,
            acquires: 0,
            next_event: 0,
            next_result: 0,
            token: 0,
        }
    }

    /// A shard with an open timer and an empty view.
    pub fn open() -> Self {
        Self::open_with(|_| {})
    }

    pub fn open_with(change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan::new(SHARD, SHARDS, 86_400_000, types());
        change(&mut plan);
        let mut bench = Self::new(plan);
        bench.input(Input::Assigned);
        assert_eq!(bench.core.phase(), Phase::Open);
        bench
    }

    pub fn now(&self) -> Millis {
        START + self.mono
    }

    pub fn meta(&self) -> Meta {
        self.store.meta_now(SHARD, self.now()).unwrap().unwrap()
    }

    pub fn input(&mut self, input: Input) {
        self.input_of(self.core.generation(), input);
    }

    pub fn input_of(&mut self, generation: u64, input: Input) {
        for index in 0..self.core.plan.types.len() {
            self.core.permit(index, self.permits);
        }
        let mut out = Output::default();
        self.core.step(self.mono, generation, input, &mut out);
        self.core.flush(&mut out);
        self.notes.append(&mut out.notes);
        for command in out.commands {
            self.serve(command);
        }
    }

    fn serve(&mut self, command: Command) {
        match command {
            Command::Acquire(floor) => {
                self.acquires += 1;
                self.token += 1;
                let acquire = Acquire {
                    shard: SHARD,
                    shards: SHARDS,
                    token: Token(self.token),
                    floor,
                    mark_key: MarkKey([1; 16]),
                };
                let answer = self.store.acquire_now(acquire, self.now());
                self.input(Input::Acquired(answer));
            }
            Command::FindFloor => self.input(Input::FloorFound(Ok(self.floor))),
            Command::Fence => self.input(Input::Fenced(Ok(()))),
            Command::AskEnds if self.core.phase() == Phase::AskingEnds => {
                self.input(Input::Ends(Ok(self.ends)));
            }
            Command::AskEnds => self.ends_asked += 1,
            Command::Run(script) if self.holds => self.scripts.push(script),
            Command::Run(script) => {
                let answer = self.store.apply(SHARD, &script);
                self.served.push(script);
                self.input(Input::Replied(answer));
            }
            Command::ReadMeta => self.meta_reads += 1,
            Command::Ask(ask) => self.asks.push(ask),
            Command::Survey => {
                self.surveys += 1;
                let survey = self.store.survey_now(SHARD);
                self.input(Input::Surveyed(survey));
            }
            Command::CommitFloor(floor) => self.floors.push(floor),
            Command::CommitGroup(e) => self.committed.push(e),
            Command::Publish(results) => self.published.push(results),
            Command::DeadLetter {
                offset, refusal, ..
            } => self.letters.push((offset, refusal.reason)),
            _ => {}
        }
    }

    /// Time passes, tick by tick. Returns how often the core wanted to be woken.
    pub fn pass(&mut self, time: Millis) -> u32 {
        let (until, mut wakes) = (self.mono + time, 0);
        loop {
            let next = self.core.next_wakeup().max(self.mono);
            if next > until {
                self.mono = until;
                return wakes;
            }
            self.mono = next;
            wakes += 1;
            assert!(wakes < 100_000, "it wakes without an end");
            self.input(Input::Tick);
        }
    }

    /// The next event of the log is read.
    pub fn event(&mut self, said: &Said) -> u64 {
        let offset = self.next_event;
        self.event_at(offset, self.now(), said)
    }

    pub fn event_at(&mut self, offset: u64, appended: Millis, said: &Said) -> u64 {
        self.next_event = offset + 1;
        self.input(Input::Events(
            vec![said.record(offset, appended)],
            offset + 1,
        ));
        self.pass(20);
        offset
    }

    /// What was published is read back: committed, with its marker behind it.
    pub fn read_back(&mut self) {
        let groups = std::mem::take(&mut self.published);
        for group in groups {
            self.input(Input::Published(Ok(())));
            for result in group {
                self.result(result);
            }
            self.next_result += 1;
        }
        self.pass(20);
    }

    pub fn result(&mut self, result: OrderResult) {
        let offset = self.next_result;
        self.next_result += 1;
        let record = ResultRecord {
            offset,
            appended: self.now(),
            result: Some(result),
        };
        self.input(Input::Results(vec![record], offset + 1));
        self.pass(20);
    }

    /// An exhaustion after three questions is read, the first of this order.
    pub fn exhaustion(&mut self, key: OrderKey) {
        let outcome = Outcome::Exhausted {
            status: Open::Unknown,
            reason: "schedule ended".to_owned(),
            query: None,
        };
        self.result(OrderResult {
            key,
            phase: 0,
            outcome,
            asked: 3,
            first_seen: self.now(),
            at: self.now(),
            event: (SHARD, 0),
            traceparent: None,
        });
    }

    /// Time passes until the next question.
    pub fn next_ask(&mut self) -> Ask {
        for _ in 0..2_000 {
            if !self.asks.is_empty() {
                return self.asks.remove(0);
            }
            self.pass(100);
        }
        panic!("nobody is asked; the core is {:?}", self.core.phase());
    }

    pub fn answer(&mut self, ask: &Ask, answer: Answer) {
        let heard = Heard {
            id: ask.id,
            claim: ask.claim,
            answer,
            started: Some(self.mono),
        };
        self.input(Input::Answered(heard));
        self.pass(20);
    }

    /// Asks and answers «in progress» until the schedule is over.
    pub fn exhaust(&mut self) {
        while self.published.is_empty() {
            let ask = self.next_ask();
            self.answer(&ask, Answer::InProgress);
        }
    }

    /// The one result of the one group that was published.
    pub fn only_result(&self) -> &OrderResult {
        assert_eq!(
            self.published.iter().map(Vec::len).sum::<usize>(),
            1,
            "{:?}",
            self.published
        );
        &self.published[0][0]
    }

    pub fn recovers(&self) -> usize {
        self.notes
            .iter()
            .filter(|note| matches!(note, Note::Recovering(_)))
            .count()
    }
}

/// A terminal answer.
pub fn says(status: Terminal) -> Answer {
    Answer::Terminal {
        status,
        rsp_no: None,
        ret_cd: None,
        ret_msg: None,
    }
}

pub fn status(result: &OrderResult) -> Status {
    result.outcome.status()
}

pub fn is_exhausted(result: &OrderResult) -> bool {
    matches!(result.outcome, Outcome::Exhausted { .. })
}

pub fn unavailable<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("away".to_owned()))
}

pub fn lost<T>() -> Result<T, StoreError> {
    Err(StoreError::Lost("no reply".to_owned()))
}
