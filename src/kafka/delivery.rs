//! The delivery of one log: its feeds by partition, and what the consumer is told for them (assign,
//! pause, resume). Driven by the reader's thread alone.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;

use super::feed::{Feed, Feeds, Flushed};
use super::place;

/// The delivery of one log: its feeds, and their partitions' assignment.
pub(super) struct Delivery<R> {
    /// The log's topic.
    pub(super) topic: String,
    feeds: Feeds<R>,
}

impl<R> Delivery<R> {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            feeds: Feeds::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.feeds.is_empty()
    }

    /// Replaces whatever was delivered of the partition.
    pub(super) fn start(
        &mut self,
        consumer: &BaseConsumer,
        partition: u16,
        offset: u64,
        feed: Feed<R>,
    ) -> KafkaResult<()> {
        self.remove(consumer, partition)?;
        consumer.incremental_assign(&place::at(&self.topic, partition, offset)?)?;
        self.feeds.insert(partition, feed);
        Ok(())
    }

    /// Ends what this generation or an older one started.
    pub(super) fn stop(
        &mut self,
        consumer: &BaseConsumer,
        partition: u16,
        generation: u64,
    ) -> KafkaResult<()> {
        match self.feeds.get(&partition) {
            Some(feed) if feed.generation <= generation => self.remove(consumer, partition),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, consumer: &BaseConsumer, partition: u16) -> KafkaResult<()> {
        let Some(feed) = self.feeds.remove(&partition) else {
            return Ok(());
        };
        let place = place::of(&self.topic, partition);
        if feed.paused {
            // The library remembers a pause beyond the assignment.
            consumer.resume(&place)?;
        }
        consumer.incremental_unassign(&place)
    }

    /// The feed that this record is for; `None`: it belongs to no start that still stands.
    pub(super) fn expecting(&mut self, partition: u16, offset: u64) -> Option<&mut Feed<R>> {
        self.feeds
            .get_mut(&partition)
            .filter(|feed| feed.expects(offset))
    }

    /// Passes the library's position on.
    pub(super) fn at(&mut self, partition: u16, position: Option<u64>) {
        if let Some(feed) = self.feeds.get_mut(&partition) {
            feed.at(position);
        }
    }

    /// Hands over what there is room for; pauses and resumes partitions accordingly.
    pub(super) fn flush(&mut self, consumer: &BaseConsumer) -> KafkaResult<()> {
        let mut closed = Vec::new();
        for (&partition, feed) in &mut self.feeds {
            match feed.flush() {
                Flushed::Closed => closed.push(partition),
                Flushed::Full if feed.is_overfull() && !feed.paused => {
                    consumer.pause(&place::of(&self.topic, partition))?;
                    feed.paused = true;
                }
                Flushed::All if feed.paused => {
                    consumer.resume(&place::of(&self.topic, partition))?;
                    feed.paused = false;
                }
                Flushed::Full | Flushed::All => {}
            }
        }
        for partition in closed {
            self.remove(consumer, partition)?;
        }
        Ok(())
    }
}
