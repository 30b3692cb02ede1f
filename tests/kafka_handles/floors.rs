//! What lies committed in the broker for group `<app>-floor`, as a plain client writes and reads it.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use settled::kafka::ends::EndAsker;
use settled::kafka::floor::Floors;
use settled::store::script::Floor;

use crate::support::topics::World;
use crate::{DEADLINE, settings, support};

/// A group's committed offsets in `order-events`.
pub struct Group {
    consumer: BaseConsumer,
    topic: String,
}

impl Group {
    /// Waits until the broker answers for this group; at first it looks for a coordinator.
    pub async fn of(bootstrap: &str, world: &World, name: &str) -> Self {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", name)
            .create();
        let group = Self {
            consumer: consumer.unwrap(),
            topic: world.events.clone(),
        };
        support::eventually("the group has a coordinator", DEADLINE, async || {
            let known = group.consumer.committed_offsets(group.place(0), DEADLINE);
            known
                .is_ok_and(|known| {
                    let places = known.elements();
                    places.iter().all(|place| place.error().is_ok())
                })
                .then_some(())
        })
        .await;
        group
    }

    /// The group of the floors.
    pub async fn of_floors(bootstrap: &str, world: &World) -> Self {
        Self::of(bootstrap, world, &format!("{}-floor", world.app)).await
    }

    fn place(&self, partition: i32) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        list
    }

    pub fn commit(&self, partition: i32, offset: i64, metadata: &str) {
        let mut list = TopicPartitionList::new();
        let mut place = list.add_partition(&self.topic, partition);
        place.set_offset(Offset::Offset(offset)).unwrap();
        place.set_metadata(metadata);
        self.consumer.commit(&list, CommitMode::Sync).unwrap();
    }

    /// Offset and metadata.
    pub fn committed(&self, partition: i32) -> Option<(i64, String)> {
        let list = self.place(partition);
        let committed = self.consumer.committed_offsets(list, DEADLINE).unwrap();
        let place = committed.find_partition(&self.topic, partition).unwrap();
        place.error().unwrap();
        let metadata = place.metadata().to_owned();
        place
            .offset()
            .to_raw()
            .filter(|offset| *offset >= 0)
            .map(|offset| (offset, metadata))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floor_is_read_as_it_was_committed() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "floor", 2, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 2);
    let group = Group::of_floors(&kafka.bootstrap, &world).await;
    let floors = Floors::new(EndAsker::new(&settings).unwrap());
    assert_eq!(floors.read(0).await.unwrap(), None);
    let floor = Floor {
        e: 1_234,
        r: 987_654,
    };
    floors.commit(0, floor).await.unwrap();
    floors.commit(1, Floor { e: 5, r: 0 }).await.unwrap();
    assert_eq!(group.committed(0), Some((1_234, "R=987654".to_owned())));
    assert_eq!(group.committed(1), Some((5, "R=0".to_owned())));
    // Another worker reads it.
    let other = Floors::new(EndAsker::new(&settings).unwrap());
    assert_eq!(other.read(0).await.unwrap(), Some(floor));
    assert_eq!(other.read(1).await.unwrap(), Some(Floor { e: 5, r: 0 }));
    // A zombie's, which is older: nobody refuses it, and it is a place to begin as good as any.
    let older = Floor { e: 1_000, r: 1 };
    other.commit(0, older).await.unwrap();
    assert_eq!(floors.read(0).await.unwrap(), Some(older));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_committed_is_no_floor() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "no-floor", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let floors = Floors::new(EndAsker::new(&settings).unwrap());
    let group = Group::of_floors(&kafka.bootstrap, &world).await;
    for metadata in ["", "17", "R=", "R=-1", "R=17 "] {
        group.commit(0, 7, metadata);
        assert_eq!(group.committed(0), Some((7, metadata.to_owned())));
        assert_eq!(floors.read(0).await.unwrap(), None, "{metadata}");
    }
    group.commit(0, 7, "R=17");
    assert_eq!(floors.read(0).await.unwrap(), Some(Floor { e: 7, r: 17 }));
}
