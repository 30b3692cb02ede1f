//! The books of somebody who only reads: what the topics hold and what the bank was asked, order by
//! order, and whether all of it fits together. It shares no counter, metric or state with the worker.
//! Pure; fed by the second reader and from the bank's log, in whatever order the two bring it.
//!
//! An order costs about 100 bytes until the run ends; `dev` stops its traffic at [`ORDERS_MAX`].

mod order;
mod seen;
mod verdict;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

use crate::domain::event::{Body, Event, Reason, decode, is_stale};
use crate::domain::order::{Millis, OrderKey};
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::{Status, Terminal};
use order::{Order, Settled};
pub use seen::{Counts, Place, Seen, Terms};
pub use verdict::{Standing, Verdict};

/// The most orders that are audited; as many as the simulated bank remembers.
pub const ORDERS_MAX: u64 = crate::dev::bank::ORDERS_MAX as u64;

/// The most differences whose text is kept; the others are counted.
const TEXTS_MAX: usize = 100;

/// The books.
#[derive(Debug)]
pub struct Audit {
    terms: Terms,
    orders: HashMap<Box<str>, Order>,
    /// Every terminal event, by order.
    terminals: HashMap<Box<str>, Vec<(Terminal, Place)>>,
    /// Events that must become dead letters.
    refused: HashMap<Place, Reason>,
    letters: HashMap<Place, String>,
    /// Misplaced records less forwarded copies, by a hash of their value.
    owed: HashMap<u64, i64>,
    /// One past the newest record of `order-events` that was read, by partition.
    read_to: HashMap<u16, u64>,
    /// The same of what was published and acknowledged.
    acknowledged_to: HashMap<u16, u64>,
    counts: Counts,
    /// What can never be right again.
    broken: Vec<String>,
    broken_beyond: u64,
    /// The latest due time of a question that was asked: what was due long before it was passed over.
    asked_up_to: Millis,
    last_question: Millis,
    log_is_whole: bool,
}

#[derive(Deserialize)]
struct Question<'a> {
    order: &'a str,
    arrived: Millis,
    given: &'a str,
}

