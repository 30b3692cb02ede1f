//! What must hold of every question to the owner: it has a claim, is asked once and not early, starts
//! only while its generation stands, and carries the query that was said with the order.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::order::{Millis, OrderId, OrderKey};

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

/// Answers that the owner gave about an order in a phase.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    pub all: u16,
    /// Those that left the order open.
    pub open: u16,
}

/// All that were asked so far.
#[derive(Debug, Default)]
pub struct Questions {
    /// How many were commanded.
    pub count: u64,
    claims: BTreeMap<Question, Claim>,
    asked: BTreeSet<Question>,
    /// The newest question about an order that waits for its answer, of each generation.
    open: BTreeMap<(usize, u32, u64, OrderId), (u32, OrderKey)>,
    given: BTreeMap<(OrderKey, u16), Given>,
    /// The queries of the events that opened a phase.
    queries: BTreeMap<(OrderKey, u16), BTreeSet<Option<String>>>,
}

type Verdict = Result<(), String>;

impl Questions {
    /// The view gave an order to a worker.
    pub fn claimed(&mut self, question: Question, claim: Claim) {
        self.claims.insert(question, claim);
    }

    /// An event said with which query an order is asked about in a phase.
    pub fn said(&mut self, key: &OrderKey, phase: u16, query: Option<&str>) {
        let queries = self.queries.entry((key.clone(), phase)).or_default();
        queries.insert(query.map(str::to_owned));
    }

    /// A question was commanded, at `now` of its worker's shard time.
    pub fn commanded(
        &mut self,
        question: Question,
        (key, query): (&OrderKey, Option<&str>),
        now: Millis,
    ) -> Verdict {
        self.count += 1;
        let Some(claim) = self.claims.get(&question).copied() else {
            return Err(format!("UNCLAIMED: {question:?} is asked without a claim"));
        };
        if claim.due > now {
            return Err(format!("EARLY: {question:?} asked at {now}, but {claim:?}"));
        }
        if !self.asked.insert(question) {
            return Err(format!("ASKED TWICE: {question:?}"));
        }
        let said = self.queries.get(&(key.clone(), claim.phase));
        if said.is_none_or(|said| !said.contains(&query.map(str::to_owned))) {
            return Err(format!(
                "WRONG QUERY: {key} is asked in phase {} with {query:?}, said was {said:?}",
                claim.phase
            ));
        }
        let (worker, life, generation, id, number) = question;
        let before = self
            .open
            .insert((worker, life, generation, id), (number, key.clone()))
            .and_then(|(before, _)| self.claims.get(&(worker, life, generation, id, before)));
        match before {
            Some(before) if before.lease_end > now && before.phase == claim.phase => Err(format!(
                "TWO QUESTIONS: {question:?} at {now}, while one waits with {before:?}"
            )),
            _ => Ok(()),
        }
    }

    /// A question leaves its worker; `stands`: its generation does.
    pub fn starts(question: Question, stands: bool) -> Verdict {
        if stands {
            Ok(())
        } else {
            Err(format!(
                "ASKED LATE: {question:?} starts after its generation was over"
            ))
        }
    }

    /// The owner gave an answer to a question.
    pub fn heard(&mut self, question: Question, key: &OrderKey, terminal: bool) {
        if let Some(claim) = self.claims.get(&question) {
            let given = self.given.entry((key.clone(), claim.phase)).or_default();
            given.all += 1;
            given.open += u16::from(!terminal);
        }
    }

    /// A generation has read a result of this order back: what it has asked of it is void.
    pub fn void(&mut self, (worker, life, generation): (usize, u32, u64), key: &OrderKey) {
        let voids = |asked: &(usize, u32, u64, OrderId), about: &OrderKey| {
            (asked.0, asked.1, asked.2) == (worker, life, generation) && about == key
        };
        self.open.retain(|asked, (_, about)| !voids(asked, about));
    }

    /// What came of a question has reached the worker.
    pub fn answered(&mut self, (worker, life, generation, id, claim): Question) {
        let order = (worker, life, generation, id);
        if self
            .open
            .get(&order)
            .is_some_and(|(open, _)| *open == claim)
        {
            self.open.remove(&order);
        }
    }

    /// What the owner said of an order in a phase.
    pub fn given(&self, key: &OrderKey, phase: u16) -> Given {
        let given = self.given.get(&(key.clone(), phase));
        given.copied().unwrap_or_default()
    }
}
