//! What becomes of a letter where it arrives: the store, the coordinator, the logs, the owner.

use super::super::world::coordinator::Refused;
use super::super::world::said::{SHARD, SHARDS};
use super::happening::Manner;
use super::mail::What;
use super::scenario::ORDERS;
use super::small::{Commit, Ground, Small};
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::order::MarkKey;
use crate::domain::result::OrderResult;
use crate::plant::{self, Plant};
use crate::shard::core::input::{FloorFound, Heard, Input};
use crate::shard::floor;
use crate::store::script::{Floor, Token};
use crate::store::{Acquire, StoreError};

impl Small {
    /// What its sender hears.
    pub fn serve(
        &mut self,
        ground: &Ground,
        worker: usize,
        (what, manner): (&What, Manner),
    ) -> Result<Option<Input>, String> {
        self.left.spend(manner);
        let failed = manner == Manner::NotKept;
        Ok(Some(match what {
            What::Acquire(floor) => self.acquire(ground, *floor, manner),
            What::FindFloor => Input::FloorFound(Ok(self.find_floor(ground))),
            What::Fence => {
                let coordinator = &mut self.coordinators[transactional_id(worker)];
                let epoch = coordinator.init(self.results.change(), self.now);
                self.workers[worker].publisher = epoch.ok();
                Input::Fenced(Ok(()))
            }
            What::Ends(ends) => Input::Ends(Ok(*ends)),
            What::Run(script) => Input::Replied(match manner {
                Manner::Full => Err(StoreError::Full(String::new())),
                Manner::RequestLost => {
                    if self.left.late > 0 {
                        self.ghosts.push(script.clone());
                    }
                    Err(StoreError::Lost(String::new()))
                }
                _ => {
                    let reply = self.run(ground, script)?;
                    match manner {
                        Manner::ReplyLost => Err(StoreError::Lost(String::new())),
                        _ => Ok(reply),
                    }
                }
            }),
            What::ReadMeta => Input::MetaRead(Ok(self.view.meta.clone())),
            What::Survey => {
                self.left.floors = self.left.floors.saturating_sub(1);
                Input::Surveyed(ground.store(&self.view).survey_now(SHARD))
            }
            What::Produce(epoch, results) => return Ok(self.produce(worker, *epoch, results)),
            What::Commit(epoch, txn) => {
                let commit = (transactional_id(worker), *epoch, *txn);
                return Ok(self.commit(worker, commit, manner));
            }
            What::Published(well) => Input::Published(if *well {
                Ok(())
            } else {
                Err("there is no publisher".to_owned())
            }),
            What::Question(who, id, claim) => Input::Answered(Heard {
                id: *id,
                claim: *claim,
                answer: self.answer(ground, *who, manner),
                started: None,
            }),
            What::Letter(offset) => {
                self.letters |= u64::from(!failed) << offset;
                Input::Acknowledged(*offset, acknowledged(failed))
            }
            What::Forward(offset) => {
                self.forwards |= u64::from(!failed) << offset;
                Input::Acknowledged(*offset, acknowledged(failed))
            }
        }))
    }

    fn acquire(&mut self, ground: &Ground, floor: Option<Floor>, manner: Manner) -> Input {
        self.left.acquires = self.left.acquires.saturating_sub(1);
        self.tokens += 1;
        let acquire = Acquire {
            shard: SHARD,
            shards: SHARDS,
            token: Token(self.tokens),
            floor,
            mark_key: MarkKey([7; 16]),
        };
        let store = ground.store(&self.view);
        let answer = store.acquire_now(acquire, self.now);
        self.see(store);
        Input::Acquired(match manner {
            Manner::ReplyLost => Err(StoreError::Lost(String::new())),
            _ => answer,
        })
    }

    /// As `shard::floor` finds it.
    fn find_floor(&self, ground: &Ground) -> FloorFound {
        let floor = self.floors[0];
        let e = floor::first_event(floor, self.events.ends());
        let appended = self.events.append_time(e);
        let since = floor::window_of(appended.unwrap_or(self.now), ground.plan.window);
        let windowed = self.results.offset_for_time(since);
        let r = floor::first_result(floor, windowed, self.results.ends());
        FloorFound {
            floor: Floor { e, r },
            known_below: self.committed,
        }
    }

    fn produce(&mut self, worker: usize, epoch: u32, results: &[OrderResult]) -> Option<Input> {
        let now = self.now;
        let coordinator = &mut self.coordinators[transactional_id(worker)];
        let produced = coordinator.produce(self.results.change(), epoch, now, results);
        match produced {
            Ok(txn) => {
                self.post(worker, What::Commit(epoch, txn));
                None
            }
            Err(Refused::Fenced | Refused::Concurrent) => {
                Some(Input::Published(Err("fenced".to_owned())))
            }
        }
    }

    fn commit(&mut self, worker: usize, commit: Commit, manner: Manner) -> Option<Input> {
        match manner {
            Manner::NotCommitted => {}
            Manner::Late => self.late_commit = Some(commit),
            _ if self.land(commit) => {
                self.post(worker, What::Published(true));
                return None;
            }
            _ => {}
        }
        Some(Input::Published(Err("not committed".to_owned())))
    }

    /// A commit reaches the coordinator, and its marker the log; false where it is fenced.
    pub fn land(&mut self, (id, epoch, txn): Commit) -> bool {
        let coordinator = &mut self.coordinators[id];
        let lands = coordinator.commit(epoch, txn).is_ok();
        if lands {
            coordinator.mark(self.results.change(), self.now, txn);
        }
        lands
    }

    fn answer(&mut self, ground: &Ground, who: usize, manner: Manner) -> Answer {
        let known = ground.scenario.truths[who];
        match (manner, known) {
            (Manner::Unasked, _) => Answer::CouldNotAsk {
                why: CouldNotAsk::TimedOut,
                retry_after: None,
            },
            (Manner::Terminal | Manner::Stale, Some(status)) => Answer::Terminal {
                status,
                rsp_no: None,
                ret_cd: None,
                ret_msg: None,
            },
            _ => {
                let most = ground.scenario.questions * ORDERS as u8;
                self.answers[who] = most.min(self.answers[who] + 1);
                Answer::InProgress
            }
        }
    }
}

/// Whose coordinator a worker's publisher speaks to.
fn transactional_id(worker: usize) -> usize {
    if plant::is(Plant::WorkerInTransactionalId) {
        worker
    } else {
        0
    }
}

fn acknowledged(failed: bool) -> Result<(), String> {
    if failed {
        Err("not delivered".to_owned())
    } else {
        Ok(())
    }
}
