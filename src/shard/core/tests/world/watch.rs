//! What must hold at every step, whatever fails: the promises of the protocol, judged from outside
//! the cores by the logs, the view and what the owner really said.

use std::collections::{BTreeMap, BTreeSet};

use super::bank::Bank;
use super::log::Log;
use super::said::Said;
use crate::domain::event::Body;
use crate::domain::order::{Millis, OrderId, OrderKey};
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::Terminal;
use crate::store::memory::MemoryStore;
use crate::store::script::Found;

/// A question's identity: worker, its life, its generation, order, claim.
pub type Question = (usize, u32, u64, OrderId, u32);

/// What the view gave with a claim: shard time in ms.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub due: Millis,
    /// From here on the view gives the order to the next claim.
    pub lease_end: Millis,
    pub phase: u16,
}

/// Everything that was seen so far.
#[derive(Debug, Default)]
pub struct Watch {
    /// Status and offset of each visible resolution.
    pub settled: BTreeMap<OrderKey, (Terminal, u64)>,
    /// Offset of each visible exhaustion.
    pub exhausted: BTreeMap<(OrderKey, u16), u64>,
    asked: BTreeSet<Question>,
    /// What the view gave with each claim.
    pub claims: BTreeMap<Question, Claim>,
    /// The newest question about an order that waits for its answer, of each generation.
    open: BTreeMap<(usize, u32, u64, OrderId), u32>,
    /// Answers that the owner gave about an order in a phase.
    answers: BTreeMap<(OrderKey, u16), u16>,
    /// Offsets of events that are kept as dead letters.
    pub letters: BTreeSet<u64>,
    /// Offsets of events that were forwarded.
    pub forwards: BTreeSet<u64>,
    /// Questions that came to the owner.
    pub questions: u64,
    /// Every event below had its effect when it was passed.
    checked: u64,
}

type Verdict = Result<(), String>;

impl Watch {
    /// A result became visible.
    pub fn result(
        &mut self,
        offset: u64,
        result: &OrderResult,
        events: &Log<Said>,
        bank: &Bank,
    ) -> Verdict {
        let key = &result.key;
        let said: Vec<_> = (0..events.high())
            .filter_map(|at| events.committed(at))
            .filter(|(_, said)| said.is_about(key))
            .collect();
        if said.is_empty() {
            return Err(format!("PHANTOM: {key} has a result and no event"));
        }
        let account = bank.accounts.get(key);
        match &result.outcome {
            Outcome::Settled { status, source, .. } => {
                if let Some((before, at)) = self.settled.insert(key.clone(), (*status, offset)) {
                    let what = if before == *status {
                        "TWICE"
                    } else {
                        "CONTRADICTED"
                    };
                    return Err(format!(
                        "{what}: {key} was settled as {before:?} at {at} and as {status:?} at {offset}"
                    ));
                }
                let known = if source == "inquiry" {
                    account.is_some_and(|account| account.said.contains(status))
                } else {
                    said.iter()
                        .any(|(_, said)| said.terminal() == Some(*status))
                };
                if !known {
                    return Err(format!("INVENTED: nobody said {status:?} of {key}"));
                }
            }
            Outcome::Exhausted { .. } => {
                if let Some((_, at)) = self.settled.get(key) {
                    return Err(format!(
                        "EXHAUSTED AFTER SETTLED: {key} at {offset}, settled at {at}"
                    ));
                }
                if let Some(at) = self.exhausted.insert((key.clone(), result.phase), offset) {
                    return Err(format!(
                        "EXHAUSTED TWICE: {key} phase {} at {at} and {offset}",
                        result.phase
                    ));
                }
                let opened = |said: &Said| said.requeues() == Some(result.phase);
                if result.phase > 0 && !said.iter().any(|(_, said)| opened(said)) {
                    return Err(format!("PHANTOM PHASE: {key} phase {}", result.phase));
                }
                if result.asked == 0 {
                    return Err(format!("NEVER ASKED: {key} exhausted, {account:?}"));
                }
            }
        }
        let answers = self.answers.get(&(key.clone(), result.phase)).copied();
        if result.asked > answers.unwrap_or(0) {
            return Err(format!(
                "NEVER ANSWERED: {key} has {} attempts in phase {}, the owner answered {answers:?}",
                result.asked, result.phase
            ));
        }
        Ok(())
    }

