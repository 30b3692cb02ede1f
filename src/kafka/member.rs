//! The group member: decides which partitions of `order-events` this worker owns, and reads nothing
//! (every partition is paused from the moment it is assigned). Its thread only polls: what changes is
//! handed over, and the one thing done inside a revocation is to flip the generations. It commits
//! positions for lag monitors, and for inlets, where they count.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::place;
use super::settings::Settings;
use super::thread::{KafkaThread, StopFlag, ThreadError};

/// How long the thread waits for something to happen.
const WAIT: Duration = Duration::from_millis(20);

/// Changes of ownership that may wait for the worker. A worker that leaves so many unheard does not
/// work: its shards are better off elsewhere.
const UNHEARD: usize = 256;

/// A change of what this worker owns, in the order of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// These partitions are ours from now on.
    Assigned(Vec<u16>),
    /// These are not any more; their generations were flipped before.
    Revoked(Vec<u16>),
    /// The group went on without us (session lost, fenced): as revoked, only that somebody else may
    /// own them already.
    Lost(Vec<u16>),
}

/// Called with the partitions inside a revocation, before the group goes on: flips their generations.
/// Must not block.
pub type OnRevoke = Box<dyn Fn(&[u16]) + Send + Sync>;

/// Commits and reads the positions of group `<app>`. Of no effect once the member's thread ended.
#[derive(Clone)]
pub struct MemberHandle {
    consumer: Weak<BaseConsumer<Rebalances>>,
    topic: Arc<str>,
}

impl MemberHandle {
    /// Commits next offsets, in the background. A commit that the group refuses (fenced, rebalancing)
    /// is logged and forgotten: the view holds the positions that count, and an inlet's records are
    /// forwarded again.
    pub fn commit(&self, positions: &[(u16, u64)]) {
        let Some(consumer) = self.consumer.upgrade() else {
            return;
        };
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for &(partition, offset) in positions {
            let added =
                list.add_partition_offset(&self.topic, i32::from(partition), place::raw(offset));
            if let Err(error) = added {
                tracing::warn!(partition, offset, %error, "the position cannot be committed");
            }
        }
        if let Err(error) = consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "the positions were not committed");
        }
    }

    /// The committed next offset of a partition; `None`: none is committed.
    pub async fn committed(&self, partition: u16) -> KafkaResult<Option<u64>> {
        let (consumer, topic) = (self.consumer.clone(), self.topic.clone());
        let read = tokio::task::spawn_blocking(move || {
            let consumer = consumer.upgrade().ok_or(KafkaError::Canceled)?;
            let list = place::of(&topic, partition);
            let committed = consumer.committed_offsets(list, COMMITTED_TIMEOUT)?;
            let Some(place) = committed.find_partition(&topic, i32::from(partition)) else {
                return Ok(None);
            };
            place.error()?;
            Ok(place::concrete(place.offset()))
        });
        read.await.unwrap_or(Err(KafkaError::Canceled))
    }
}

const COMMITTED_TIMEOUT: Duration = Duration::from_secs(5);

/// Joins the group. Changes arrive on `changes`; stopping the thread leaves the group (the broker
/// assigns the partitions elsewhere at once, unless the membership is static).
///
/// # Errors
/// The configuration is refused by librdkafka, or no thread can be had.
pub fn spawn(
    settings: &Settings,
    on_revoke: OnRevoke,
    changes: mpsc::Sender<Ownership>,
) -> Result<(MemberHandle, KafkaThread), ThreadError> {
    let context = Rebalances {
        on_revoke,
        unheard: Mutex::default(),
    };
    let consumer: Arc<BaseConsumer<Rebalances>> =
        Arc::new(settings.member().create_with_context(context)?);
    let topic: Arc<str> = settings.topics.events.as_str().into();
    consumer.subscribe(&[&topic])?;
    let handle = MemberHandle {
        consumer: Arc::downgrade(&consumer),
        topic,
    };
    let leaves = !settings.is_static_member();
    let thread = KafkaThread::spawn("kafka-member", move |stop| {
        follow(&consumer, &changes, stop)?;
        if leaves {
            leave(&consumer);
        } else {
            flip(&consumer);
        }
        consumer.context().hand_over(&changes)
    })?;
    Ok((handle, thread))
}

