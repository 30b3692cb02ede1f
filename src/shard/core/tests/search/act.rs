//! How a world changes with each happening.

use super::super::world::said::{SHARD, order};
use super::happening::Happening;
use super::part::Part;
use super::scenario::Say;
use super::small::{Ground, Small, View, Worker};
use crate::domain::order::Millis;
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::Open;
use crate::shard::core::input::Input;

type Verdict = Result<(), String>;

impl Small {
    /// One step. An error is a broken promise.
    pub fn happen(&mut self, ground: &Ground, happening: Happening) -> Verdict {
        match happening {
            Happening::Notice(worker) => return self.revoke(ground, worker),
            Happening::LateCommit => {
                if let Some(commit) = self.late_commit.take() {
                    self.land(commit);
                }
            }
            Happening::IntruderEnds => {
                if let Some(txn) = self.intruder.take() {
                    self.results.change().end(self.now, txn, false);
                }
            }
            Happening::FloorLands => self.floors = [self.floors[1], None],
            Happening::Assign(worker) => return self.assign(ground, worker),
            Happening::Deliver(worker, n, manner) => {
                let mail = self.workers[worker].mail.remove(n);
                return self.deliver_mail(ground, worker, &mail, manner);
            }
            Happening::ReadResult(worker) => return self.read_result(ground, worker),
            Happening::ReadEvent(worker) => return self.read_event(ground, worker),
            Happening::Wake(worker) => {
                self.workers[worker].awake = true;
                let generation = self.workers[worker].core.generation();
                return self.turn(ground, (worker, generation), None);
            }
            Happening::Append => {
                self.say(ground.scenario.events[self.said], ground);
                self.said += 1;
            }
            Happening::Time => self.pass_time(),
            fault => return self.strike(ground, fault),
        }
        Ok(())
    }

    /// An event is appended.
    pub fn say(&mut self, say: Say, ground: &Ground) {
        let said = say.said(&ground.orders, self.now);
        self.events.change().append(self.now, None, said);
    }

    /// A fault strikes.
    fn strike(&mut self, ground: &Ground, fault: Happening) -> Verdict {
        let left = &mut self.left;
        match fault {
            Happening::Stall => {
                left.stalls -= 1;
                self.pass_great();
            }
            Happening::Night => {
                left.nights -= 1;
                self.pass_night();
            }
            Happening::Crash(worker) => {
                left.crashes -= 1;
                self.crash(ground, worker);
            }
            Happening::Move => {
                left.moves -= 1;
                if let Some(owner) = self.owner.take() {
                    return self.revoke(ground, owner);
                }
            }
            Happening::TakeAway => {
                left.takeovers -= 1;
                if let Some(owner) = self.owner.take() {
                    return self.assign(ground, 1 - owner);
                }
            }
            Happening::Snapshot => self.snapshot = Some(self.view.clone()),
            Happening::Rollback => {
                left.rollbacks -= 1;
                if let Some(snapshot) = self.snapshot.take() {
                    self.view = snapshot;
                }
            }
            Happening::Wipe => {
                left.wipes -= 1;
                let store = ground.store(&self.view);
                store.wipe(SHARD);
                self.view = Part::new(View::of(store));
            }
            Happening::Ghost(n) => {
                left.late -= 1;
                let script = self.ghosts.remove(n);
                if self.left.late == 0 {
                    self.ghosts.clear();
                }
                self.run(ground, &script)?;
            }
            Happening::TimeOut => {
                left.timeouts -= 1;
                for coordinator in &mut self.coordinators {
                    if let Some(txn) = coordinator.open() {
                        coordinator.time_out(self.results.change(), self.now, txn);
                    }
                }
            }
            Happening::Intrude => {
                left.foreign -= 1;
                let log = self.results.change();
                let txn = log.begin();
                log.append(self.now, Some(txn), nonsense(self.now));
                self.intruder = Some(txn);
            }
            _ => {}
        }
        Ok(())
    }

    fn crash(&mut self, ground: &Ground, worker: usize) {
        let generation = self.workers[worker].core.generation() + 1;
        self.haunt(worker);
        self.workers[worker] = Worker::new(&ground.plan, generation);
        if self.owner == Some(worker) {
            self.owner = None;
        }
    }

    fn assign(&mut self, ground: &Ground, worker: usize) -> Verdict {
        if self.workers[worker].believes {
            // It had not noticed that it lost the shard; the group takes it away first.
            self.revoke(ground, worker)?;
        }
        self.owner = Some(worker);
        let own = &mut self.workers[worker];
        (own.believes, own.awake) = (true, true);
        let generation = own.core.generation();
        self.turn(ground, (worker, generation), Some(Input::Assigned))
    }

    fn revoke(&mut self, ground: &Ground, worker: usize) -> Verdict {
        let own = &mut self.workers[worker];
        (own.believes, own.awake) = (false, true);
        let generation = own.core.generation();
        self.turn(ground, (worker, generation), Some(Input::Revoked))
    }
}

/// What no reader of committed records sees.
fn nonsense(at: Millis) -> OrderResult {
    OrderResult {
        key: order("odd", 999, true),
        phase: 0,
        outcome: Outcome::Exhausted {
            status: Open::Unknown,
            reason: String::new(),
            query: None,
        },
        asked: 0,
        first_seen: at,
        at,
        event: (SHARD, 0),
        traceparent: None,
    }
}
