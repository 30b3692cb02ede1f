//! A partition of `order-events` beyond N: no view, its owner forwards every record to the shard that
//! it belongs to and only then commits the group's offset, the one place where that counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::letters::{Fate, Letter, Letters};
use super::{Ownership, Ports};
use crate::domain::event::{Reason, Refusal};
use crate::kafka::feed::Batch;
use crate::kafka::producer::Delivered;
use crate::kafka::reader::{Sink, Start};
use crate::kafka::{EventRecord, Log};
use crate::metrics::label::EventOutcome;
use crate::store::Store;

/// Batches that wait for the inlet.
const BATCHES: usize = 4;

/// Pause after a failure of Kafka; the records are forwarded again from the committed offset.
const AGAIN: Duration = Duration::from_secs(1);

/// One inlet of this worker.
pub struct Inlet<S> {
    ports: Arc<Ports<S>>,
    partition: u16,
    generation: u64,
    ownership: Ownership,
    letters: Letters,
    /// Offsets that are not acknowledged.
    open: BTreeSet<u64>,
    position: u64,
    committed: u64,
}

impl<S: Store> Inlet<S> {
    /// An inlet that was just assigned.
    pub fn new(
        ports: Arc<Ports<S>>,
        partition: u16,
        generation: u64,
        ownership: Ownership,
    ) -> Self {
        let letters = Letters::new(ports.producer.clone(), partition);
        Self {
            ports,
            partition,
            generation,
            ownership,
            letters,
            open: BTreeSet::new(),
            position: 0,
            committed: 0,
        }
    }

    /// Forwards until `stop`; starts over from the committed offset after any failure.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() && !self.ownership.is_revoked() {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                ended = self.forward_all() => if let Err(error) = ended {
                    tracing::warn!(partition = self.partition, %error, "an inlet starts over from its committed offset");
                },
            }
            self.ports
                .reader
                .stop(Log::Events, self.partition, self.generation);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    async fn forward_all(&mut self) -> anyhow::Result<()> {
        self.generation += 1;
        self.letters.enter(self.generation);
        self.open.clear();
        let ends = self.ports.ends.ends(Log::Events, self.partition).await?;
        let committed = self.ports.member.committed(self.partition).await?;
        self.position = committed.unwrap_or(ends.low).max(ends.low);
        self.committed = self.position;
        let (sink, mut batches) = mpsc::channel(BATCHES);
        self.ports.reader.start(Start {
            partition: self.partition,
            generation: self.generation,
            offset: self.position,
            sink: Sink::Events(sink),
        });
        loop {
            let full = self.letters.waits();
            tokio::select! {
                biased;
                delivered = self.letters.delivered() => self.acknowledged(delivered)?,
                batch = batches.recv(), if !full => match batch {
                    Some(batch) => self.take(batch),
                    None => anyhow::bail!("the reader has ended"),
                },
                () = tokio::time::sleep(Duration::from_millis(20)), if full => {}
            }
            self.letters.send()?;
            let next = self.open.first().copied().unwrap_or(self.position);
            if next > self.committed {
                self.committed = next;
                self.ports.member.commit(&[(self.partition, next)]);
            }
        }
    }

    fn take(&mut self, batch: Batch<EventRecord>) {
        if batch.generation != self.generation {
            return;
        }
        for record in batch.records {
            let original = record.original.unwrap_or_default();
            let event = match record.event {
                Ok(_) if record.forwarded => Err(Refusal::new(
                    Reason::Misrouted,
                    "partition: forwarded once and still not in its order's partition",
                )),
                judged => judged,
            };
            self.open.insert(record.offset);
            self.letters.push(match event {
                Ok(event) => Letter::Forward {
                    to: event.key.shard(self.ports.shards),
                    original,
                    offset: record.offset,
                    appended: record.appended,
                },
                Err(refusal) => Letter::dead(
                    self.partition,
                    record.offset,
                    record.appended,
                    refusal,
                    *original,
                ),
            });
        }
        self.position = self.position.max(batch.position);
    }

    fn acknowledged(&mut self, delivered: Option<Delivered>) -> anyhow::Result<()> {
        let Some(delivered) = delivered else {
            return Ok(());
        };
        match self.letters.settle(delivered) {
            Fate::Acknowledged(offset, reason) => {
                self.open.remove(&offset);
                match reason {
                    Some(reason) => self.ports.metrics.dead_letter(reason),
                    None => self.ports.metrics.event(EventOutcome::Forwarded),
                }
            }
            Fate::Failed(_, error) => return Err(error.into()),
            Fate::Again => {}
        }
        Ok(())
    }
}