fn follow(
    consumer: &BaseConsumer<Rebalances>,
    changes: &mpsc::Sender<Ownership>,
    stop: &StopFlag,
) -> Result<(), ThreadError> {
    while !stop.is_set() {
        match consumer.poll(WAIT) {
            // Fetched between assignment and pause; the reader delivers records.
            Some(Ok(_)) | None => {}
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error.into()),
            Some(Err(error)) => tracing::debug!(%error, "the member goes on after an error"),
        }
        consumer.context().hand_over(changes)?;
    }
    Ok(())
}

/// Leaves the group, and waits until that has taken effect. A static member does not: its shards wait
/// for it, one session at most (KIP-345). librdkafka spares it the leave when the consumer is dropped,
/// but not when it unsubscribes.
fn leave(consumer: &BaseConsumer<Rebalances>) {
    consumer.unsubscribe();
    // The last revocation flips the generations; dropping the consumer would do without the callback.
    for _ in 0..LEAVING_POLLS {
        if consumer.assignment().is_ok_and(|left| left.count() == 0) {
            break;
        }
        drop(consumer.poll(WAIT));
    }
}

/// Flips the generations of all that is ours, as the last revocation would.
fn flip(consumer: &BaseConsumer<Rebalances>) {
    if let Ok(ours) = consumer.assignment() {
        (consumer.context().on_revoke)(&numbers(&ours));
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<u16> {
    let elements = partitions.elements();
    let numbers = elements.iter().map(|place| place.partition().try_into());
    numbers.filter_map(Result::ok).collect()
}

/// How many waits a graceful leave is given: 2 s.
const LEAVING_POLLS: u32 = 100;

/// The rebalance callback's side of the member.
struct Rebalances {
    on_revoke: OnRevoke,
    unheard: Mutex<VecDeque<Ownership>>,
}

impl Rebalances {
    fn unheard(&self) -> std::sync::MutexGuard<'_, VecDeque<Ownership>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, changes: &mpsc::Sender<Ownership>) -> Result<(), ThreadError> {
        let mut unheard = self.unheard();
        while let Some(change) = unheard.pop_front() {
            match changes.try_send(change) {
                // Closed: the worker is on its way out; the thread is stopped next.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(change)) => {
                    unheard.push_front(change);
                    break;
                }
            }
        }
        if unheard.len() > UNHEARD {
            return Err(ThreadError::Unheard);
        }
        Ok(())
    }
}

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let numbers = numbers(partitions);
        let cooperative = matches!(
            consumer.rebalance_protocol(),
            RebalanceProtocol::Cooperative
        );
        let outcome = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let outcome = assign_paused(consumer, partitions, cooperative);
            self.unheard().push_back(Ownership::Assigned(numbers));
            outcome
        } else {
            (self.on_revoke)(&numbers);
            let change = if consumer.assignment_lost() {
                Ownership::Lost(numbers)
            } else {
                Ownership::Revoked(numbers)
            };
            self.unheard().push_back(change);
            if cooperative {
                consumer.incremental_unassign(partitions)
            } else {
                consumer.unassign()
            }
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "the group's assignment could not be followed");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "the positions were not committed");
        }
    }
}

/// Begins at the end of the log, so that whatever is fetched before the pause is little, and needs no
/// committed offset.
fn assign_paused(
    consumer: &BaseConsumer<Rebalances>,
    partitions: &mut TopicPartitionList,
    cooperative: bool,
) -> KafkaResult<()> {
    partitions.set_all_offsets(Offset::End)?;
    if cooperative {
        consumer.incremental_assign(partitions)?;
    } else {
        consumer.assign(partitions)?;
    }
    if partitions.count() == 0 {
        return Ok(());
    }
    consumer.pause(partitions)
}