    /// A question was commanded.
    pub fn question(&mut self, question: Question, now: Millis) -> Verdict {
        self.questions += 1;
        let Some(claim) = self.claims.get(&question).copied() else {
            return Err(format!("UNCLAIMED: {question:?} is asked without a claim"));
        };
        if claim.due > now {
            return Err(format!("EARLY: {question:?} asked at {now}, but {claim:?}"));
        }
        if !self.asked.insert(question) {
            return Err(format!("ASKED TWICE: {question:?}"));
        }
        let (worker, life, generation, id, number) = question;
        let before = self
            .open
            .insert((worker, life, generation, id), number)
            .and_then(|before| self.claims.get(&(worker, life, generation, id, before)));
        match before {
            Some(before) if before.lease_end > now && before.phase == claim.phase => Err(format!(
                "TWO QUESTIONS: {question:?} at {now}, while one waits with {before:?}"
            )),
            _ => Ok(()),
        }
    }

    /// The owner gave an answer to a question.
    pub fn heard(&mut self, question: Question, key: &OrderKey) {
        if let Some(claim) = self.claims.get(&question) {
            *self.answers.entry((key.clone(), claim.phase)).or_default() += 1;
        }
    }

    /// What came of a question has reached the worker.
    pub fn answered(&mut self, (worker, life, generation, id, claim): Question) {
        let order = (worker, life, generation, id);
        if self.open.get(&order) == Some(&claim) {
            self.open.remove(&order);
        }
    }

    /// The view is another one: what was true of the last one says nothing.
    pub fn forget_effects(&mut self) {
        self.checked = 0;
    }

    /// The view says that every event below `e` had its effect.
    pub fn passed(&mut self, e: u64, events: &Log<Said>, store: &MemoryStore) -> Verdict {
        for offset in self.checked..e {
            if let Some((_, said)) = events.committed(offset) {
                self.effect(offset, said, store)?;
            }
        }
        self.checked = self.checked.max(e);
        Ok(())
    }

    fn effect(&self, offset: u64, said: &Said, store: &MemoryStore) -> Verdict {
        let lost = |why: &str| Err(format!("NO EFFECT: E passed {offset} ({why}): {said:?}"));
        let event = match &said.event {
            Err(_) if self.letters.contains(&offset) => return Ok(()),
            Err(_) => return lost("no dead letter"),
            Ok(_) if said.misplaced() => {
                let dealt = self.letters.contains(&offset) || self.forwards.contains(&offset);
                return if dealt {
                    Ok(())
                } else {
                    lost("neither forwarded nor kept")
                };
            }
            // Beyond the limit of types that are not configured.
            Ok(event)
                if event.key.order_type.as_str() == "odd" && self.letters.contains(&offset) =>
            {
                return Ok(());
            }
            Ok(event) => event,
        };
        let settled = self.settled.get(&event.key);
        let exhausted = |from: u16| {
            self.exhausted
                .range((event.key.clone(), from)..=(event.key.clone(), u16::MAX))
                .next()
                .is_some()
        };
        let in_view = |from: u16| match store.find_now(super::said::SHARD, &event.key) {
            Ok(Found::Open { record, .. }) => record.phase >= from,
            _ => false,
        };
        match &event.body {
            Body::Pending { .. } if settled.is_some() || exhausted(0) || in_view(0) => Ok(()),
            Body::Pending { .. } => lost("neither in the view nor in the results"),
            Body::Requeue { phase, .. }
                if settled.is_some() || exhausted(*phase) || in_view(*phase) =>
            {
                Ok(())
            }
            Body::Requeue { .. } => lost("the phase is not open"),
            Body::Terminal(terminal) => match settled {
                None => lost("not settled"),
                Some((status, _))
                    if *status == terminal.status || self.letters.contains(&offset) =>
                {
                    Ok(())
                }
                Some(_) => lost("a contradiction without a dead letter"),
            },
        }
    }
}
