//! Workers with shards, one order type, one bank. Time is a number; whatever happens next happens
//! next. Kafka is a loop: what is published is read back at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::engine::{Around, Engine};
use super::super::flights::Place;
use super::super::job::Job;
use super::super::owner::Owner;
use super::super::turns::Turns;
use super::super::{Answered, Asker, Question, Standing, Ticket};
use crate::clock::Clock;
use crate::config::{Ceiling, OrderTypeConfig};
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::event::{Body, Event};
use crate::domain::order::{MarkKey, Millis, OrderKey, ReqNo, TypeName};
use crate::domain::result::Outcome;
use crate::domain::status::{Open, Terminal};
use crate::kafka::{Ends, EventRecord, ResultRecord};
use crate::metrics::Metrics;
use crate::shard::core::Core;
use crate::shard::core::input::{Command, FloorFound, Heard, Input, LogEnds, Output};
use crate::shard::core::plan::{Plan, TypePlan};
use crate::store::Acquire;
use crate::store::ceiling::Reserve;
use crate::store::memory::MemoryStore;
use crate::store::script::{Floor, Token};

/// Unix time at monotonic zero.
const START: Millis = 1_800_000_000_000;
/// One way to the store or back.
const WAY_US: u64 = 500;
const TIMEOUT: Millis = 2_000;

/// How the bank is while it is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Connections are refused.
    Refuses,
    /// Nothing is answered.
    Hangs,
}

/// What a run is about.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    pub shards: u16,
    pub orders_per_second: u64,
    pub per_second: f64,
    pub outage: Outage,
    /// Seconds of virtual time.
    pub out_from: u64,
    pub out_until: u64,
    /// Two more workers come then.
    pub grow_at: Option<u64>,
    /// Orders come until then.
    pub orders_until: u64,
    /// The bank answers with 5xx beyond so many questions in a second.
    pub capacity: usize,
}

#[derive(Debug)]
struct AlwaysStands;

impl Standing for AlwaysStands {
    fn stands(&self) -> bool {
        true
    }
}

struct Shard {
    core: Core,
    number: u16,
    worker: usize,
    answers: (mpsc::Sender<Answered>, mpsc::Receiver<Answered>),
    next_event: u64,
    next_result: u64,
    token: u64,
}

struct Worker {
    engine: Engine,
    owner: Arc<Owner>,
    turns: Turns,
    wake_us: u64,
}

/// A question in flight.
struct Flight {
    worker: usize,
    job: Job,
    place: Place,
    started_us: u64,
    answer: Answer,
}

enum Happening {
    Answer(Box<Flight>),
    /// A request for start times arrives at the store.
    Reserve(usize, Reserve),
    Reserved(usize, crate::store::ceiling::Slots),
}

/// What came of an order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    pub entered: Millis,
    pub first_asked: Option<Millis>,
    pub settled: Option<Millis>,
}

pub struct World {
    scene: Scene,
    now_us: u64,
    name: TypeName,
    store: MemoryStore,
    shards: Vec<Shard>,
    workers: Vec<Worker>,
    types: BTreeMap<TypeName, OrderTypeConfig>,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening>,
    sequence: u64,
    entered: u64,
    /// When each question reached the bank, in microseconds.
    pub questions: Vec<u64>,
    pub fates: HashMap<String, Fate>,
    pub open: usize,
    pub exhausted: usize,
    /// The most orders that a worker held claimed in the middle of the outage.
    pub claimed_in_outage: u32,
}

impl World {
    pub fn new(scene: Scene) -> Self {
        let name = TypeName::new("transfer").unwrap();
        let mut config = OrderTypeConfig::new("http://bank.internal/q".to_owned());
        config.ceiling = Ceiling {
            questions_per_second: scene.per_second,
            ..Ceiling::default()
        };
        let types = BTreeMap::from([(name.clone(), config)]);
        let mut world = Self {
            scene,
            now_us: 0,
            name,
            store: MemoryStore::new(Clock::start()),
            shards: Vec::new(),
            workers: Vec::new(),
            types,
            agenda: BinaryHeap::new(),
            happenings: HashMap::new(),
            sequence: 0,
            entered: 0,
            questions: Vec::new(),
            fates: HashMap::new(),
            open: 0,
            exhausted: 0,
            claimed_in_outage: 0,
        };
        world.join();
        for number in 0..scene.shards {
            let types = vec![TypePlan {
                name: world.name.clone(),
                schedule: world.types[&world.name].schedule.clone(),
                timeout: TIMEOUT,
            }];
            let mut plan = Plan::new(number, scene.shards, 86_400_000, types);
            // What only gauges need costs most of a run.
            plan.survey_every = 60_000;
            world.shards.push(Shard {
                core: Core::new(plan, 0),
                number,
                worker: 0,
                answers: mpsc::channel(100_000),
                next_event: 0,
                next_result: 0,
                token: 0,
            });
            world.input(number.into(), Input::Assigned);
        }
        world
    }

