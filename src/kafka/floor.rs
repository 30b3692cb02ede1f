//! The floor: from where a wiped view can be folded again, committed as group `<app>-floor` on
//! `order-events[p]` with the results' position as metadata. It may be old or a zombie's; it is only
//! ever a place to begin.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaResult;

use super::ends::EndAsker;
use super::place;
use crate::store::script::Floor;

/// Commits and reads floors through the end-asker's handle: that one never joins the group, so no
/// rebalance can refuse the commit.
#[derive(Clone)]
pub struct Floors {
    asker: EndAsker,
}

impl Floors {
    /// Uses the asker's handle.
    pub fn new(asker: EndAsker) -> Self {
        Self { asker }
    }

    /// Commits a shard's floor and waits for the broker. Safe to repeat; cancelled, it may or may not
    /// have been committed.
    pub async fn commit(&self, shard: u16, floor: Floor) -> KafkaResult<()> {
        self.asker
            .ask(move |asker| {
                let topic = &asker.topics.events;
                let mut list = TopicPartitionList::with_capacity(1);
                let mut place = list.add_partition(topic, i32::from(shard));
                place.set_offset(place::raw(floor.e))?;
                place.set_metadata(format!("R={}", floor.r));
                asker.consumer.commit(&list, CommitMode::Sync)
            })
            .await
    }

    /// The committed floor; `None` when there is none, or when what is committed is not a floor.
    pub async fn read(&self, shard: u16) -> KafkaResult<Option<Floor>> {
        self.asker
            .ask(move |asker| {
                let topic = &asker.topics.events;
                let list = place::of(topic, shard);
                let committed = asker
                    .consumer
                    .committed_offsets(list, super::ends::TIMEOUT)?;
                let Some(place) = committed.find_partition(topic, i32::from(shard)) else {
                    return Ok(None);
                };
                place.error()?;
                let (e, r) = (
                    place::concrete(place.offset()),
                    results_position(place.metadata()),
                );
                Ok(e.zip(r).map(|(e, r)| Floor { e, r }))
            })
            .await
    }
}

fn results_position(metadata: &str) -> Option<u64> {
    metadata.strip_prefix("R=")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_metadata_names_a_floor() {
        assert_eq!(results_position("R=17"), Some(17));
        for foreign in ["", "17", "R=", "R=-1", "R=17,E=3"] {
            assert_eq!(results_position(foreign), None, "{foreign}");
        }
    }
}
