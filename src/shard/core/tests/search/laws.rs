//! What must be true of every world, judged from outside the cores, and of every world that was
//! left alone for long enough.

use super::super::world::questions::Claim;
use super::super::world::said::{SHARD, Said};
use super::super::world::watch::Watch;
use super::small::{Ground, Small};
use crate::domain::event::{Body, Reason};
use crate::domain::order::{OrderId, OrderKey, TypeId};
use crate::domain::result::{OrderResult, Outcome};
use crate::shard::core::Phase;
use crate::store::script::Found;

type Verdict = Result<(), String>;

impl Small {
    /// The promises: one resolution of each order, none without an event, none contradicted; `E` never
    /// passes an event without effect; nobody is exhausted before the last attempt; a core knows its
    /// view.
    fn judge(&self, ground: &Ground) -> Verdict {
        let mut watch = self.watch(ground)?;
        for (_, result) in self.results_seen() {
            if matches!(result.outcome, Outcome::Exhausted { .. }) {
                self.judge_exhaustion(ground, result)?;
            }
        }
        if let Some(meta) = &self.view.meta {
            watch.passed(false, meta.e, &self.events, ground.store(&self.view))?;
        }
        Ok(())
    }

    /// Nobody is exhausted before the last attempt; but a wiped view has forgotten the attempts, so an
    /// order whose schedule would be over takes one last question.
    fn judge_exhaustion(&self, ground: &Ground, result: &OrderResult) -> Verdict {
        let questions = ground.scenario.questions;
        let age = result.at - result.first_seen;
        let over = age >= ground.plan.types[0].schedule.longest();
        let wiped = self.left.wipes < ground.scenario.faults.wipes;
        if result.asked >= questions.into() || (wiped && over) {
            Ok(())
        } else {
            Err(format!("TOO EARLY: {result:?}"))
        }
    }

    /// As `judge`, but only what the last step can have broken.
    pub fn judge_after(&self, ground: &Ground, before: &Self) -> Verdict {
        (0..self.workers.len()).try_for_each(|worker| self.compare(worker))?;
        let same = self.view.is(&before.view)
            && self.results.is(&before.results)
            && (self.letters, self.forwards) == (before.letters, before.forwards);
        if same { Ok(()) } else { self.judge(ground) }
    }

    /// What the simulator's watch would have seen on the way to this world.
    fn watch(&self, ground: &Ground) -> Result<Watch, String> {
        let mut watch = Watch::default();
        let offsets = |bits: u64| (0..64).filter(move |bit| bits >> bit & 1 == 1);
        watch.letters.extend(offsets(self.letters));
        watch.forwards.extend(offsets(self.forwards));
        for (order, answers) in ground.orders.iter().zip(self.answers) {
            // Which phase an answer belonged to is not told: each phase may count them all.
            for phase in 0..=ground.phases {
                let id = OrderId {
                    type_id: TypeId(0),
                    req_no: order.req_no,
                };
                let claim = Claim {
                    due: 0,
                    lease_end: 0,
                    phase,
                };
                let question = (0, 0, 0, id, phase.into());
                watch.questions.claimed(question, claim);
                // A terminal answer is the last one that a result counts.
                watch.questions.heard(question, order, true);
                for _ in 0..answers {
                    watch.questions.heard(question, order, false);
                }
            }
        }
        for (offset, result) in self.results_seen() {
            watch.result(offset, result, &self.events, &ground.bank)?;
        }
        Ok(watch)
    }

    /// An event may be kept as a dead letter only if it deserves that: a conflict contradicts what was
    /// published, never what is planned.
    pub fn judge_letter(&self, ground: &Ground, offset: u64, reason: Reason) -> Verdict {
        self.watch(ground)?.letter(offset, reason, &self.events)
    }

    /// What a core believes of its view, between two scripts, is what the view says.
    fn compare(&self, worker: usize) -> Verdict {
        let (Some(own), Some(meta)) = (&self.workers[worker].core.own, &self.view.meta) else {
            return Ok(());
        };
        if meta.token != own.token || meta.version != own.version || !own.outbox.is_idle() {
            return Ok(());
        }
        let (believed, real) = ((own.e, own.results.folded()), (meta.e, meta.r));
        if believed != real {
            return Err(format!(
                "OUT OF STEP: worker {worker} believes (E, R) {believed:?}, the view says {real:?}"
            ));
        }
        Ok(())
    }

    /// Why this world is not at rest: everything that was said has come to its end.
    pub fn unfinished(&self, ground: &Ground) -> Option<&'static str> {
        let Some(owner) = self.owner else {
            return Some("nobody owns the shard");
        };
        let (own, other) = (&self.workers[owner], &self.workers[1 - owner]);
        let (Some(mine), Some(meta)) = (&own.core.own, &self.view.meta) else {
            return Some("there is no view, or no ownership");
        };
        let current = |mail: &super::mail::Mail| mail.generation == own.core.generation();
        if other.believes {
            Some("two believe that they own the shard")
        } else if own.core.phase() != Phase::Open || !own.awake {
            Some("the timer is not open")
        } else if meta.token != mine.token || meta.version != mine.version {
            Some("the view is another one")
        } else if own.mail.iter().any(|mail| current(mail)) || !mine.outbox.is_idle() {
            Some("something is on its way")
        } else if meta.e != self.events.high() || meta.rebuild.is_some() {
            Some("events wait, or the rebuild is not over")
        } else if own.readers != [Some(self.events.high()), Some(self.results.high())] {
            Some("something is not read")
        } else if meta.r < self.results.high() && mine.results.rest().is_none() {
            Some("results wait")
        } else if self.view.pending > 0 || mine.gate.len() > 0 {
            Some("an order is pending")
        } else {
            self.without_result(ground)
        }
    }

    /// An event about an order that has come to nothing.
    fn without_result(&self, ground: &Ground) -> Option<&'static str> {
        let has = |good: &dyn Fn(&Outcome, u16) -> bool, said: &Said| {
            let Ok(event) = &said.event else { return true };
            ground.who(&event.key).is_none()
                || self.results_seen().any(|(_, result)| {
                    result.key == event.key && good(&result.outcome, result.phase)
                })
        };
        let settled = |outcome: &Outcome| matches!(outcome, Outcome::Settled { .. });
        (0..self.events.high()).find_map(|offset| {
            let (_, said) = self.events.committed(offset)?;
            let from = said.requeues().unwrap_or(0);
            let well = match said.event.as_ref().map(|event| &event.body) {
                Ok(Body::Terminal(_)) => has(&|outcome, _| settled(outcome), said),
                _ => has(&|outcome, phase| settled(outcome) || phase >= from, said),
            };
            (!well).then_some("an event came to nothing")
        })
    }

    /// An exhausted order that the view does not list: nobody will look at it.
    pub fn forgotten(&self, ground: &Ground) -> Option<String> {
        let settled = |key: &OrderKey| {
            self.results_seen().any(|(_, result)| {
                result.key == *key && matches!(result.outcome, Outcome::Settled { .. })
            })
        };
        let exhausted: Vec<_> = self
            .results_seen()
            .filter(|(_, result)| matches!(result.outcome, Outcome::Exhausted { .. }))
            .filter(|(_, result)| !settled(&result.key))
            .collect();
        let store = ground.store(&self.view);
        exhausted
            .iter()
            .find_map(|(_, result)| match store.find_now(SHARD, &result.key) {
                Ok(Found::Open { record, .. }) if record.phase >= result.phase => None,
                found => Some(format!(
                    "FORGOTTEN: {} was exhausted in phase {}, the view says {found:?}",
                    result.key, result.phase
                )),
            })
    }
}
