//! What is on its way between a worker and the rest of the world. A request is served at the moment
//! at which its answer arrives: what happens between the two could as well happen before the one or
//! after the other, as a request touches only what serves it and an answer only its core. Requests
//! that change a log or are answered from one that moves on are letters of their own.

use std::rc::Rc;
use std::sync::Arc;

use super::super::world::log::Txn;
use super::part::print;
use super::small::{Ground, Small};
use crate::domain::order::OrderId;
use crate::domain::result::OrderResult;
use crate::plant::{self, Plant};
use crate::shard::core::input::{Command, LogEnds};
use crate::store::script::{Floor, Script};

/// One letter.
#[derive(Clone, Debug)]
pub struct Mail {
    pub generation: u64,
    pub what: What,
    pub print: u64,
}

/// What it asks for, or brings.
#[derive(Clone, Debug)]
pub enum What {
    Acquire(Option<Floor>),
    FindFloor,
    Fence,
    /// Taken when they were asked for: no later answer could be more out of date.
    Ends(LogEnds),
    Run(Arc<Script>),
    ReadMeta,
    Survey,
    Produce(u32, Vec<OrderResult>),
    Commit(u32, Txn),
    Published(bool),
    /// About the `n`th order, under this claim; the owner has it.
    Question(usize, OrderId, u32),
    Letter(u64),
    Forward(u64),
}

impl What {
    fn print(&self) -> u64 {
        match self {
            // Its core holds the same script.
            Self::Run(_) => 1,
            what => print(what),
        }
    }
}

impl Small {
    pub fn post(&mut self, worker: usize, what: What) {
        let own = &mut self.workers[worker];
        own.mail.push(Rc::new(Mail {
            generation: own.core.generation(),
            print: what.print(),
            what,
        }));
    }

    /// Starts what a core commanded. Every event that makes an order pending names a query here, and
    /// no question may come without it.
    pub fn carry_out(
        &mut self,
        ground: &Ground,
        worker: usize,
        command: Command,
    ) -> Result<(), String> {
        let own = &mut self.workers[worker];
        let what = match command {
            Command::Acquire(floor) => What::Acquire(floor),
            Command::FindFloor => What::FindFloor,
            Command::Fence => {
                own.publisher = None;
                What::Fence
            }
            Command::AskEnds => {
                let mut ends = LogEnds {
                    events: self.events.ends(),
                    results: self.results.ends(),
                };
                if plant::is(Plant::EndReadCommitted) {
                    ends.results.high = self.results.stable();
                }
                What::Ends(ends)
            }
            Command::ReadEvents(offset) => {
                own.readers[0] = Some(offset);
                return Ok(());
            }
            Command::ReadResults(offset) => {
                own.readers[1] = Some(offset);
                return Ok(());
            }
            Command::Release => {
                (own.readers, own.publisher) = ([None; 2], None);
                return Ok(());
            }
            Command::Run(script) => What::Run(script),
            Command::ReadMeta => What::ReadMeta,
            Command::Ask(ask) => {
                let Some(who) = ground.who(&ask.key) else {
                    return Err(format!("UNKNOWN: {ask:?}"));
                };
                if ask.query.is_none() {
                    return Err(format!("NO QUERY: {ask:?}"));
                }
                What::Question(who, ask.id, ask.claim)
            }
            Command::Publish(results) => match own.publisher {
                Some(epoch) => What::Produce(epoch, results),
                None => What::Published(false),
            },
            Command::DeadLetter {
                offset, refusal, ..
            } => {
                self.judge_letter(ground, offset, refusal.reason)?;
                What::Letter(offset)
            }
            Command::Forward { offset, .. } => What::Forward(offset),
            Command::Survey if self.left.floors > 0 => What::Survey,
            Command::Survey => return Ok(()),
            Command::CommitFloor(floor) => {
                self.floors[1] = Some(floor);
                return Ok(());
            }
            // At once: the higher it stands, the more a rebuild takes for dealt with.
            Command::CommitGroup(e) => {
                self.committed = e;
                return Ok(());
            }
        };
        self.post(worker, what);
        Ok(())
    }
}
