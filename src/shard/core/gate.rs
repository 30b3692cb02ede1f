//! The gate: an order whose result is planned or under way is *settling*. Until that result was read
//! back, claims and answers change nothing for it, and its terminal events and commands wait here,
//! their offsets open. Bounded by `Plan::gate_limit`.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::order::{Millis, OrderId};
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::Terminal;
use crate::kafka::EventRecord;
use crate::plant::{self, Plant};

/// What is being published about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planned {
    Settled(Terminal),
    Exhausted(u16),
}

impl Planned {
    pub fn of(result: &OrderResult) -> Self {
        match &result.outcome {
            Outcome::Settled { status, .. } => Self::Settled(*status),
            Outcome::Exhausted { .. } => Self::Exhausted(result.phase),
        }
    }

    /// Whether reading `read` back ends a plan: its own result does, and any resolution does.
    fn ended_by(self, read: Self) -> bool {
        matches!(read, Self::Settled(_)) || self == read
    }
}

#[derive(Clone, Debug)]
struct Settling {
    planned: Planned,
    /// The terminal event that planned it; open until read back.
    offset: Option<u64>,
    waiting: Vec<EventRecord>,
}

/// Orders that are settling, and the publisher's queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    settling: BTreeMap<OrderId, Settling>,
    waiting: usize,
    queue: VecDeque<(OrderId, OrderResult)>,
    publishing: Option<(usize, Millis)>,
    ended: Option<Millis>,
    /// What a planted bug publishes again.
    #[cfg(test)]
    last: Vec<(OrderId, OrderResult)>,
}

/// A group of results waits for this long after the last commit, unless [`GROUP`] wait.
const GROUP_AFTER: Millis = 250;
/// So many results do not wait for the time.
const GROUP: usize = 500;
/// The most results of one transaction: about 400 kB, a commit of a few milliseconds more.
const GROUP_MAX: usize = 1_000;

impl Gate {
    pub fn planned(&self, id: &OrderId) -> Option<Planned> {
        let settling = self.settling.get(id)?;
        (!plant::is(Plant::NoGate)).then_some(settling.planned)
    }

    pub fn len(&self) -> usize {
        self.settling.len() + self.waiting
    }

    /// Hands an order to the publisher. `offset`: the terminal event that says so.
    pub fn enter(&mut self, id: OrderId, result: OrderResult, offset: Option<u64>) {
        let planned = Planned::of(&result);
        self.settling.insert(
            id,
            Settling {
                planned,
                offset,
                waiting: Vec::new(),
            },
        );
        self.queue.push_back((id, result));
    }

    /// An event of a settling order waits until the result was read back.
    pub fn wait(&mut self, id: &OrderId, event: EventRecord) {
        if let Some(settling) = self.settling.get_mut(id) {
            settling.waiting.push(event);
            self.waiting += 1;
        }
    }

    /// A result was read back and folded. Returns the offset that it closes and the events that
    /// waited, to be judged by the view like any other.
    pub fn leave(&mut self, id: &OrderId, read: Planned) -> (Option<u64>, Vec<EventRecord>) {
        if !self
            .settling
            .get(id)
            .is_some_and(|settling| settling.planned.ended_by(read))
        {
            return (None, Vec::new());
        }
        let Some(left) = self.settling.remove(id) else {
            return (None, Vec::new());
        };
        self.waiting -= left.waiting.len();
        if left.planned != read {
            self.queue.retain(|(queued, _)| queued != id);
        }
        (left.offset, left.waiting)
    }

    /// The next group, when it is time: at once when the publisher was idle, else when the last
    /// commit ended and 250 ms passed or 500 wait.
    pub fn next_group(&mut self, now: Millis) -> Option<Vec<OrderResult>> {
        if self.publishing.is_some()
            || self.queue.is_empty()
            || self.publish_at().is_none_or(|at| at > now)
        {
            return None;
        }
        let count = self.queue.len().min(GROUP_MAX);
        self.publishing = Some((count, now));
        #[cfg(test)]
        if plant::is(Plant::PublisherReused) {
            self.last = self.queue.range(..count).cloned().collect();
        }
        Some(
            self.queue
                .drain(..count)
                .map(|(_, result)| result)
                .collect(),
        )
    }

    /// When the next group is to be published, in the core's monotonic time; `None`: not before
    /// something else happens.
    pub fn publish_at(&self) -> Option<Millis> {
        if self.publishing.is_some() || self.queue.is_empty() {
            return None;
        }
        let rested = self.ended.map_or(0, |ended| ended + GROUP_AFTER);
        Some(if self.queue.len() >= GROUP { 0 } else { rested })
    }

    /// A planted bug: the commit is taken for one that never happened.
    #[cfg(test)]
    pub fn publish_again(&mut self, now: Millis) {
        self.publishing = None;
        self.ended = Some(now);
        self.queue.extend(std::mem::take(&mut self.last));
    }

    /// The commit succeeded: how many results, and how long it took.
    pub fn committed(&mut self, now: Millis) -> Option<(usize, Millis)> {
        let (count, began) = self.publishing.take()?;
        self.ended = Some(now);
        Some((count, now.saturating_sub(began)))
    }
}
