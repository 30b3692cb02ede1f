//! A partition as Kafka keeps it: offsets, append times, transactions that are open, committed or
//! aborted, control records that take offsets, and the last stable offset.

use crate::domain::order::Millis;
use crate::kafka::Ends;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

/// A transaction of this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Txn(usize);

#[derive(Clone, Debug)]
struct Entry<T> {
    at: Millis,
    txn: Option<Txn>,
    /// `None`: a control record.
    body: Option<T>,
}

/// One partition.
#[derive(Clone, Debug)]
pub struct Log<T> {
    entries: Vec<Entry<T>>,
    txns: Vec<Fate>,
    low: u64,
}

impl<T: Clone> Log<T> {
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            txns: Vec::new(),
            low: 0,
        }
    }

    pub fn begin(&mut self) -> Txn {
        self.txns.push(Fate::Open);
        Txn(self.txns.len() - 1)
    }

    pub fn append(&mut self, at: Millis, txn: Option<Txn>, body: T) -> u64 {
        self.entries.push(Entry {
            at,
            txn,
            body: Some(body),
        });
        self.high() - 1
    }

    /// Writes the marker of a transaction.
    pub fn end(&mut self, at: Millis, txn: Txn, commit: bool) {
        self.txns[txn.0] = if commit {
            Fate::Committed
        } else {
            Fate::Aborted
        };
        self.entries.push(Entry {
            at,
            txn: None,
            body: None,
        });
    }

    pub fn high(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn ends(&self) -> Ends {
        Ends {
            low: self.low,
            high: self.high(),
        }
    }

    /// Forgets everything below `low`, as retention does.
    pub fn trim(&mut self, low: u64) {
        self.low = self.low.max(low);
    }

    fn fate(&self, entry: &Entry<T>) -> Fate {
        entry.txn.map_or(Fate::Committed, |txn| self.txns[txn.0])
    }

    /// The last stable offset.
    pub fn stable(&self) -> u64 {
        let open = self
            .entries
            .iter()
            .position(|entry| self.fate(entry) == Fate::Open);
        open.map_or(self.high(), |offset| offset as u64)
    }

    /// The record at an offset, if it was committed.
    pub fn committed(&self, offset: u64) -> Option<(Millis, &T)> {
        let entry = self.entries.get(offset as usize)?;
        (self.fate(entry) == Fate::Committed).then_some(())?;
        Some((entry.at, entry.body.as_ref()?))
    }

    /// What a `read_committed` reader gets from `from` on, at most `max` records, and its position
    /// then; `to_end`: also past what is no record behind the last of them.
    pub fn read(&self, from: u64, max: usize, to_end: bool) -> (Vec<(u64, Millis, T)>, u64) {
        let (stable, mut position, mut records) = (self.stable(), from, Vec::new());
        let mut passed = from;
        while passed < stable && from >= self.low {
            match self.committed(passed) {
                Some(_) if records.len() == max => break,
                Some((at, body)) => {
                    records.push((passed, at, body.clone()));
                    position = passed + 1;
                }
                None => {}
            }
            passed += 1;
        }
        (
            records,
            if to_end {
                passed.max(position)
            } else {
                position
            },
        )
    }

    /// The first offset that was appended at `since` or later.
    pub fn offset_for_time(&self, since: Millis) -> Option<u64> {
        let found = self
            .entries
            .iter()
            .enumerate()
            .skip(self.low as usize)
            .find(|(_, entry)| entry.at >= since);
        found.map(|(offset, _)| offset as u64)
    }

    /// When the record at an offset was appended, or the first one after it.
    pub fn append_time(&self, offset: u64) -> Option<Millis> {
        self.entries.get(offset as usize).map(|entry| entry.at)
    }
}
