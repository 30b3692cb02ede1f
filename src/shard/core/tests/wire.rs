//! What travels between a worker and the rest of the world, and what each request does where it
//! arrives: the store, the coordinator, the logs, the owner.

use std::sync::Arc;

use super::coordinator::Refused;
use super::log::Txn;
use super::said::{SHARD, SHARDS, Said};
use super::world::{Happening, World};
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::order::{MarkKey, Millis};
use crate::domain::result::OrderResult;
use crate::shard::core::input::{Ask, Command, FloorFound, Heard, Input, LogEnds};
use crate::store::script::{Body, Floor, Reply, Script, Token};
use crate::store::{Acquire, StoreError};

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
    Published(u32),
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
                own.publisher = None;
                Request::Fence
            }
            Command::AskEnds => Request::AskEnds,
            Command::ReadResults(offset) => {
                return self.start_reading(worker, super::worker::Which::Results, offset);
            }
            Command::ReadEvents(offset) => {
                return self.start_reading(worker, super::worker::Which::Events, offset);
            }
            Command::Release => {
                own.readers = [None; 2];
                own.publisher = None;
                return;
            }
            Command::Run(script) => Request::Run(script),
            Command::ReadMeta => Request::ReadMeta,
            Command::Ask(ask) => {
                let question = (worker, asker.life, asker.generation, ask.id, ask.claim);
                let now = own.core.shard_time();
                let verdict = self.watch.question(question, now);
                self.hold(verdict);
                Request::Question(ask)
            }
            Command::Publish(results) => match own.publisher.take() {
                Some(epoch) => Request::Produce(epoch, results),
                None => {
                    return self.deliver(
                        asker,
                        Input::Published(Err("there is no open publisher".to_owned())),
                    );
                }
            },
            Command::DeadLetter { offset, .. } => Request::Letter(offset),
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

    /// Some requests to the store come to nothing, in one of three ways.
    fn store_fails(&mut self) -> Option<StoreError> {
        if self.now < self.unavailable_until {
            return Some(StoreError::Unavailable("down".to_owned()));
        }
        if !self.dice.in_thousand(self.storm.requests) {
            return None;
        }
        Some(if self.dice.in_thousand(500) {
            StoreError::Lost("no reply".to_owned())
        } else {
            StoreError::Unavailable("moved".to_owned())
        })
    }

    fn fails(&mut self, per_thousand: u64) -> bool {
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
                let ends = LogEnds {
                    events: self.events.ends(),
                    results: self.results.ends(),
                };
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
            Request::Ghost(script) => drop(self.apply(asker, &script)),
            Request::ReadMeta => {
                let answer = match self.store_fails() {
                    Some(error) => Err(error),
                    None => self.store.meta_now(SHARD, self.now),
                };
                self.deliver(asker, Input::MetaRead(answer));
            }
            Request::Survey => {
                let answer = match self.store_fails() {
                    Some(error) => Err(error),
                    None => self.store.survey_now(SHARD),
                };
                self.deliver(asker, Input::Surveyed(answer));
            }
            Request::CommitFloor(floor) => self.floor = Some(floor),
            Request::CommitGroup(e) => self.committed = e,
            Request::Produce(epoch, results) => self.produce(asker, epoch, results),
            Request::End(epoch, txn) => self.end(asker, epoch, txn),
            Request::GhostEnd(epoch, txn) => {
                if self.coordinator.commit(epoch, txn).is_ok() {
                    self.note(|| format!("{txn:?} lands late"));
                    self.mark_later(txn);
                }
            }
            Request::Question(ask) => self.question(asker, &ask),
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

    fn acknowledge(&mut self, asker: Asker, offset: u64, failed: bool) {
        let answer = if failed {
            Err("no delivery".to_owned())
        } else {
            Ok(())
        };
        let late = if self.fails(self.storm.letters) {
            self.dice.between(100, 20_000)
        } else {
            1
        };
        self.at(
            late,
            Happening::Deliver(asker, Delivery::Input(Input::Acknowledged(offset, answer))),
        );
    }

    fn acquire(&mut self, asker: Asker, floor: Option<Floor>) {
        let failed = self.store_fails();
        if let Some(StoreError::Unavailable(_)) = failed {
            return self.deliver(
                asker,
                Input::Acquired(Err(StoreError::Unavailable("down".to_owned()))),
            );
        }
        let token = Token(self.dice.draw() | 1);
        let mut mark_key = [7; 16];
        mark_key[..8].copy_from_slice(&self.dice.draw().to_be_bytes());
        let acquire = Acquire {
            shard: SHARD,
            shards: SHARDS,
            token,
            floor,
            mark_key: MarkKey(mark_key),
        };
        // A lost request did not arrive, or its reply is lost.
        if failed.is_some() && self.fails(500) {
            return self.deliver(
                asker,
                Input::Acquired(failed.map_or(Err(StoreError::Lost(String::new())), Err)),
            );
        }
        let made = floor.is_some()
            && self
                .store
                .meta_now(SHARD, self.now)
                .is_ok_and(|meta| meta.is_none());
        let answer = self.store.acquire_now(acquire, self.now);
        if made {
            self.watch.forget_effects();
            self.look_at_e();
        }
        self.deliver(
            asker,
            Input::Acquired(match failed {
                Some(error) => Err(error),
                None => answer,
            }),
        );
    }

    /// As `shard::floor` finds it.
    fn find_floor(&self) -> FloorFound {
        let (events, results) = (self.events.ends(), self.results.ends());
        let e = self
            .floor
            .map_or(events.low, |floor| floor.e.clamp(events.low, events.high));
        let appended = self.events.append_time(e);
        let r = match self.floor {
            None => results.low,
            Some(floor) => {
                let since = appended
                    .unwrap_or(self.now)
                    .saturating_sub(self.plan.window + 60_000);
                let windowed = self.results.offset_for_time(since);
                windowed
                    .unwrap_or(results.high)
                    .min(floor.r)
                    .clamp(results.low, results.high)
            }
        };
        FloorFound {
            floor: Floor { e, r },
            appended,
            known_below: self.committed,
        }
    }

    fn run_script(&mut self, asker: Asker, script: Arc<Script>) {
        let answer = match self.store_fails() {
            Some(StoreError::Lost(text)) => {
                match self.dice.below(3) {
                    0 => drop(self.apply(asker, &script)),
                    1 => {
                        let late = self.dice.between(1, 4_000);
                        self.at(late, Happening::Arrive(asker, Request::Ghost(script)));
                    }
                    _ => {}
                }
                self.note(|| "the reply is lost".to_owned());
                Err(StoreError::Lost(text))
            }
            Some(error) => Err(error),
            None if self.now < self.full_until && matches!(script.body, Body::Fold(_)) => {
                Err(StoreError::Full("full".to_owned()))
            }
            None => self.apply(asker, &script),
        };
        self.deliver(asker, Input::Replied(answer));
    }

    /// Runs a script on the view and looks at what it did.
    fn apply(&mut self, asker: Asker, script: &Script) -> Result<Reply, StoreError> {
        let reply = self.store.apply(SHARD, script);
        self.note(|| format!("{asker:?} {script:?}\n      -> {reply:?}"));
        match &reply {
            Ok(Reply::Mismatch) => return reply,
            Ok(
                Reply::Claimed { claimed, .. }
                | Reply::Folded { claimed, .. }
                | Reply::Rescheduled { claimed, .. },
            ) => {
                for order in claimed {
                    let question = (
                        asker.worker,
                        asker.life,
                        asker.generation,
                        order.id,
                        order.record.claim,
                    );
                    self.watch.claims.insert(question, order.record.due);
                }
            }
            Ok(Reply::Swept { repaired }) if *repaired > 0 => {
                self.hold(Err(format!(
                    "LOST BUCKET: the sweep put {repaired} records back"
                )));
            }
            Err(error) => self.hold(Err(format!("DAMAGED: {error} after {script:?}"))),
            _ => {}
        }
        self.look_at_e();
        reply
    }

    /// Whatever the view says was folded must have had its effect.
    pub(super) fn look_at_e(&mut self) {
        if let Ok(Some(meta)) = self.store.meta_now(SHARD, self.now) {
            let verdict = self.watch.passed(meta.e, &self.events, &self.store);
            self.hold(verdict);
        }
    }

    fn fence(&mut self, asker: Asker) {
        if self.fails(self.storm.commits / 4) {
            return self.deliver(asker, Input::Fenced(Err("timed out".to_owned())));
        }
        match self.coordinator.init(&mut self.results, self.now) {
            Ok(epoch) => {
                self.stir(super::worker::Which::Results);
                let delay = self.delay();
                self.at(delay, Happening::Deliver(asker, Delivery::Opened(epoch)));
            }
            Err(_) => self.at(5, Happening::Arrive(asker, Request::Fence)),
        }
    }

    fn produce(&mut self, asker: Asker, epoch: u32, results: Vec<OrderResult>) {
        let bad = self.fails(self.storm.commits);
        let count = if bad {
            self.dice.below(results.len() as u64 + 1) as usize
        } else {
            results.len()
        };
        match self
            .coordinator
            .produce(&mut self.results, epoch, self.now, &results[..count])
        {
            Err(Refused::Concurrent) => {
                return self.at(
                    5,
                    Happening::Arrive(asker, Request::Produce(epoch, results)),
                );
            }
            Err(Refused::Fenced) => {
                return self.deliver(asker, Input::Published(Err("fenced".to_owned())));
            }
            Ok(txn) => {
                self.at(10_000, Happening::TimeOut(txn));
                if bad && self.fails(300) {
                    return self.deliver(asker, Input::Published(Err("not delivered".to_owned())));
                }
                if !bad || count == results.len() {
                    let delay = self.delay();
                    let ghost = bad && self.fails(700);
                    if ghost {
                        self.deliver(asker, Input::Published(Err("commit timed out".to_owned())));
                        let late = self.dice.between(1, 9_000);
                        return self.at(
                            late,
                            Happening::Arrive(asker, Request::GhostEnd(epoch, txn)),
                        );
                    }
                    return self.at(delay, Happening::Arrive(asker, Request::End(epoch, txn)));
                }
            }
        }
        self.deliver(asker, Input::Published(Err("not delivered".to_owned())));
    }

    fn end(&mut self, asker: Asker, epoch: u32, txn: Txn) {
        match self.coordinator.commit(epoch, txn) {
            Ok(()) => {
                self.mark_later(txn);
                let delay = self.delay();
                if self.fails(self.storm.commits / 3) {
                    return self
                        .deliver(asker, Input::Published(Err("the reply is lost".to_owned())));
                }
                self.at(delay, Happening::Deliver(asker, Delivery::Published(epoch)));
            }
            Err(Refused::Concurrent) => {
                self.at(5, Happening::Arrive(asker, Request::End(epoch, txn)));
            }
            Err(Refused::Fenced) => self.deliver(asker, Input::Published(Err("fenced".to_owned()))),
        }
    }

    fn mark_later(&mut self, txn: Txn) {
        let delay = if self.fails(self.storm.commits) {
            self.dice.between(1, 2_000)
        } else {
            1
        };
        self.at(delay, Happening::Mark(txn));
    }

    fn question(&mut self, asker: Asker, ask: &Ask) {
        let own = &self.workers[asker.worker];
        if own.life != asker.life {
            return;
        }
        let started: Millis = own.mono(self.now);
        let stands = own.core.generation() == asker.generation;
        let (started, answer, latency) = if !stands || started > ask.start_before {
            (
                None,
                Answer::CouldNotAsk {
                    why: CouldNotAsk::NotStarted,
                    retry_after: None,
                },
                1,
            )
        } else {
            let (answer, latency) = self.bank.answer(&ask.key, &mut self.dice);
            self.note(|| {
                format!(
                    "{} is asked (claim {}, attempt {}): {answer:?}",
                    ask.key, ask.claim, ask.attempt
                )
            });
            (Some(started), answer, latency)
        };
        if let Some(earliest) = self.first_question.get(&ask.key)
            && self.now < *earliest
        {
            self.hold(Err(format!(
                "EARLY: {} is asked before its first delay",
                ask.key
            )));
        }
        let heard = Heard {
            id: ask.id,
            claim: ask.claim,
            answer,
            started,
        };
        self.at(
            latency,
            Happening::Deliver(asker, Delivery::Input(Input::Answered(heard))),
        );
    }

    /// Emits an event, in a transaction that is decided later if `foreign`.
    pub(super) fn emit(&mut self, said: Said) {
        let offset = self.events.high();
        self.note(|| format!("event {offset}: {said:?}"));
        if self.fails(self.storm.foreign) {
            let txn = self.events.begin();
            self.events.append(self.now, Some(txn), said);
            let late = self.dice.between(1, 3_000);
            self.at(late, Happening::ForeignEnd(txn));
        } else {
            self.events.append(self.now, None, said);
            self.stir(super::worker::Which::Events);
        }
    }
}
