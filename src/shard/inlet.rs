//! A partition of `order-events` beyond N: no view, its owner forwards every record to the shard that
//! it belongs to and only then commits the group's offset, the one place where that counts.

use std::collections::BTreeSet;
use std::future::Future;
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
use crate::kafka::{Ends, EventRecord, Log};
use crate::metrics::InletMetrics;
use crate::metrics::label::{Alarm, EventOutcome};
use crate::store::Store;

/// Batches that wait for the inlet.
const BATCHES: usize = 4;

/// Pause after a failure of Kafka; the records are forwarded again from the committed offset.
const AGAIN: Duration = Duration::from_secs(1);

/// How often the log's ends are asked for: the reader does not say that a position lies outside.
const ENDS_EVERY: Duration = Duration::from_secs(5);

/// One inlet of this worker.
pub struct Inlet<S> {
    ports: Arc<Ports<S>>,
    partition: u16,
    generation: u64,
    ownership: Ownership,
    letters: Letters,
    gauges: InletMetrics,
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
        let gauges = ports.metrics.inlet(partition);
        Self {
            ports,
            partition,
            generation,
            ownership,
            letters,
            gauges,
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
        // In this order: what is committed was there before the ends were asked for.
        let committed = self.ports.member.committed(self.partition).await?;
        let ends = self.ports.ends.ends(Log::Events, self.partition).await?;
        self.position = self.begin_at(committed, ends).await?;
        self.committed = self.position;
        self.gauges
            .set_lag(ends.high.saturating_sub(self.committed));
        let (sink, mut batches) = mpsc::channel(BATCHES);
        self.ports.reader.start(Start {
            partition: self.partition,
            generation: self.generation,
            offset: self.position,
            sink: Sink::Events(sink),
        });
        let mut asked = Box::pin(self.ends_later());
        loop {
            let full = self.letters.is_full();
            let waits = full || self.letters.rests();
            tokio::select! {
                biased;
                delivered = self.letters.delivered() => self.acknowledged(delivered)?,
                batch = batches.recv(), if !full => match batch {
                    Some(batch) => self.take(batch),
                    None => anyhow::bail!("the reader has ended"),
                },
                (from, ends) = &mut asked => {
                    self.hold_against(from, ends)?;
                    asked = Box::pin(self.ends_later());
                }
                () = tokio::time::sleep(Duration::from_millis(20)), if waits => {}
            }
            self.letters.send(self.ports.clock.monotonic())?;
            let next = self.open.first().copied().unwrap_or(self.position);
            if next > self.committed {
                self.committed = next;
                self.ports.member.commit(&[(self.partition, next)]);
            }
        }
    }

    /// Where to go on. Records that were trimmed before they were forwarded are gone, and told; beyond
    /// the end the inlet stands still, and tells it each time, until somebody mended it.
    async fn begin_at(&self, committed: Option<u64>, ends: Ends) -> anyhow::Result<u64> {
        let Some(outside) = committed.filter(|at| !(ends.low..=ends.high).contains(at)) else {
            return Ok(committed.unwrap_or(ends.low));
        };
        tracing::error!(
            partition = self.partition,
            position = outside,
            low = ends.low,
            high = ends.high,
            "the committed position of an inlet lies outside the log: records were lost before they were forwarded"
        );
        self.ports.metrics.alarm(Alarm::OutOfRange);
        if outside < ends.low {
            return Ok(ends.low);
        }
        tokio::time::sleep(ENDS_EVERY).await;
        anyhow::bail!("{outside} is beyond the end of the log")
    }

    /// The ends in a while, and the position from before they were asked for.
    fn ends_later(&self) -> impl Future<Output = (u64, Option<Ends>)> + Send + 'static {
        let (asker, partition, from) = (self.ports.ends.clone(), self.partition, self.position);
        async move {
            tokio::time::sleep(ENDS_EVERY).await;
            // An unanswered question is asked again.
            (from, asker.ends(Log::Events, partition).await.ok())
        }
    }

    /// A position that has come to lie outside the log is never delivered: the inlet starts over, and
    /// tells it if its committed one lies outside too.
    fn hold_against(&self, from: u64, ends: Option<Ends>) -> anyhow::Result<()> {
        let Some(Ends { low, high }) = ends else {
            return Ok(());
        };
        self.gauges.set_lag(high.saturating_sub(self.committed));
        anyhow::ensure!(
            self.position >= low && from <= high,
            "the position {} lies outside the log, {low} to {high}",
            self.position
        );
        Ok(())
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
        match self.letters.settle(delivered, self.ports.clock.monotonic()) {
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