    fn join(&mut self) {
        let clock = Clock::start();
        let around = Around {
            clock,
            metrics: Metrics::new(clock, [&self.name]).unwrap(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let (engine, mut lanes) = Engine::build(&self.types, &around).unwrap();
        let (lane, turns) = lanes.pop().unwrap();
        self.workers.push(Worker {
            engine,
            owner: Arc::clone(&lane.owner),
            turns,
            wake_us: 0,
        });
    }

    /// Two more workers take a part of the shards over.
    fn grow(&mut self) {
        self.join();
        self.join();
        for shard in 0..self.shards.len() {
            let worker = shard % 3;
            if worker > 0 {
                self.input(shard, Input::Revoked);
                self.shards[shard].worker = worker;
                self.input(shard, Input::Assigned);
            }
        }
    }

    fn now(&self) -> Millis {
        self.now_us / 1000
    }

    pub fn seconds(&self) -> u64 {
        self.now_us / 1_000_000
    }

    fn is_out(&self) -> bool {
        (self.scene.out_from..self.scene.out_until).contains(&self.seconds())
    }

    fn at(&mut self, at_us: u64, what: Happening) {
        self.sequence += 1;
        self.agenda.push(Reverse((at_us, self.sequence)));
        self.happenings.insert(self.sequence, what);
    }

    /// Runs until all orders have come and are settled, or until `limit` seconds.
    pub fn run(&mut self, limit: u64, mut each_second: impl FnMut(&World)) {
        let mut second = 0;
        while self.seconds() < limit && (self.seconds() < self.scene.orders_until || self.open > 0)
        {
            self.step();
            if self.seconds() >= second {
                second = self.seconds() + 1;
                if self.scene.grow_at == Some(self.seconds()) && self.workers.len() == 1 {
                    self.grow();
                }
                if self.is_out() && self.seconds() > self.scene.out_from + 30 {
                    let held = self.shards.iter().map(|shard| shard.core.claimed(0)).sum();
                    self.claimed_in_outage = self.claimed_in_outage.max(held);
                }
                each_second(self);
            }
        }
    }

    /// The next moment at which something happens.
    fn step(&mut self) {
        let mut next = u64::MAX;
        if let Some(Reverse((at, _))) = self.agenda.peek() {
            next = *at;
        }
        for worker in &self.workers {
            next = next.min(worker.wake_us);
        }
        for shard in &self.shards {
            next = next.min(shard.core.next_wakeup().saturating_mul(1000));
        }
        let gap_us = 1_000_000 / self.scene.orders_per_second;
        let arrival = self.entered * gap_us;
        let arrives = arrival < self.scene.orders_until * 1_000_000;
        if arrives {
            next = next.min(arrival);
        }
        self.now_us = self.now_us.max(next);
        while let Some(Reverse((at, _))) = self.agenda.peek()
            && *at <= self.now_us
        {
            let Reverse((_, sequence)) = self.agenda.pop().unwrap();
            let what = self.happenings.remove(&sequence).unwrap();
            self.happen(what);
        }
        if arrives && arrival <= self.now_us {
            self.enter();
        }
        for shard in 0..self.shards.len() {
            self.drain_answers(shard);
            if self.shards[shard].core.next_wakeup() <= self.now() {
                self.input(shard, Input::Tick);
            }
        }
        for worker in 0..self.workers.len() {
            self.turn(worker);
        }
    }

    fn enter(&mut self) {
        let number = format!("TX{}", self.entered);
        self.entered += 1;
        let key = OrderKey {
            order_type: self.name.clone(),
            req_no: ReqNo::new(&number).unwrap(),
        };
        let shard = usize::from(key.shard(self.scene.shards));
        let appended = START + self.now();
        let fate = Fate {
            entered: self.now(),
            ..Fate::default()
        };
        self.fates.insert(number, fate);
        self.open += 1;
        let own = &mut self.shards[shard];
        let offset = own.next_event;
        own.next_event += 1;
        let record = EventRecord {
            offset,
            appended,
            traceparent: None,
            forwarded: false,
            event: Ok(Event {
                key,
                at: appended,
                body: Body::Pending {
                    status: Open::InProgress,
                    ask_at: None,
                    query: None,
                },
            }),
            original: None,
        };
        self.input(shard, Input::Events(vec![record], offset + 1));
    }

    fn drain_answers(&mut self, shard: usize) {
        while let Ok(answered) = self.shards[shard].answers.1.try_recv() {
            let heard = Heard {
                id: answered.ticket.id,
                claim: answered.ticket.claim,
                answer: answered.answer,
                started: answered.started,
            };
            self.input_of(shard, answered.ticket.generation, Input::Answered(heard));
        }
    }

    fn input(&mut self, shard: usize, input: Input) {
        let generation = self.shards[shard].core.generation();
        self.input_of(shard, generation, input);
    }

    fn input_of(&mut self, shard: usize, generation: u64, input: Input) {
        let mono = self.now();
        let own = &mut self.shards[shard];
        let engine = &self.workers[own.worker].engine;
        own.core.permit(0, engine.lease(own.number, &self.name));
        let mut out = Output::default();
        own.core.step(mono, generation, input, &mut out);
        own.core.flush(&mut out);
        engine.report_claimed(own.number, &self.name, own.core.claimed(0));
        for command in out.commands {
            self.serve(shard, command);
        }
    }

    #[expect(clippy::too_many_lines, reason = "one short arm a command")]
    fn serve(&mut self, shard: usize, command: Command) {
        let number = self.shards[shard].number;
        match command {
            Command::Acquire(floor) => {
                let own = &mut self.shards[shard];
                own.token += 1;
                let acquire = Acquire {
                    shard: number,
                    shards: self.scene.shards,
                    token: Token(own.token),
                    floor,
                    mark_key: MarkKey([1; 16]),
                };
                let answer = self.store.acquire_now(acquire, START + self.now());
                self.input(shard, Input::Acquired(answer));
            }
            Command::FindFloor => {
                let floor = FloorFound {
                    floor: Floor { e: 0, r: 0 },
                    known_below: 0,
                };
                self.input(shard, Input::FloorFound(Ok(floor)));
            }
            Command::Fence => self.input(shard, Input::Fenced(Ok(()))),
            Command::AskEnds => {
                let own = &self.shards[shard];
                let ends = |high| Ends { low: 0, high };
                let ends = LogEnds {
                    events: ends(own.next_event),
                    results: ends(own.next_result),
                };
                self.input(shard, Input::Ends(Ok(ends)));
            }
            Command::Run(script) => {
                let answer = self.store.apply(number, &script);
                self.input(shard, Input::Replied(answer));
            }
            Command::ReadMeta => {
                let answer = self.store.meta_now(number, START + self.now());
                self.input(shard, Input::MetaRead(answer));
            }
            Command::Ask(ask) => {
                let own = &self.shards[shard];
                let question = Question {
                    key: ask.key,
                    query: ask.query,
                    traceparent: ask.traceparent,
                    attempt: ask.attempt,
                    fresh: ask.fresh,
                    start_before: ask.start_before,
                    asker: Asker {
                        standing: Arc::new(AlwaysStands),
                        ticket: Ticket {
                            generation: own.core.generation(),
                            id: ask.id,
                            claim: ask.claim,
                        },
                        answers: own.answers.0.clone(),
                    },
                };
                self.workers[own.worker].engine.ask(question);
            }
            Command::Publish(results) => {
                let mut records = Vec::new();
                for result in results {
                    match &result.outcome {
                        Outcome::Exhausted { .. } => self.exhausted += 1,
                        Outcome::Settled { .. } => {
                            let fate = self.fates.get_mut(result.key.req_no.as_str()).unwrap();
                            assert!(fate.settled.is_none(), "{} twice", result.key);
                            fate.settled = Some(self.now_us / 1000);
                            self.open -= 1;
                        }
                    }
                    let own = &mut self.shards[shard];
                    records.push(ResultRecord {
                        offset: own.next_result,
                        appended: START + self.now_us / 1000,
                        result: Some(result),
                    });
                    own.next_result += 1;
                }
                // The transaction's marker.
                self.shards[shard].next_result += 1;
                let position = self.shards[shard].next_result;
                self.input(shard, Input::Published(Ok(())));
                self.input(shard, Input::Results(records, position));
            }
            _ => {}
        }
    }

    /// One step of a worker's dispatcher.
    fn turn(&mut self, worker: usize) {
        let now_us = self.now_us;
        let own = &mut self.workers[worker];
        let mut started = Vec::new();
        let wait = own
            .turns
            .step(now_us, |job, place| started.push((job, place)));
        own.wake_us = wait
            .until_us
            .map_or(u64::MAX, |until| until.max(now_us + 1));
        let request = own.turns.request(now_us);
        for (job, place) in started {
            self.ask(worker, job, place);
        }
        if let Some(reserve) = request {
            self.at(now_us + WAY_US, Happening::Reserve(worker, reserve));
            self.workers[worker].wake_us = u64::MAX;
        }
    }

    fn ask(&mut self, worker: usize, job: Job, place: Place) {
        let now = self.now();
        if let Job::Claimed(question) = &job {
            let fate = self.fates.get_mut(question.key.req_no.as_str()).unwrap();
            fate.first_asked.get_or_insert(now);
        }
        self.questions.push(self.now_us);
        let (answer, took_us) = self.bank(&job);
        let flight = Flight {
            worker,
            job,
            place,
            started_us: self.now_us,
            answer,
        };
        self.at(self.now_us + took_us, Happening::Answer(Box::new(flight)));
    }

    /// One order in ten is still in progress at the first question.
    fn bank(&self, job: &Job) -> (Answer, u64) {
        let could_not = |why| Answer::CouldNotAsk {
            why,
            retry_after: None,
        };
        if self.is_out() {
            return match self.scene.outage {
                Outage::Refuses => (could_not(CouldNotAsk::Unreachable), 1_000),
                Outage::Hangs => (could_not(CouldNotAsk::TimedOut), TIMEOUT * 1000),
            };
        }
        let since = self.now_us.saturating_sub(1_000_000);
        let lately = self.questions.iter().rev().take_while(|at| **at > since);
        if lately.count() > self.scene.capacity {
            return (could_not(CouldNotAsk::ServerError), 50_000);
        }
        let Job::Claimed(question) = job else {
            return (Answer::InProgress, 5_000);
        };
        if question.attempt == 1 && question.key.req_no.as_bytes().ends_with(b"7") {
            return (Answer::InProgress, 5_000);
        }
        let terminal = Answer::Terminal {
            status: Terminal::Success,
            rsp_no: None,
            ret_cd: None,
            ret_msg: None,
        };
        (terminal, 5_000)
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Answer(flight) => {
                let Flight {
                    worker,
                    job,
                    place,
                    started_us,
                    answer,
                } = *flight;
                self.workers[worker]
                    .owner
                    .note(&answer, started_us, self.now_us);
                let took = std::time::Duration::from_micros(self.now_us - started_us);
                job.answer(answer, |_| None, Some(started_us / 1000), took);
                drop(place);
            }
            Happening::Reserve(worker, reserve) => {
                let slots = self.store.reserve_now(&self.name, &reserve, self.now_us);
                self.at(self.now_us + WAY_US, Happening::Reserved(worker, slots));
            }
            Happening::Reserved(worker, slots) => {
                self.workers[worker]
                    .turns
                    .reserved(Some(slots), self.now_us);
            }
        }
    }

    /// The most questions in any sliding second.
    pub fn peak(&self) -> usize {
        let (mut first, mut most) = (0, 0);
        for (last, at) in self.questions.iter().enumerate() {
            while self.questions[first] + 1_000_000 <= *at {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most
    }

    /// Questions between two seconds.
    pub fn asked_between(&self, from: u64, until: u64) -> usize {
        let inside = |at: &&u64| (from..until).contains(&(**at / 1_000_000));
        self.questions.iter().filter(inside).count()
    }
}
