//! Offsets of events that were read and have not had their effect yet. `E` of a script is the
//! smallest of them that the script does not account for, else the reader's position.

use std::collections::BTreeMap;

use crate::domain::order::Millis;
use crate::plant::{self, Plant};

/// Unfolded, waiting, in the gate, or a dead letter or forward not acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    held: BTreeMap<u64, Held>,
    /// Of all that are held.
    bytes: usize,
    position: u64,
    /// Append time of the newest event read.
    newest: Option<Millis>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    appended: Millis,
    bytes: usize,
}

impl Offsets {
    pub fn starting_at(position: u64) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    /// An event was read: it is held until [`Offsets::release`], and with it `bytes` of its original.
    pub fn read(&mut self, offset: u64, appended: Millis, bytes: usize) {
        self.release(offset);
        self.held.insert(offset, Held { appended, bytes });
        self.bytes += bytes;
        self.position = self.position.max(offset + 1);
        self.newest = Some(appended);
    }

    /// The reader passed records that are no events (control records, aborted ones).
    pub fn passed(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    pub fn release(&mut self, offset: u64) {
        if let Some(held) = self.held.remove(&offset) {
            self.bytes -= held.bytes;
        }
    }

    /// What the originals of all events that are held take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// `E` of a script that gives effect to `accounted` (sorted), or of one that accounts for none.
    pub fn e(&self, accounted: &[u64]) -> u64 {
        let bug = |offset: &u64| {
            plant::is(Plant::EFromPosition)
                || plant::is(Plant::EPastOpen) && accounted.last() > Some(offset)
        };
        self.held
            .keys()
            .find(|offset| accounted.binary_search(offset).is_err() && !bug(offset))
            .copied()
            .unwrap_or(self.position)
    }

    /// Append time of the event at `E`; `None`: everything read has had its effect.
    pub fn oldest(&self) -> Option<Millis> {
        self.held.values().next().map(|held| held.appended)
    }

    /// Append time of the event at `E`; behind the end, of the newest event read.
    pub fn intake_clock(&self) -> Option<Millis> {
        self.oldest().or(self.newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_never_passes_an_event_that_the_script_does_not_account_for() {
        let mut offsets = Offsets::starting_at(10);
        assert_eq!(offsets.e(&[]), 10);
        for offset in 10..14 {
            offsets.read(offset, offset * 1000, 7);
        }
        assert_eq!(offsets.e(&[]), 10);
        assert_eq!(offsets.e(&[10, 11]), 12);
        assert_eq!(offsets.e(&[10, 12]), 11);
        assert_eq!(offsets.e(&[10, 11, 12, 13]), 14);
        assert_eq!(offsets.bytes(), 28);
        offsets.release(10);
        offsets.release(10);
        assert_eq!(offsets.bytes(), 21);
        assert_eq!(offsets.e(&[12]), 11);
        assert_eq!(offsets.intake_clock(), Some(11_000));
        offsets.passed(20);
        assert_eq!(offsets.e(&[11, 12, 13]), 20);
        assert!(!offsets.is_empty());
    }
}
