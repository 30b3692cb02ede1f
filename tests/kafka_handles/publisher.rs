use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use settled::kafka::publisher::{PublishError, PublisherPool};

use crate::support::topics::{Isolation, World};
use crate::{DEADLINE, open, publication, settings, support};

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_publisher_is_fenced_by_the_next_owner() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "fence", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);

    let zombie = open(&settings, 0).await;
    let zombie = zombie.publish(vec![publication("before")]).await.unwrap();
    let owner = open(&settings, 0).await;
    let refused = zombie.publish(vec![publication("zombie")]).await.err();
    assert!(
        matches!(refused, Some(PublishError::Fenced(_))),
        "{refused:?}"
    );
    owner.publish(vec![publication("after")]).await.unwrap();

    let keys: Vec<_> = world
        .read(&kafka.bootstrap, &world.results, Isolation::Committed)
        .into_iter()
        .map(|record| String::from_utf8(record.key.unwrap()).unwrap())
        .collect();
    assert_eq!(keys, ["transfer/before", "transfer/after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_of_other_shards_go_on() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "others", 2, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 2);
    let one = open(&settings, 0).await;
    let other = open(&settings, 1).await;
    one.publish(vec![publication("a")]).await.unwrap();
    other.publish(vec![publication("b")]).await.unwrap();
    let records = world.read(&kafka.bootstrap, &world.results, Isolation::Committed);
    let places: Vec<_> = records.iter().map(|r| (r.partition, r.offset)).collect();
    assert_eq!(places, [(0, 0), (1, 0)]);
    assert_eq!(records[0].key.as_deref(), Some(&b"transfer/a"[..]));
    assert_eq!(records[0].header("settled-app"), Some("test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_owner_neither_opens_nor_publishes() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "revoked", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let pool = PublisherPool::start(&settings).unwrap();
    let refused = pool.open(0, Arc::new(|| false)).await;
    assert!(matches!(refused, Err(PublishError::Revoked)));

    let stands = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = Arc::clone(&stands);
    let standing = Arc::new(move || asked.load(std::sync::atomic::Ordering::SeqCst));
    let publisher = pool.open(0, standing).await.unwrap();
    stands.store(false, std::sync::atomic::Ordering::SeqCst);
    let refused = publisher.publish(vec![publication("late")]).await;
    assert!(matches!(refused, Err(PublishError::Revoked)));
    assert!(
        world
            .read(&kafka.bootstrap, &world.results, Isolation::Uncommitted)
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_revoked_while_it_publishes_commits_nothing() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "midway", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let pool = PublisherPool::start(&settings).unwrap();
    // It stands when the publisher is opened and when the transaction begins, and no longer.
    let looks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let looked = Arc::clone(&looks);
    let standing = move || looked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
    let publisher = pool.open(0, Arc::new(standing)).await.unwrap();
    let refused = publisher.publish(vec![publication("late")]).await.err();
    assert!(
        matches!(refused, Some(PublishError::Revoked)),
        "{refused:?}"
    );
    assert_eq!(looks.load(std::sync::atomic::Ordering::SeqCst), 3);
    // Aborted by its owner: nobody's fence has come, and its timeout is 10 s.
    let ends = || {
        ["read_committed", "read_uncommitted"].map(|level| {
            let onlooker: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &kafka.bootstrap)
                .set("isolation.level", level)
                .create()
                .unwrap();
            let ends = onlooker.fetch_watermarks(&world.results, 0, DEADLINE);
            ends.unwrap().1
        })
    };
    let limit = std::time::Duration::from_secs(5);
    support::eventually("it was aborted", limit, async || {
        let [stable, end] = ends();
        (end >= 2 && stable == end).then_some(())
    })
    .await;

    let owner = open(&settings, 0).await;
    owner.publish(vec![publication("after")]).await.unwrap();
    let read = world.read(&kafka.bootstrap, &world.results, Isolation::Committed);
    let keys: Vec<_> = read.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some(&b"transfer/after"[..])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_the_topic_does_not_take_uses_the_publisher_up() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::named("size");
    let small = [("max.message.bytes", "1000")];
    support::topics::create_topic(kafka, &world.results, 1, &small).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let mut large = publication("large");
    large.value = vec![b'x'; 5_000];
    let publisher = open(&settings, 0).await;
    let refused = publisher.publish(vec![publication("small"), large]).await;
    assert!(matches!(refused, Err(PublishError::Delivery(_))));
    assert!(
        world
            .read(&kafka.bootstrap, &world.results, Isolation::Committed)
            .is_empty()
    );
}
