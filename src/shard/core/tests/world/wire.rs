//! What travels between a worker and the rest of the world, and what each request does where it
//! arrives: the store, the coordinator, the logs, the owner.

use std::sync::Arc;

use super::log::Txn;
use super::questions::Questions;
use super::said::SHARD;
use super::worker::Which;
use super::{Happening, World};
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::order::Millis;
use crate::domain::result::OrderResult;
use crate::plant::{self, Plant};
use crate::shard::core::input::{Ask, Command, Heard, Input, LogEnds};
use crate::store::script::{Floor, Script};

/// Who sent a request, and to whom the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub worker: usize,
    pub life: u32,
    pub generation: u64,
}

/// On its way out.
#[derive(Debug)]
pub enum Request {
    Acquire(Option<Floor>),
    FindFloor,
    Fence,
    AskEnds,
    Run(Arc<Script>),
    /// A script whose sender was told that its reply is lost.
    Ghost(Arc<Script>),
    ReadMeta,
    Survey,
    CommitFloor(Floor),
    CommitGroup(u64),
    Produce(u32, Vec<OrderResult>),
    End(u32, Txn),
    /// As `End`, of a publisher that has given up.
    GhostEnd(u32, Txn),
    Question(Ask),
    Letter(u64),
    Forward(u64),
}

/// On its way back.
#[derive(Debug)]
pub enum Delivery {
    Input(Input),
    Opened(u32),
}

impl World {
    /// Starts what a core commanded.
    pub(super) fn carry_out(&mut self, worker: usize, command: Command) {
        let asker = self.asker(worker);
        let own = &mut self.workers[worker];
        let request = match command {
            Command::Acquire(floor) => Request::Acquire(floor),
            Command::FindFloor => Request::FindFloor,
            Command::Fence => {
                (own.publisher, own.publishing) = (None, false);
                Request::Fence
            }
            Command::AskEnds => Request::AskEnds,
            Command::ReadResults(offset) => {
                return self.start_reading(worker, Which::Results, offset);
            }
            Command::ReadEvents(offset) => {
                return self.start_reading(worker, Which::Events, offset);
            }
            Command::Release => {
                own.readers = [None; 2];
                (own.publisher, own.publishing) = (None, false);
                return;
            }
            Command::Run(script) => Request::Run(script),
            Command::ReadMeta => Request::ReadMeta,
            Command::Ask(ask) => {
                let question = (worker, asker.life, asker.generation, ask.id, ask.claim);
                let now = own.core.shard_time();
                let said = (&ask.key, ask.query.as_deref());
                let verdict = self.watch.questions.commanded(question, said, now);
                self.hold(verdict);
                Request::Question(ask)
            }
            // Nothing here throws a publisher away but what the core commands.
            Command::Publish(results) => match own.publisher {
                Some(epoch) => {
                    if std::mem::replace(&mut own.publishing, true) {
                        self.hold(Err(format!(
                            "TWO GROUPS: worker {worker} publishes at once"
                        )));
                    }
                    Request::Produce(epoch, results)
                }
                None => {
                    return self.deliver(
                        asker,
                        Input::Published(Err("there is no open publisher".to_owned())),
                    );
                }
            },
            Command::DeadLetter {
                offset, refusal, ..
            } => {
                let verdict = self.watch.letter(offset, refusal.reason, &self.events);
                self.hold(verdict);
                Request::Letter(offset)
            }
            Command::Forward { offset, .. } => Request::Forward(offset),
            Command::Survey => Request::Survey,
            Command::CommitFloor(floor) => Request::CommitFloor(floor),
            Command::CommitGroup(e) => Request::CommitGroup(e),
        };
        let delay = self.delay();
        self.at(delay, Happening::Arrive(asker, request));
    }

    pub(super) fn deliver(&mut self, to: Asker, input: Input) {
        let delay = self.delay();
        self.at(delay, Happening::Deliver(to, Delivery::Input(input)));
    }

    pub(super) fn fails(&mut self, per_thousand: u64) -> bool {
        self.dice.in_thousand(per_thousand)
    }