impl Audit {
    /// Empty books.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            orders: HashMap::new(),
            terminals: HashMap::new(),
            refused: HashMap::new(),
            letters: HashMap::new(),
            owed: HashMap::new(),
            read_to: HashMap::new(),
            acknowledged_to: HashMap::new(),
            counts: Counts::default(),
            broken: Vec::new(),
            broken_beyond: 0,
            asked_up_to: 0,
            last_question: 0,
            log_is_whole: true,
        }
    }

    /// Takes a record.
    pub fn take(&mut self, seen: &Seen) {
        match seen {
            Seen::Event {
                at,
                appended,
                forwarded,
                value,
            } => {
                let read_to = self.read_to.entry(at.0).or_default();
                *read_to = (*read_to).max(at.1 + 1);
                self.event(*at, *appended, *forwarded, value);
            }
            Seen::Result { at, key, value } => self.result(*at, key, value),
            Seen::DeadLetter { key, reason } => self.dead_letter(key, reason),
        }
    }

    /// Takes a line of the bank's log, `{"order":..,"attempt":..,"arrived":..,"given":..}`.
    pub fn question(&mut self, line: &str) {
        let Ok(question) = serde_json::from_str::<Question<'_>>(line) else {
            return self.breaks(format!("the bank's log has a line that is none: {line}"));
        };
        self.counts.questions += 1;
        self.last_question = self.last_question.max(question.arrived);
        let ages = self.terms.question_ages.as_deref();
        let Some(order) = self.orders.get_mut(question.order) else {
            // Its event is still to be read, or the API asked about an order that never had one.
            let order = Order::asked_first(Status::from_code(question.given));
            self.orders.insert(question.order.into(), order);
            return;
        };
        if order.is_accepted()
            && let Some(due) = ages.and_then(|ages| order.due(ages))
        {
            self.asked_up_to = self.asked_up_to.max(due);
        }
        order.asked(Status::from_code(question.given));
    }

    /// Some of the bank's log was lost before it was read here: what it would prove is left out.
    pub fn log_is_incomplete(&mut self) {
        self.log_is_whole = false;
    }

    /// An event was published and acknowledged here.
    pub fn acknowledged(&mut self, (partition, offset): Place) {
        let to = self.acknowledged_to.entry(partition).or_default();
        *to = (*to).max(offset + 1);
    }

    /// Records that were acknowledged and not read yet.
    pub fn unread(&self) -> u64 {
        let unread = self.acknowledged_to.iter().map(|(partition, to)| {
            to.saturating_sub(self.read_to.get(partition).copied().unwrap_or(0))
        });
        unread.sum()
    }

    /// Something that can never be right again.
    pub fn breaks(&mut self, what: String) {
        if self.broken.len() < TEXTS_MAX {
            self.broken.push(what);
        } else {
            self.broken_beyond += 1;
        }
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn event(&mut self, at: Place, appended: Millis, forwarded: bool, value: &[u8]) {
        let debt = forwarded.then(|| hash(value));
        let is_copy = debt.is_some();
        if let Some(debt) = debt {
            *self.owed.entry(debt).or_default() -= 1;
            self.counts.forwarded += 1;
        } else {
            self.counts.events += 1;
        }
        let event = match decode(value) {
            Ok(event) if is_stale(event.at, appended, self.terms.window) => Err(Reason::Stale),
            Ok(event) => Ok(event),
            Err(refusal) => Err(refusal.reason),
        };
        match event {
            Err(reason) => {
                self.counts.refused += 1;
                self.refused.insert(at, reason);
            }
            Ok(event) if event.key.shard(self.terms.shards) == at.0 => {
                self.accept(event, at, appended, is_copy);
            }
            Ok(_) if is_copy => {
                self.counts.refused += 1;
                self.refused.insert(at, Reason::Misrouted);
            }
            Ok(event) => {
                self.counts.misplaced += 1;
                *self.owed.entry(hash(value)).or_default() += 1;
                // Only its copy has a place of its own; the order is accepted all the same, so that
                // a lost copy shows.
                let earlier = self.is_earlier(at);
                self.order(&event.key).accept(appended, earlier);
            }
        }
    }

    fn accept(&mut self, event: Event, at: Place, appended: Millis, is_copy: bool) {
        let name: Box<str> = event.key.to_string().into();
        let earlier = self.is_earlier(at);
        let order = self.order(&event.key);
        order.accept(appended, earlier);
        match event.body {
            Body::Pending { ask_at, .. } => order.ask_not_before(ask_at),
            Body::Requeue { phase, .. } => order.requeue(phase, appended, earlier),
            Body::Terminal(terminal) => {
                self.counts.terminal += u64::from(!is_copy);
                let said = self.terminals.entry(name).or_default();
                said.push((terminal.status, at));
            }
        }
    }

    fn order(&mut self, key: &OrderKey) -> &mut Order {
        let configured = self.terms.configured.contains(&key.order_type);
        let order = self.orders.entry(key.to_string().into()).or_default();
        order.configured = configured;
        order
    }

    fn result(&mut self, at: Place, key: &[u8], value: &[u8]) {
        self.counts.results += 1;
        let (partition, offset) = at;
        let Some(result) = OrderResult::decode(value, None) else {
            return self.breaks(format!(
                "result {partition}/{offset}: no result in any form"
            ));
        };
        let name = result.key.to_string();
        if result.key.shard(self.terms.shards) != partition {
            self.breaks(format!(
                "{name}: its result lies in partition {partition}, not in its shard's"
            ));
        }
        if key != name.as_bytes() {
            self.breaks(format!("{name}: its result has another key"));
        }
        let earlier = self.is_earlier(result.event);
        let order = self.order(&result.key);
        let repeated = match result.outcome {
            Outcome::Settled { status, source, .. } => {
                let settled = Settled {
                    status,
                    by_inquiry: source == "inquiry",
                    earlier,
                };
                order
                    .settle(settled)
                    .then(|| "two settled results".to_owned())
            }
            Outcome::Exhausted { .. } => {
                let repeated = order.exhaust(result.phase);
                repeated.then(|| format!("two exhaustions of phase {}", result.phase))
            }
        };
        if let Some(what) = repeated {
            self.breaks(format!(
                "{name}: {what}, the second at {partition}/{offset}"
            ));
        }
    }

    fn dead_letter(&mut self, key: &[u8], reason: &str) {
        let Some(at) = self.place_of(key) else {
            let key = String::from_utf8_lossy(key).escape_debug().to_string();
            return self.breaks(format!("dead letter {key}: its key names no event"));
        };
        // Dead letters are delivered at least once.
        if self.letters.insert(at, reason.to_owned()).is_none() {
            self.counts.dead_letters += 1;
        }
    }

    /// Whether the record of `order-events` there is older than the run.
    fn is_earlier(&self, (partition, offset): Place) -> bool {
        let began_at = self.terms.began_at.get(usize::from(partition));
        began_at.is_some_and(|began_at| offset < *began_at)
    }

    /// `<topic>/<partition>/<offset>`.
    fn place_of(&self, key: &[u8]) -> Option<Place> {
        let key = std::str::from_utf8(key).ok()?;
        let (partition, offset) = key
            .strip_prefix(&*self.terms.events_topic)?
            .strip_prefix('/')?
            .split_once('/')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    }
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
