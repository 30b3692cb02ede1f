//! What the reader keeps of one log partition that it delivers: the records that wait for room in the
//! owner's channel and the position that the owner was told. It never blocks: a full channel is an
//! outcome, and the reader pauses that partition alone.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Records in one batch, as many as one script of the view takes.
pub const BATCH: usize = 250;

/// Bytes in one batch, beyond which the next record begins another: what waits in channels and aside is
/// bounded in batches, and a flood of large records must not fill the memory.
pub const BATCH_BYTES: usize = 1 << 20;

/// Batches that wait for a full channel before their partition is paused: pausing throws prefetched
/// records away, so it must not happen at every hiccup of the owner.
pub const BATCHES_ASIDE: usize = 8;

/// Records of one log partition, in the log's order.
#[derive(Debug)]
pub struct Batch<R> {
    /// The ownership for which they were read; drop the batch when it is not yours any more.
    pub generation: u64,
    /// The partition.
    pub partition: u16,
    /// 250 at most; none when only control records or aborted ones were passed.
    pub records: Vec<R>,
    /// The next offset to be read: beyond all records up to here and every control record known to
    /// follow them.
    pub position: u64,
}

/// One partition's way to its owner.
#[derive(Debug)]
pub struct Feed<R> {
    /// See [`Batch::generation`].
    pub generation: u64,
    /// The partition is paused.
    pub paused: bool,
    partition: u16,
    sink: mpsc::Sender<Batch<R>>,
    /// Not yet handed over; the last one still grows.
    aside: VecDeque<Batch<R>>,
    /// Bytes in the last one.
    growing_bytes: usize,
    /// Next offset to come from the log.
    position: u64,
    /// The library's own position belongs to this feed and not to an earlier one of the partition.
    proven: bool,
}

/// What became of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// The owner has everything.
    All,
    /// The owner's channel is full; the rest is kept aside.
    Full,
    /// Nobody listens any more.
    Closed,
}

impl<R> Feed<R> {
    /// Begins at `offset`, which the owner knows.
    pub fn new(partition: u16, generation: u64, offset: u64, sink: mpsc::Sender<Batch<R>>) -> Self {
        Self {
            generation,
            paused: false,
            partition,
            sink,
            aside: VecDeque::new(),
            growing_bytes: 0,
            position: offset,
            proven: false,
        }
    }

    /// Whether a record at this offset is to come: anything older was delivered, or belongs to a
    /// start that was replaced.
    pub fn expects(&self, offset: u64) -> bool {
        offset >= self.position
    }

    /// Takes the record at `offset`, which takes so many bytes.
    pub fn push(&mut self, offset: u64, record: R, bytes: usize) {
        self.proven = true;
        self.position = offset + 1;
        self.growing().records.push(record);
        self.growing_bytes += bytes;
    }

    /// Takes the library's own position, which also passes control records; `None` while it has none.
    /// Right after a restart it may still be the old one: it counts from when it was seen empty, or
    /// from the first record.
    pub fn at(&mut self, position: Option<u64>) {
        match position {
            None => self.proven = true,
            Some(position) if self.proven && position > self.position => {
                self.position = position;
                self.growing();
            }
            Some(_) => {}
        }
    }

    /// Whether enough waits to pause the partition.
    pub fn is_overfull(&self) -> bool {
        self.aside.len() >= BATCHES_ASIDE
    }

    /// Hands over what there is room for.
    pub fn flush(&mut self) -> Flushed {
        while let Some(batch) = self.aside.pop_front() {
            match self.sink.try_send(batch) {
                Ok(()) => {}
                Err(TrySendError::Full(batch)) => {
                    self.aside.push_front(batch);
                    return Flushed::Full;
                }
                Err(TrySendError::Closed(_)) => return Flushed::Closed,
            }
        }
        Flushed::All
    }

    /// The batch that takes the next record, with the position as it is now.
    fn growing(&mut self) -> &mut Batch<R> {
        let bytes = self.growing_bytes;
        let room = self
            .aside
            .back()
            .is_some_and(|batch| batch.records.len() < BATCH && bytes < BATCH_BYTES);
        if !room {
            self.growing_bytes = 0;
            self.aside.push_back(Batch {
                generation: self.generation,
                partition: self.partition,
                records: Vec::new(),
                position: self.position,
            });
        }
        let last = self.aside.len() - 1;
        let batch = &mut self.aside[last];
        batch.position = self.position;
        batch
    }
}

/// The feeds of one log, by partition.
pub type Feeds<R> = BTreeMap<u16, Feed<R>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(room: usize) -> (Feed<u64>, mpsc::Receiver<Batch<u64>>) {
        let (sink, out) = mpsc::channel(room);
        (Feed::new(0, 7, 100, sink), out)
    }

    #[test]
    fn batches_hold_250_records_and_end_at_their_own_position() {
        let (mut feed, mut out) = feed(8);
        for offset in 100..360 {
            feed.push(offset, offset, 1);
        }
        feed.at(Some(361));
        assert_eq!(feed.flush(), Flushed::All);
        let first = out.try_recv().unwrap();
        assert_eq!((first.records.len(), first.position), (250, 350));
        let second = out.try_recv().unwrap();
        assert_eq!((second.records.len(), second.position), (10, 361));
        assert!(out.try_recv().is_err());
    }

    #[test]
    fn a_full_channel_keeps_the_rest_in_order_until_there_is_room() {
        let (mut feed, mut out) = feed(1);
        let records = (BATCH * (BATCHES_ASIDE + 1)) as u64;
        for offset in 100..100 + records {
            feed.push(offset, offset, 1);
        }
        assert_eq!(feed.flush(), Flushed::Full);
        assert!(feed.is_overfull());
        let mut read = Vec::new();
        while let Ok(batch) = out.try_recv() {
            read.extend(batch.records);
            feed.flush();
        }
        assert!(read.into_iter().eq(100..100 + records));
        assert_eq!(feed.flush(), Flushed::All);
    }

    #[test]
    fn large_records_fill_batches_and_the_room_aside_by_their_bytes() {
        let (mut feed, mut out) = feed(1);
        let half = BATCH_BYTES / 2;
        for offset in 100..103 {
            feed.push(offset, offset, half);
        }
        assert_eq!(feed.flush(), Flushed::Full);
        let first = out.try_recv().unwrap();
        assert_eq!((first.records, first.position), (vec![100, 101], 102));
        assert_eq!(feed.flush(), Flushed::All);
        // The channel is full again; from here on all is kept aside, two records a batch.
        for offset in 103..103 + 2 * BATCHES_ASIDE as u64 - 1 {
            assert!(!feed.is_overfull());
            feed.push(offset, offset, half);
            feed.flush();
        }
        assert!(feed.is_overfull());
    }

    #[test]
    fn a_passed_marker_is_told_without_a_record() {
        let (mut feed, mut out) = feed(1);
        feed.at(None);
        feed.at(Some(101));
        assert_eq!(feed.flush(), Flushed::All);
        let batch = out.try_recv().unwrap();
        assert_eq!((batch.records.len(), batch.position), (0, 101));
        feed.at(Some(101));
        assert_eq!(feed.flush(), Flushed::All);
        assert!(out.try_recv().is_err());
    }

    #[test]
    fn the_position_of_an_earlier_start_does_not_count() {
        let (mut feed, mut out) = feed(1);
        feed.at(Some(5_000));
        assert_eq!(feed.flush(), Flushed::All);
        assert!(out.try_recv().is_err());
        assert!(feed.expects(100));
    }
}