    /// A request has reached the place where it is served.
    pub(super) fn arrive(&mut self, asker: Asker, request: Request) {
        match request {
            Request::Acquire(floor) => self.acquire(asker, floor),
            Request::FindFloor => {
                let found = if self.fails(self.storm.requests) {
                    Err("broker".to_owned())
                } else {
                    Ok(self.find_floor())
                };
                self.deliver(asker, Input::FloorFound(found));
            }
            Request::Fence => self.fence(asker),
            Request::AskEnds => {
                let mut ends = LogEnds {
                    events: self.events.ends(),
                    results: self.results.ends(),
                };
                if plant::is(Plant::EndReadCommitted) {
                    ends.results.high = self.results.stable();
                }
                let failed = self.fails(self.storm.requests);
                self.deliver(
                    asker,
                    Input::Ends(if failed {
                        Err("broker".to_owned())
                    } else {
                        Ok(ends)
                    }),
                );
            }
            Request::Run(script) => self.run_script(asker, script),
            Request::Ghost(script) => self.arrive_late(asker, &script),
            Request::ReadMeta => {
                let answer = match self.store_fails() {
                    Some(error) => Err(error),
                    None => self
                        .store_of(asker.worker)
                        .meta_now(SHARD, self.store_now()),
                };
                self.deliver(asker, Input::MetaRead(answer));
            }
            Request::Survey => {
                let answer = match self.store_fails() {
                    Some(error) => Err(error),
                    None => self.store_of(asker.worker).survey_now(SHARD),
                };
                self.deliver(asker, Input::Surveyed(answer));
            }
            Request::CommitFloor(floor) => self.commit_floor(asker, floor),
            Request::CommitGroup(e) => self.committed = e,
            Request::Produce(epoch, results) => self.produce(asker, epoch, results),
            Request::End(epoch, txn) => self.end(asker, epoch, txn),
            Request::GhostEnd(epoch, txn) => self.end_late(asker, epoch, txn),
            Request::Question(ask) => self.question(asker, ask),
            Request::Letter(offset) => {
                let failed = self.fails(self.storm.letters);
                if !failed || self.fails(500) {
                    self.watch.letters.insert(offset);
                }
                self.acknowledge(asker, offset, failed);
            }
            Request::Forward(offset) => {
                let failed = self.fails(self.storm.letters);
                if !failed || self.fails(500) {
                    self.watch.forwards.insert(offset);
                }
                self.acknowledge(asker, offset, failed);
            }
        }
    }

    /// A question's turn has come in its worker's engine.
    fn question(&mut self, asker: Asker, ask: Ask) {
        let own = &self.workers[asker.worker];
        if own.life != asker.life {
            return;
        }
        if own.paused_until > self.now {
            let delay = own.paused_until - self.now;
            return self.at(delay, Happening::Arrive(asker, Request::Question(ask)));
        }
        let now = own.mono(self.now);
        let stands = own.core.generation() == asker.generation;
        let starts = (stands || plant::is(Plant::AskedUnowned)) && now < ask.start_before;
        let (answer, latency) = if starts {
            self.ask_owner(asker, &ask, stands)
        } else {
            let why = CouldNotAsk::NotStarted;
            let retry_after = None;
            (Answer::CouldNotAsk { why, retry_after }, 1)
        };
        let heard = Heard {
            id: ask.id,
            claim: ask.claim,
            answer,
            started: starts.then_some(now),
        };
        self.at(
            latency,
            Happening::Deliver(asker, Delivery::Input(Input::Answered(heard))),
        );
    }

    /// What the owner says, and after how long.
    fn ask_owner(&mut self, asker: Asker, ask: &Ask, stands: bool) -> (Answer, Millis) {
        let question = (
            asker.worker,
            asker.life,
            asker.generation,
            ask.id,
            ask.claim,
        );
        self.hold(Questions::starts(question, stands));
        let now = self.workers[asker.worker].core.shard_time();
        let earliest = self.first_question.get(&ask.key);
        if stands && earliest.is_some_and(|earliest| now < *earliest) {
            self.hold(Err(format!(
                "EARLY: {} is asked before its first delay",
                ask.key
            )));
        }
        let (answer, latency) = self.bank.answer(&ask.key, self.now, &mut self.dice);
        self.note(|| {
            format!(
                "{} is asked (claim {}, attempt {}): {answer:?}",
                ask.key, ask.claim, ask.attempt
            )
        });
        if !matches!(answer, Answer::CouldNotAsk { .. }) {
            let terminal = matches!(answer, Answer::Terminal { .. });
            self.watch.questions.heard(question, &ask.key, terminal);
        }
        if let Answer::Terminal { status, .. } = &answer {
            self.echo(&ask.key, *status);
        }
        if self.fails(self.storm.slow) {
            self.saw("answer after its lease");
            return (answer, latency + self.dice.between(5_000, 25_000));
        }
        (answer, latency)
    }
}
