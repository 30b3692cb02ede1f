//! What the audit finds: how many orders stand where, and every difference between what was
//! accepted, what the bank said and what was published.

use std::collections::HashSet;

use super::order::Order;
use super::{Audit, Counts, Place, TEXTS_MAX};
use crate::domain::event::Reason;
use crate::domain::order::Millis;
use crate::domain::status::{Status, Terminal};

/// How late a question may be. An order that is later, while the bank has been asked about orders due
/// after it, or about none for as long, was passed over.
const LATE: Millis = 5_000;

/// Where the accepted orders stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// With at least one acceptable event.
    pub accepted: u64,
    /// With a settled result.
    pub settled: u64,
    /// Exhausted in their latest phase, and not settled.
    pub exhausted: u64,
    /// Without a result.
    pub pending: u64,
    /// Pending, and their next question is due by the bank's log; 0 without one.
    pub due: u64,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Where the orders stand.
    pub standing: Standing,
    /// What was read.
    pub counts: Counts,
    /// What is not there and may still come, a sentence each; the first hundred.
    pub missing: Vec<String>,
    /// What can never be right any more, likewise.
    pub wrong: Vec<String>,
    /// Differences beyond these.
    pub beyond: u64,
    /// The bank's log was there, from the run's beginning to its end.
    pub by_the_banks_log: bool,
}

impl Verdict {
    /// How many differences there are.
    pub fn differences(&self) -> u64 {
        self.beyond + (self.missing.len() + self.wrong.len()) as u64
    }

    fn misses(&mut self, what: String) {
        if self.missing.len() < TEXTS_MAX {
            self.missing.push(what);
        } else {
            self.beyond += 1;
        }
    }

    fn is_wrong(&mut self, what: String) {
        if self.wrong.len() < TEXTS_MAX {
            self.wrong.push(what);
        } else {
            self.beyond += 1;
        }
    }
}

/// Of one order.
enum Judgement {
    Good,
    Missing(String),
    Wrong(String),
}

impl Audit {
    /// Where the orders stand at `now`, wall time.
    pub fn standing(&self, now: Millis) -> Standing {
        let mut standing = Standing::default();
        for order in self.orders.values().filter(|order| order.is_accepted()) {
            standing.accepted += 1;
            if order.settled().is_some() {
                standing.settled += 1;
            } else if order.is_exhausted() {
                standing.exhausted += 1;
            } else {
                standing.pending += 1;
                standing.due += u64::from(self.due(order).is_some_and(|due| due <= now));
            }
        }
        standing
    }

    /// Judges everything at `now`, wall time; to be asked when the topics were read to their ends.
    pub fn verdict(&self, now: Millis) -> Verdict {
        let mut verdict = Verdict {
            standing: self.standing(now),
            counts: self.counts,
            wrong: self.broken.clone(),
            beyond: self.broken_beyond,
            by_the_banks_log: self.has_log(),
            ..Verdict::default()
        };
        let mut contradicting = HashSet::new();
        for (name, order) in &self.orders {
            let said = self.terminals.get(name).map_or(&[][..], Vec::as_slice);
            match self.judge(order, said, now) {
                Judgement::Good => {}
                Judgement::Missing(what) => verdict.misses(format!("{name}: {what}")),
                Judgement::Wrong(what) => verdict.is_wrong(format!("{name}: {what}")),
            }
            if let Some(settled) = order.settled() {
                let others = said.iter().filter(|(status, _)| *status != settled.status);
                contradicting.extend(others.map(|(_, at)| *at));
            }
        }
        self.judge_letters(&contradicting, &mut verdict);
        for (partition, to) in &self.acknowledged_to {
            let read_to = self.read_to.get(partition).copied().unwrap_or(0);
            if read_to < *to {
                verdict.misses(format!(
                    "events {partition}/{read_to} to {}: published and acknowledged, not in the topic",
                    to - 1
                ));
            }
        }
        let lost: i64 = self.owed.values().copied().filter(|owed| *owed > 0).sum();
        if lost > 0 {
            verdict.misses(format!(
                "{lost} events in a foreign partition were not forwarded to their own"
            ));
        }
        verdict
    }

