//! Where an order stands, and what differs about it.

use super::{Books, Found, Heads};
use crate::domain::status::Status;
use crate::verify::difference::{Difference, Kind};
use crate::verify::order::{Flag, Order};
use crate::verify::report::Figures;

/// Where one order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Settled,
    Exhausted,
    Pending,
    /// Pending, beyond `E`.
    Unfolded,
    /// It has a result, and its event is gone.
    Older,
    /// Its result may be gone.
    Untold,
    Unaccounted,
    /// It was never accepted.
    Refused,
}

impl Books {
    /// Judges every order.
    pub fn close(self, heads: &Heads) -> Found {
        let mut found = Found {
            clean: Figures {
                misplaced: self.misplaced_events,
                ..Figures::default()
            },
            ..Found::default()
        };
        for (id, order) in &self.orders {
            let standing = self.standing(order, heads);
            let mut differs = false;
            for kind in Kind::OF_AN_ORDER {
                if !self.shows(order, standing, (kind, heads)) {
                    continue;
                }
                differs = true;
                found.differences.add(kind, || {
                    Some(Difference {
                        kind,
                        shard: self.shard,
                        order: Some(self.names.get(id)?.to_string()),
                        what: self.tell(order, kind),
                    })
                });
            }
            if differs {
                found.suspects.insert(*id);
                count(&mut found.suspected, standing);
            } else {
                count(&mut found.clean, standing);
            }
        }
        found.facts = self.facts;
        found.misplaced = self.misplaced;
        found.copies = self.copies;
        found
    }

    fn standing(&self, order: &Order, heads: &Heads) -> Standing {
        let viewed = order.is(Flag::VIEWED);
        if !order.is(Flag::SAID) {
            // Its event is gone, or there never was one: then it is no accepted order.
            if order.named >= heads.events {
                return Standing::Refused;
            }
            if !viewed {
                return Standing::Older;
            }
        }
        if order.is(Flag::SETTLED) && !(order.is(Flag::REUSED) && viewed) {
            return Standing::Settled;
        }
        if viewed {
            return if order.is(Flag::VIEW_EXHAUSTED) {
                Standing::Exhausted
            } else {
                Standing::Pending
            };
        }
        if !order.is(Flag::ACCEPTED) || order.is(Flag::TYPE_LIMIT) {
            return Standing::Refused;
        }
        if order.accepted_at >= self.view.e {
            return Standing::Unfolded;
        }
        if order.is_accepted_before(heads.results_since) {
            Standing::Untold
        } else {
            Standing::Unaccounted
        }
    }

    fn shows(&self, order: &Order, standing: Standing, (kind, heads): (Kind, &Heads)) -> bool {
        let viewed = order.is(Flag::VIEWED);
        let never_said = !order.is(Flag::SAID) && order.named >= heads.events;
        // All of its results are there.
        let told = order.is(Flag::ACCEPTED) && !order.is_accepted_before(heads.results_since);
        match kind {
            Kind::Unaccounted => standing == Standing::Unaccounted,
            Kind::Orphan => never_said && viewed,
            Kind::Phantom => never_said && !viewed,
            Kind::Repeated => order.is(Flag::REPEATED),
            Kind::Contradicted => order.is(Flag::CONTRADICTED),
            Kind::Lingering => {
                let before_its_exhaustion = order.is(Flag::EXHAUSTED)
                    && !order.is(Flag::VIEW_EXHAUSTED)
                    && order.view_phase <= order.exhausted_phase;
                viewed
                    && !order.is(Flag::REUSED)
                    && (order.is(Flag::SETTLED) || before_its_exhaustion)
                    && order.result_at < self.view.r
            }
            Kind::Unsettled => {
                viewed && told && order.is(Flag::TERMINAL_PASSED) && !order.is(Flag::SETTLED)
            }
            Kind::Unpublished => order.is(Flag::VIEW_EXHAUSTED) && told && !order.has_result(),
            Kind::Overdue => standing == Standing::Pending && order.is(Flag::OVERDUE),
            Kind::Misplaced | Kind::Foreign => false,
        }
    }

    fn tell(&self, order: &Order, kind: Kind) -> String {
        let shard = self.shard;
        let Order {
            accepted_at,
            named,
            result_at,
            ..
        } = *order;
        match kind {
            Kind::Unaccounted if order.is(Flag::EXHAUSTED) => format!(
                "result {shard}/{result_at} says that it is exhausted, and it is not in the view"
            ),
            Kind::Unaccounted => format!(
                "event {shard}/{accepted_at} was accepted, it has no result and is not in the view"
            ),
            Kind::Orphan => {
                format!("in the view by event {shard}/{named}, but no event in the log is its own")
            }
            Kind::Phantom => {
                format!(
                    "its result names event {shard}/{named}, but no event in the log is its own"
                )
            }
            Kind::Repeated => format!("result {shard}/{result_at} was repeated"),
            Kind::Contradicted => {
                let status = if order.is(Flag::SUCCESS) {
                    Status::Success
                } else {
                    Status::Failure
                };
                format!("result {shard}/{result_at} says {status}, a later one the contrary")
            }
            Kind::Lingering => {
                format!("result {shard}/{result_at} was folded, and the view does not show it")
            }
            Kind::Unsettled => {
                "a terminal event was passed, and there is no settled result".to_owned()
            }
            Kind::Unpublished => "exhausted in the view, but no result says so".to_owned(),
            Kind::Overdue => "pending, and due longer ago than the slack".to_owned(),
            Kind::Misplaced | Kind::Foreign => String::new(),
        }
    }
}

fn count(figures: &mut Figures, standing: Standing) {
    match standing {
        Standing::Settled => figures.settled += 1,
        Standing::Exhausted => figures.exhausted += 1,
        Standing::Pending => figures.pending += 1,
        Standing::Unfolded => {
            figures.pending += 1;
            figures.unfolded += 1;
        }
        Standing::Older => {
            figures.older += 1;
            return;
        }
        Standing::Untold => {
            figures.untold += 1;
            return;
        }
        Standing::Unaccounted => {}
        Standing::Refused => return,
    }
    figures.accepted += 1;
}
