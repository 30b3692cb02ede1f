//! What a verification knows of one order: 16 bytes of a hash of its key, 40 of state. There is one
//! for each order of a shard.

use sha2::{Digest, Sha256};

use crate::domain::order::{Millis, OrderKey};
use crate::domain::record::Record;
use crate::domain::status::Terminal;

/// An order, by a hash of its key that nobody can make collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// Of an order's key.
    pub fn of(key: &OrderKey) -> Self {
        let digest = Sha256::new()
            .chain_update(key.order_type.as_str())
            .chain_update("/")
            .chain_update(key.req_no.as_bytes())
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

/// What is true of an order, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flag(u16);

impl Flag {
    /// There is an event of it, acceptable or stale.
    pub const SAID: Self = Self(1);
    /// There is an acceptable event of it.
    pub const ACCEPTED: Self = Self(1 << 1);
    /// A terminal event of it lies below `E`.
    pub const TERMINAL_PASSED: Self = Self(1 << 2);
    /// Its type was refused as one too many.
    pub const TYPE_LIMIT: Self = Self(1 << 3);
    /// It is in the view.
    pub const VIEWED: Self = Self(1 << 4);
    /// It is in the view as exhausted.
    pub const VIEW_EXHAUSTED: Self = Self(1 << 5);
    /// It is pending in the view and should have been asked about.
    pub const OVERDUE: Self = Self(1 << 6);
    /// It has a settled result.
    pub const SETTLED: Self = Self(1 << 7);
    /// The newest of these says 1.
    pub const SUCCESS: Self = Self(1 << 8);
    /// It has an exhaustion.
    pub const EXHAUSTED: Self = Self(1 << 9);
    /// It has a result that repeats another.
    pub const REPEATED: Self = Self(1 << 10);
    /// It has a settled result that contradicts another.
    pub const CONTRADICTED: Self = Self(1 << 11);
    /// Something was said of it after the dedupe window of its settled result.
    pub const REUSED: Self = Self(1 << 12);
}

/// One order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// Its first acceptable event.
    pub accepted_at: u64,
    /// The newest event that its record in the view, or a result, names.
    pub named: u64,
    /// Its settled result, else its newest exhaustion.
    pub result_at: u64,
    /// When its first acceptable event was appended, in seconds.
    accepted_second: u32,
    /// When its settled result was appended, in seconds.
    settled_second: u32,
    pub view_phase: u16,
    pub exhausted_phase: u16,
    flags: u16,
}

impl Order {
    pub fn is(&self, flag: Flag) -> bool {
        self.flags & flag.0 != 0
    }

    fn set(&mut self, flag: Flag) {
        self.flags |= flag.0;
    }

    /// It has a record in the view.
    pub fn viewed(&mut self, record: &Record, overdue: bool) {
        self.set(Flag::VIEWED);
        self.view_phase = record.phase;
        self.named = self.named.max(record.event_offset);
        if record.exhausted {
            self.set(Flag::VIEW_EXHAUSTED);
        } else if overdue {
            self.set(Flag::OVERDUE);
        }
    }

    /// It has a settled result.
    pub fn settled(&mut self, status: Terminal, at: u64, (appended, window): (Millis, Millis)) {
        let success = status == Terminal::Success;
        if self.is(Flag::SETTLED) && !self.is_forgotten(appended, window) {
            self.set(if success == self.is(Flag::SUCCESS) {
                Flag::REPEATED
            } else {
                Flag::CONTRADICTED
            });
            return;
        }
        self.flags &= !(Flag::SUCCESS.0 | Flag::EXHAUSTED.0);
        self.set(Flag::SETTLED);
        if success {
            self.set(Flag::SUCCESS);
        }
        self.result_at = at;
        self.settled_second = (appended / 1000) as u32;
    }

    /// It has an exhaustion.
    pub fn exhausted(&mut self, phase: u16, at: u64, (appended, window): (Millis, Millis)) {
        let after_settled = self.is(Flag::SETTLED) && !self.is_forgotten(appended, window);
        if after_settled || (self.is(Flag::EXHAUSTED) && phase <= self.exhausted_phase) {
            return self.set(Flag::REPEATED);
        }
        if self.is(Flag::SETTLED) {
            self.set(Flag::REUSED);
        } else {
            self.result_at = at;
        }
        self.set(Flag::EXHAUSTED);
        self.exhausted_phase = phase;
    }

    /// A result names the event that opened its phase.
    pub fn names(&mut self, event: u64) {
        self.named = self.named.max(event);
    }

    /// There is an event of it; all results were told before.
    pub fn said(&mut self) {
        self.set(Flag::SAID);
    }

    /// An event of it can be accepted.
    pub fn accepted(&mut self, at: u64, (appended, window): (Millis, Millis)) {
        if !self.is(Flag::ACCEPTED) {
            self.set(Flag::ACCEPTED);
            self.accepted_at = at;
            self.accepted_second = (appended / 1000) as u32;
        }
        if self.is(Flag::SETTLED) && self.is_forgotten(appended, window) {
            self.set(Flag::REUSED);
        }
    }

    pub fn terminal_was_passed(&mut self) {
        self.set(Flag::TERMINAL_PASSED);
    }

    pub fn was_one_type_too_many(&mut self) {
        self.set(Flag::TYPE_LIMIT);
    }

    pub fn has_result(&self) -> bool {
        self.is(Flag::SETTLED) || self.is(Flag::EXHAUSTED)
    }

    /// Whether it was accepted before this time, to the second.
    pub fn is_accepted_before(&self, time: Millis) -> bool {
        u64::from(self.accepted_second) * 1000 < time
    }

    /// Whether the mark of its settled result may be gone for what was appended then.
    fn is_forgotten(&self, appended: Millis, window: Millis) -> bool {
        appended > u64::from(self.settled_second) * 1000 + window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_costs_what_is_promised() {
        assert_eq!(size_of::<(Id, Order)>(), 56);
    }
}
