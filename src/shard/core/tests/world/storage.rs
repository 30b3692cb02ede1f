//! The store as the place where scripts arrive, or get lost.

use std::sync::Arc;

use super::questions::Claim;
use super::said::{SHARD, SHARDS};
use super::storm::Fault;
use super::wire::{Asker, Request};
use super::{Happening, World};
use crate::domain::order::{MarkKey, Millis};
use crate::shard::core::input::{FloorFound, Input};
use crate::shard::core::plan::CLAIM_AHEAD;
use crate::shard::floor;
use crate::store::script::{Body, Floor, Reply, Script, Token};
use crate::store::{Acquire, StoreError};

/// A replica lacks so much at most.
pub const FAILOVER_MAX: Millis = 5_000;

impl World {
    /// Some requests to the store come to nothing, in one of three ways.
    pub(super) fn store_fails(&mut self) -> Option<StoreError> {
        if self.now < self.unavailable_until {
            return Some(StoreError::Unavailable("down".to_owned()));
        }
        // Troubles come together.
        let shaky = self.now < self.shaky_until;
        let rate = if shaky { 400 } else { self.storm.requests };
        if !self.dice.in_thousand(rate) {
            return None;
        }
        if !shaky && self.dice.in_thousand(200) {
            self.saw("shaky store");
            self.shaky_until = self.now + self.dice.between(100, 3_000);
        }
        Some(if self.dice.in_thousand(500) {
            StoreError::Lost("no reply".to_owned())
        } else {
            StoreError::Unavailable("moved".to_owned())
        })
    }

    pub(super) fn acquire(&mut self, asker: Asker, floor: Option<Floor>) {
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
        let (store, now) = (self.store_of(asker.worker), self.store_now());
        let made = floor.is_some() && store.meta_now(SHARD, now).is_ok_and(|meta| meta.is_none());
        let answer = store.acquire_now(acquire, now);
        if made {
            self.watch.forget_effects();
            self.look_at_e(asker.worker);
        }
        self.deliver(
            asker,
            Input::Acquired(match failed {
                Some(error) => Err(error),
                None => answer,
            }),
        );
    }

    /// As `shard::floor` finds it; the floor may be an old one, or an old owner's.
    pub(super) fn find_floor(&mut self) -> FloorFound {
        let floor = if self.fails(self.storm.floors) {
            let one = self.dice.below(self.floors.len() as u64) as usize;
            self.floors.get(one).copied()
        } else {
            self.floors.last().copied()
        };
        let e = floor::first_event(floor, self.events.ends());
        let appended = self.events.append_time(e);
        let since = floor::window_of(appended.unwrap_or(self.store_now()), self.plan.window);
        let windowed = self.results.offset_for_time(since);
        let r = floor::first_result(floor, windowed, self.results.ends());
        FloorFound {
            floor: Floor { e, r },
            known_below: self.committed,
        }
    }

    pub(super) fn run_script(&mut self, asker: Asker, script: Arc<Script>) {
        let answer = match self.store_fails() {
            Some(StoreError::Lost(text)) => {
                match self.dice.below(3) {
                    0 => {
                        self.saw("script ran, reply lost");
                        drop(self.apply(asker, &script));
                    }
                    1 => {
                        // Before the meta is read, or long after.
                        let most = self.dice.weighted(&[(1, 25), (1, 4_000)]);
                        let late = self.dice.between(1, most);
                        self.at(late, Happening::Arrive(asker, Request::Ghost(script)));
                    }
                    _ => {}
                }
                self.note(|| "the reply is lost".to_owned());
                Err(StoreError::Lost(text))
            }
            Some(error) => Err(error),
            None if matches!(script.body, Body::Fold(_))
                && (self.now < self.full_until || self.fails(self.full_rate())) =>
            {
                Err(StoreError::Full("full".to_owned()))
            }
            None => self.apply(asker, &script),
        };
        self.deliver(asker, Input::Replied(answer));
    }

    fn full_rate(&self) -> u64 {
        if self.now < self.shaky_until {
            300
        } else {
            self.storm.full
        }
    }

    /// A script arrives whose sender was told that its reply is lost.
    pub(super) fn arrive_late(&mut self, asker: Asker, script: &Script) {
        let ran = !matches!(self.apply(asker, script), Ok(Reply::Mismatch));
        self.saw(if ran {
            "late script ran"
        } else {
            "late script refused"
        });
    }

    /// Runs a script on the view and looks at what it did.
    pub(super) fn apply(&mut self, asker: Asker, script: &Script) -> Result<Reply, StoreError> {
        let store = self.store_of(asker.worker);
        let before = store.meta_now(SHARD, self.now).ok().flatten();
        let reply = store.apply(SHARD, script);
        self.note(|| format!("{asker:?} {script:?}\n      -> {reply:?}"));
        if !matches!(reply, Ok(Reply::Mismatch))
            && before.is_none_or(|meta| meta.token != script.token)
        {
            self.hold(Err(format!(
                "OLD TOKEN: {asker:?} changed a view that is not its own by {script:?}"
            )));
        }
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
                    let claim = Claim {
                        due: order.record.due,
                        lease_end: u64::from(order.record.bucket) * 1_000 - CLAIM_AHEAD,
                        phase: order.record.phase,
                    };
                    self.watch.questions.claimed(question, claim);
                }
            }
            Ok(Reply::Swept { repaired, .. }) if *repaired > 0 => {
                self.hold(Err(format!(
                    "LOST BUCKET: the sweep put {repaired} records back"
                )));
            }
            Err(error) => self.hold(Err(format!("DAMAGED: {error} after {script:?}"))),
            _ => {}
        }
        self.look_at_e(asker.worker);
        self.remember_the_view();
        reply
    }

    /// Whatever the view says was folded must have had its effect.
    pub(super) fn look_at_e(&mut self, worker: usize) {
        let store = match &self.split {
            Some(split) if split.worker == worker => &split.store,
            _ => &self.store,
        };
        let aside = self.split.as_ref().is_some_and(|it| it.worker == worker);
        if let Ok(Some(meta)) = store.meta_now(SHARD, self.now) {
            let verdict = self.watch.passed(aside, meta.e, &self.events, store);
            self.hold(verdict);
        }
    }

    /// Keeps what a failover may bring back: the view of the last seconds.
    fn remember_the_view(&mut self) {
        let last = self.recent.back().map_or(0, |(at, _)| *at);
        if self.storm.has(Fault::Rollback) && self.now >= last + 400 {
            let view = self.store.snapshot(SHARD);
            self.recent.push_back((self.now, view));
            let since = self.now.saturating_sub(FAILOVER_MAX);
            while self.recent.front().is_some_and(|(at, _)| *at < since) {
                self.recent.pop_front();
            }
        }
    }
}
