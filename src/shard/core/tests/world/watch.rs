//! What must hold at every step, whatever fails: the promises of the protocol, judged from outside
//! the cores by the logs, the view and what the owner really said.

use std::collections::{BTreeMap, BTreeSet};

use super::bank::Bank;
use super::log::Log;
use super::questions::Questions;
use super::said::Said;
use crate::domain::event::{Body, Reason};
use crate::domain::order::OrderKey;
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::Terminal;
use crate::store::memory::MemoryStore;
use crate::store::script::Found;

/// Everything that was seen so far.
#[derive(Debug, Default)]
pub struct Watch {
    /// Status and offset of each visible resolution.
    pub settled: BTreeMap<OrderKey, (Terminal, u64)>,
    /// Offset of each visible exhaustion.
    pub exhausted: BTreeMap<(OrderKey, u16), u64>,
    pub questions: Questions,
    /// Offsets of events that are kept as dead letters.
    pub letters: BTreeSet<u64>,
    /// Offsets of events that were forwarded.
    pub forwards: BTreeSet<u64>,
    /// Every event below had its effect when it was passed.
    checked: [u64; 2],
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
        let given = self.questions.given(key, result.phase);
        let attempts = match &result.outcome {
            Outcome::Settled { .. } => given.all,
            // None of them was terminal.
            Outcome::Exhausted { .. } => given.open,
        };
        if result.asked > attempts {
            return Err(format!(
                "NEVER ANSWERED: {key} has {} attempts in phase {}, the owner gave {given:?}",
                result.asked, result.phase
            ));
        }
        Ok(())
    }

    /// An event is to be kept as a dead letter: it must deserve that.
    pub fn letter(&self, offset: u64, reason: Reason, events: &Log<Said>) -> Verdict {
        let Some((_, said)) = events.committed(offset) else {
            return Err(format!("INNOCENT: nothing lies at {offset}"));
        };
        let deserved = match (&said.event, reason) {
            (Err(refusal), reason) => refusal.reason == reason,
            (Ok(_), Reason::Misrouted) => said.misplaced() && said.forwarded,
            (Ok(event), Reason::TypeLimit) => event.key.order_type.as_str() == "odd",
            // Against what was published, never against what is planned.
            (Ok(event), Reason::Conflict) => self
                .settled
                .get(&event.key)
                .is_some_and(|(status, _)| said.terminal().is_some_and(|it| it != *status)),
            _ => false,
        };
        if deserved {
            return Ok(());
        }
        Err(format!(
            "INNOCENT: a letter {reason:?} of {offset}: {said:?}"
        ))
    }

    /// The view is another one: what was true of the last one says nothing.
    pub fn forget_effects(&mut self) {
        self.checked = [0; 2];
    }

    /// The view says that every event below `e` had its effect; `aside`: the view on the other side
    /// of a split. What retention took is forgotten.
    pub fn passed(
        &mut self,
        aside: bool,
        e: u64,
        events: &Log<Said>,
        store: &MemoryStore,
    ) -> Verdict {
        let checked = self.checked[usize::from(aside)];
        for offset in checked.max(events.ends().low)..e {
            if let Some((_, said)) = events.committed(offset) {
                self.effect(offset, said, store)?;
            }
        }
        self.checked[usize::from(aside)] = checked.max(e);
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
