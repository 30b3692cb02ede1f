//! The books of one shard: takes its records of the view, then its results, then its events, and
//! judges each order. Pure; see [the module](super) for why this order.

mod judge;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::difference::{Difference, Kind, Tally};
use super::forwards::{self, Misplaced};
use super::order::{Id, Order};
use super::report::Figures;
use crate::domain::event::{Body, is_stale};
use crate::domain::order::{Millis, OrderKey, TypeName};
use crate::domain::record::Record;
use crate::domain::result::Outcome;
use crate::kafka::{Ends, EventRecord, ResultRecord};

/// Types that are not configured and that a view takes.
const UNKNOWN_TYPES: usize = 200;

/// Orders whose keys are kept for examples.
const NAMES_MAX: usize = 10_000;

/// What a verification has to know of the configuration.
#[derive(Clone, Debug)]
pub struct Terms {
    /// N.
    pub shards: u16,
    /// The dedupe window.
    pub window: Millis,
    /// How long ago an order may have been due.
    pub slack: Millis,
    /// The configured order types; nobody is asked about others.
    pub configured: BTreeSet<TypeName>,
}

/// The view's positions, read before its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Every event below has had its effect.
    pub e: u64,
    /// Every result below was folded.
    pub r: u64,
    /// The store's own time.
    pub now: Millis,
    /// The types that the view knows.
    pub types: BTreeSet<TypeName>,
}

impl Positions {
    /// Of no view: it should hold everything that is open.
    pub fn of_no_view() -> Self {
        Self {
            e: u64::MAX,
            r: 0,
            now: 0,
            types: BTreeSet::new(),
        }
    }
}

/// What is left of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The oldest event.
    pub events: u64,
    /// When the oldest result was appended; 0: none was taken by retention.
    pub results_since: Millis,
}

/// One shard's books, or those of some of its orders.
#[derive(Debug)]
pub struct Books {
    terms: Arc<Terms>,
    shard: u16,
    only: Option<Arc<HashSet<Id>>>,
    view: Positions,
    /// No more types that are not configured are taken.
    types_are_full: bool,
    orders: HashMap<Id, Order>,
    names: HashMap<Id, OrderKey>,
    misplaced: Vec<(u64, Misplaced)>,
    copies: Vec<u64>,
    misplaced_events: u64,
    /// What no second look can change.
    facts: Tally,
}

/// What the books showed.
#[derive(Debug, Default)]
pub struct Found {
    /// Where the orders without a difference stand.
    pub clean: Figures,
    /// The orders with a difference, to be looked at again.
    pub suspects: HashSet<Id>,
    /// Where these stand.
    pub suspected: Figures,
    /// Their differences.
    pub differences: Tally,
    /// Differences that no second look can change; in a first look only.
    pub facts: Tally,
    /// Events below `E` in a foreign partition, by the hash of their value; in a first look only.
    pub misplaced: Vec<(u64, Misplaced)>,
    /// The copies of such; in a first look only.
    pub copies: Vec<u64>,
}

impl Books {
    /// Empty books; `only`: of these orders, to be told with their names.
    pub fn new(terms: Arc<Terms>, shard: u16, only: Option<Arc<HashSet<Id>>>) -> Self {
        Self {
            terms,
            shard,
            only,
            view: Positions::of_no_view(),
            types_are_full: false,
            orders: HashMap::new(),
            names: HashMap::new(),
            misplaced: Vec::new(),
            copies: Vec::new(),
            misplaced_events: 0,
            facts: Tally::default(),
        }
    }

    /// Takes the view's positions, before its records.
    pub fn positions(&mut self, view: Positions) {
        let unknown = view.types.difference(&self.terms.configured).count();
        self.types_are_full = unknown >= UNKNOWN_TYPES;
        self.view = view;
    }