    /// What is missing of an order, or wrong with it; `said`: its terminal events.
    fn judge(&self, order: &Order, said: &[(Terminal, Place)], now: Millis) -> Judgement {
        if !order.is_accepted() {
            if order.has_result() {
                return Judgement::Wrong("a result without an event".to_owned());
            }
            return Judgement::Good;
        }
        if let Some(settled) = order.settled() {
            let is_said = said.iter().any(|(status, _)| *status == settled.status);
            let is_answered = order.answered() == Some(settled.status) || !self.has_log();
            if settled.earlier || is_said || (settled.by_inquiry && is_answered) {
                return Judgement::Good;
            }
            let evidence = evidence(order, settled.by_inquiry);
            let status = Status::from(settled.status);
            return Judgement::Wrong(format!("settled with {status}, but {evidence}"));
        }
        if let Some((status, (partition, offset))) = said.first() {
            let status = Status::from(*status);
            return Judgement::Missing(format!(
                "no result, but its event {partition}/{offset} says {status}"
            ));
        }
        if let (Some(answer), true) = (order.answered(), self.has_log()) {
            let answer = Status::from(answer);
            return Judgement::Missing(format!("no result, but the bank answered {answer}"));
        }
        match self.due(order) {
            Some(due) if !order.is_exhausted() && self.was_passed_over(order, due, now) => {
                Judgement::Missing(format!(
                    "no result, and not asked although due {} ms ago ({} answers so far)",
                    now.saturating_sub(due),
                    order.answers()
                ))
            }
            _ => Judgement::Good,
        }
    }

    fn judge_letters(&self, contradicting: &HashSet<Place>, verdict: &mut Verdict) {
        for (at @ (partition, offset), reason) in &self.refused {
            match self.letters.get(at).map(String::as_str) {
                None => verdict.misses(format!(
                    "event {partition}/{offset}: no dead letter, expected {}",
                    reason.as_str()
                )),
                Some(told) if told == reason.as_str() => {}
                Some(told) => verdict.is_wrong(format!(
                    "event {partition}/{offset}: its dead letter says {told}, expected {}",
                    reason.as_str()
                )),
            }
        }
        for at @ (partition, offset) in contradicting {
            if !self.letters.contains_key(at) {
                verdict.misses(format!(
                    "event {partition}/{offset}: contradicts its order's result and is no dead letter"
                ));
            }
        }
        for (at @ (partition, offset), told) in &self.letters {
            let expected = self.refused.contains_key(at)
                || told == Reason::TypeLimit.as_str()
                || (told == Reason::Conflict.as_str() && contradicting.contains(at));
            if !expected {
                verdict.is_wrong(format!(
                    "event {partition}/{offset}: is a dead letter ({told}), but can be accepted"
                ));
            }
        }
    }

    fn has_log(&self) -> bool {
        self.terms.question_ages.is_some() && self.log_is_whole
    }

    /// When the next question is due, by the bank's log.
    fn due(&self, order: &Order) -> Option<Millis> {
        let ages = self.terms.question_ages.as_deref()?;
        order.configured.then(|| order.due(ages)).flatten()
    }

    fn was_passed_over(&self, order: &Order, due: Millis, now: Millis) -> bool {
        // Jitter and coarse buckets add up to a tenth of the longer delays.
        let delay = due.saturating_sub(order.opened());
        let late = due + LATE + delay / 8;
        let idle_since = self.last_question.max(order.opened());
        self.log_is_whole && now > late && (self.asked_up_to > late || now > idle_since + LATE)
    }
}

fn evidence(order: &Order, by_inquiry: bool) -> String {
    match (by_inquiry, order.last_answer()) {
        (false, _) => "no event of it says so".to_owned(),
        (true, None) => "the bank was not asked about it".to_owned(),
        (true, Some(answer)) => format!("the bank's log says {answer} last"),
    }
}
