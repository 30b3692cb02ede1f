//! Kafka as the place where transactions, dead letters and forwards arrive, or fail.

use super::coordinator::Refused;
use super::log::Txn;
use super::said::{SHARD, order};
use super::wire::{Asker, Delivery, Request};
use super::worker::Which;
use super::{Happening, World};
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::Open;
use crate::plant::{self, Plant};
use crate::shard::core::input::Input;
use crate::store::script::Floor;

/// Whose coordinator a worker's publisher speaks to.
fn transactional_id(asker: Asker) -> usize {
    if plant::is(Plant::WorkerInTransactionalId) {
        asker.worker
    } else {
        0
    }
}

impl World {
    pub(super) fn acknowledge(&mut self, asker: Asker, offset: u64, failed: bool) {
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

    pub(super) fn fence(&mut self, asker: Asker) {
        if self.fails(self.storm.commits / 4) {
            return self.deliver(asker, Input::Fenced(Err("timed out".to_owned())));
        }
        let (id, now) = (transactional_id(asker), self.brokers_now());
        match self.coordinators[id].init(&mut self.results, now) {
            Ok(epoch) => {
                self.stir(Which::Results);
                let delay = self.delay();
                self.at(delay, Happening::Deliver(asker, Delivery::Opened(epoch)));
            }
            Err(_) => self.at(5, Happening::Arrive(asker, Request::Fence)),
        }
    }

    pub(super) fn produce(&mut self, asker: Asker, epoch: u32, results: Vec<OrderResult>) {
        let bad = self.fails(self.storm.commits);
        let count = if bad {
            self.dice.below(results.len() as u64 + 1) as usize
        } else {
            results.len()
        };
        let now = self.brokers_now();
        let publisher = &mut self.coordinators[transactional_id(asker)];
        match publisher.produce(&mut self.results, epoch, now, &results[..count]) {
            Err(Refused::Concurrent) => {
                return self.at(
                    5,
                    Happening::Arrive(asker, Request::Produce(epoch, results)),
                );
            }
            Err(Refused::Fenced) => {
                self.saw("zombie fenced");
                return self.deliver(asker, Input::Published(Err("fenced".to_owned())));
            }
            Ok(txn) => {
                self.at(10_000, Happening::TimeOut(txn));
                if bad && self.fails(300) {
                    return self.deliver(asker, Input::Published(Err("not delivered".to_owned())));
                }
                if !bad || count == results.len() {
                    let slow = self.fails(self.storm.commits / 2);
                    let delay = if slow {
                        self.dice.between(100, 4_000)
                    } else {
                        self.delay()
                    };
                    let ghost = bad && self.fails(700);
                    if ghost {
                        self.deliver(asker, Input::Published(Err("commit timed out".to_owned())));
                        // Before the next owner fences it off, or too late.
                        let most = self.dice.weighted(&[(2, 30), (1, 9_000)]);
                        let late = self.dice.between(1, most);
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

    pub(super) fn end(&mut self, asker: Asker, epoch: u32, txn: Txn) {
        match self.coordinators[transactional_id(asker)].commit(epoch, txn) {
            Ok(()) => {
                self.mark_later(txn);
                let delay = self.delay();
                if self.fails(self.storm.commits / 3) {
                    self.saw("commit landed, reply lost");
                    return self
                        .deliver(asker, Input::Published(Err("the reply is lost".to_owned())));
                }
                self.at(
                    delay,
                    Happening::Deliver(asker, Delivery::Input(Input::Published(Ok(())))),
                );
            }
            Err(Refused::Concurrent) => {
                self.at(5, Happening::Arrive(asker, Request::End(epoch, txn)));
            }
            Err(Refused::Fenced) => self.deliver(asker, Input::Published(Err("fenced".to_owned()))),
        }
    }

    /// A commit arrives whose publisher has given up.
    pub(super) fn end_late(&mut self, asker: Asker, epoch: u32, txn: Txn) {
        if self.coordinators[transactional_id(asker)]
            .commit(epoch, txn)
            .is_ok()
        {
            self.note(|| format!("{txn:?} lands late"));
            self.saw("unknown commit landed late");
            self.mark_later(txn);
        }
    }

    pub(super) fn mark_later(&mut self, txn: Txn) {
        let delay = if self.fails(self.storm.commits) {
            self.dice.between(1, 2_000)
        } else {
            1
        };
        self.at(delay, Happening::Mark(txn));
    }

    /// An old floor, or a zombie's, may come after a newer one.
    pub(super) fn commit_floor(&mut self, asker: Asker, floor: Floor) {
        if self.fails(self.storm.floors) {
            let late = self.dice.between(100, 20_000);
            self.at(late, Happening::Arrive(asker, Request::CommitFloor(floor)));
        } else {
            self.floors.push(floor);
        }
    }

    /// A foreign transaction holds the last stable offset back: what lies behind it is not seen yet.
    pub(super) fn intruder(&mut self, end: Option<Txn>) {
        match end {
            Some(txn) => {
                self.results.end(self.brokers_now(), txn, false);
                self.stir(Which::Results);
            }
            // Nobody to be held back.
            None if self.workers.iter().all(|worker| !worker.alive) => {
                self.at(60_000, Happening::Intruder(None));
            }
            None if self.now < self.storm_ends => {
                let txn = self.results.begin();
                self.results
                    .append(self.brokers_now(), Some(txn), self.nonsense());
                self.saw("foreign transaction in the results");
                let open = self.dice.between(10, 9_000);
                self.at(open, Happening::Intruder(Some(txn)));
                let again = self.dice.between(1_000, 30_000);
                self.at(again, Happening::Intruder(None));
            }
            None => {}
        }
    }

    fn nonsense(&self) -> OrderResult {
        OrderResult {
            key: order("odd", 999, true),
            phase: 0,
            outcome: Outcome::Exhausted {
                status: Open::Unknown,
                reason: String::new(),
                query: None,
            },
            asked: 0,
            first_seen: self.now,
            at: self.now,
            event: (SHARD, 0),
            traceparent: None,
        }
    }
}