    /// Takes a record of the view.
    pub fn viewed(&mut self, key: &OrderKey, record: &Record) {
        // Of a leased order the question is on its way until the lease ends.
        let until = if record.leased {
            record.due.max(u64::from(record.bucket) * 1000)
        } else {
            record.due
        };
        let overdue = until.saturating_add(self.terms.slack) < self.view.now
            && self.terms.configured.contains(&key.order_type);
        if let Some(order) = self.order(key) {
            order.viewed(record, overdue);
        }
    }

    /// Takes a result, after the view.
    pub fn result(&mut self, record: &ResultRecord) {
        let (shard, offset) = (self.shard, record.offset);
        let Some(result) = &record.result else {
            return self.fact(Kind::Foreign, None, || {
                format!("result {shard}/{offset} is none of ours")
            });
        };
        let home = result.key.shard(self.terms.shards);
        if home != shard {
            return self.fact(Kind::Misplaced, Some(&result.key), || {
                format!("result {shard}/{offset} belongs into partition {home}")
            });
        }
        let time = (record.appended, self.terms.window);
        let Some(order) = self.order(&result.key) else {
            return;
        };
        order.names(result.event.1);
        match result.outcome {
            Outcome::Settled { status, .. } => order.settled(status, offset, time),
            Outcome::Exhausted { .. } => order.exhausted(result.phase, offset, time),
        }
    }

    /// Takes an event, after the results. It was decoded without a window.
    pub fn event(&mut self, record: &EventRecord) {
        let Ok(event) = &record.event else { return };
        let stale = is_stale(event.at, record.appended, self.terms.window);
        let home = event.key.shard(self.terms.shards);
        let passed = record.offset < self.view.e;
        if home != self.shard {
            if !record.forwarded && !stale && self.only.is_none() {
                self.misplaced_events += 1;
                if passed {
                    let event = Misplaced {
                        at: (self.shard, record.offset),
                        home,
                        appended: record.appended,
                    };
                    self.misplaced.push((value_hash(record), event));
                }
            }
            return;
        }
        if record.forwarded && self.only.is_none() {
            self.copies.push(value_hash(record));
        }
        let name = &event.key.order_type;
        let refused = self.types_are_full
            && !self.terms.configured.contains(name)
            && !self.view.types.contains(name);
        let time = (record.appended, self.terms.window);
        let Some(order) = self.order(&event.key) else {
            return;
        };
        order.said();
        if stale {
            return;
        }
        order.accepted(record.offset, time);
        if passed && matches!(event.body, Body::Terminal(_)) {
            order.terminal_was_passed();
        }
        if refused {
            order.was_one_type_too_many();
        }
    }

    fn order(&mut self, key: &OrderKey) -> Option<&mut Order> {
        let id = Id::of(key);
        if let Some(only) = &self.only {
            if !only.contains(&id) {
                return None;
            }
            if self.names.len() < NAMES_MAX {
                self.names.entry(id).or_insert_with(|| key.clone());
            }
        }
        Some(self.orders.entry(id).or_default())
    }

    fn fact(&mut self, kind: Kind, key: Option<&OrderKey>, what: impl FnOnce() -> String) {
        if self.only.is_some() {
            return;
        }
        let shard = self.shard;
        self.facts.add(kind, || {
            Some(Difference {
                kind,
                shard,
                order: key.map(ToString::to_string),
                what: what(),
            })
        });
    }
}

impl Heads {
    /// From the ends of both logs and the append time of the oldest result, if there is one.
    pub fn new(events: Ends, results: Ends, oldest_result: Option<Millis>) -> Self {
        Self {
            events: events.low,
            results_since: match results.low {
                0 => 0,
                _ => oldest_result.unwrap_or(Millis::MAX),
            },
        }
    }
}

fn value_hash(record: &EventRecord) -> u64 {
    let original = record.original.as_ref();
    let value = original.and_then(|original| original.value.as_deref());
    forwards::hash(value.unwrap_or_default())
}

#[cfg(test)]
mod tests;
