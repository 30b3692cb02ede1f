use std::time::Duration;

use rdkafka::producer::Producer;
use settled::kafka::Log;
use settled::kafka::feed::{BATCH, Batch};
use settled::kafka::reader::{self, Sink, Start};
use settled::kafka::record::EventRecord;
use tokio::sync::mpsc;

use crate::support::topics::{Raw, World, open_transaction, produce};
use crate::{
    DEADLINE, EVENT, every_type, next, numbered, open, publication, read_to, settings, support,
};

/// More than the library prefetches.
const RECORDS: u64 = 20_000;

fn events(
    partition: u16,
    generation: u64,
    offset: u64,
    sink: mpsc::Sender<Batch<EventRecord>>,
) -> Start {
    Start {
        partition,
        generation,
        offset,
        sink: Sink::Events(sink),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_aborted_and_open_transactions_are_not_delivered_and_markers_are_passed() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "markers", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let publisher = open(&settings, 0).await;
    let publisher = publisher.publish(vec![publication("a")]).await.unwrap();
    let foreign = |id: &str| {
        let id = format!("{}-{id}", world.app);
        open_transaction(&kafka.bootstrap, &id, &world.results, &[Raw::to(0, "no")])
    };
    // 0 record, 1 marker, 2 aborted, 3 marker, 4 open.
    foreign("aborts").abort_transaction(DEADLINE).unwrap();
    let undecided = foreign("undecided");

    let (handle, _thread) = reader::spawn(&settings, every_type()).unwrap();
    let (sink, mut batches) = mpsc::channel(8);
    handle.start(Start {
        partition: 0,
        generation: 7,
        offset: 0,
        sink: Sink::Results(sink),
    });
    let (records, position) = read_to(&mut batches, 4).await;
    assert_eq!(records.iter().map(|r| r.offset).collect::<Vec<_>>(), [0]);
    assert!(records[0].appended > 1_700_000_000_000);
    assert_eq!(position, 4);

    // 5 marker: the open one is decided, and only then the position goes on.
    undecided.abort_transaction(DEADLINE).unwrap();
    let last = next(&mut batches).await;
    assert_eq!(
        (last.records.len(), last.position, last.generation),
        (0, 6, 7)
    );
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_holds_nothing_but_markers_is_read_to_its_end() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "only-markers", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let publisher = open(&settings, 0).await;
    publisher.publish(vec![publication("a")]).await.unwrap();
    let (handle, _thread) = reader::spawn(&settings, every_type()).unwrap();
    let (sink, mut batches) = mpsc::channel(8);
    handle.start(Start {
        partition: 0,
        generation: 1,
        offset: 1,
        sink: Sink::Results(sink),
    });
    let (records, position) = read_to(&mut batches, 2).await;
    assert_eq!((records.len(), position), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn delivery_begins_exactly_at_the_offset_and_a_restart_never_delivers_older_records() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "restart", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    produce(&kafka.bootstrap, &world.events, numbered(0, 0..6_000));
    let (handle, _thread) = reader::spawn(&settings, every_type()).unwrap();
    // Back and forth, with prefetched records of the former start around each time.
    for (generation, offset) in [(1, 17), (2, 5_000), (3, 100), (4, 99), (5, 5_999), (6, 0)] {
        let (sink, mut batches) = mpsc::channel(2);
        handle.start(events(0, generation, offset, sink));
        let wanted = 600.min(6_000 - offset);
        let mut offsets = Vec::new();
        while (offsets.len() as u64) < wanted {
            let batch = next(&mut batches).await;
            assert_eq!(batch.generation, generation);
            assert!(batch.records.len() <= BATCH);
            offsets.extend(batch.records.iter().map(|record| record.offset));
            assert_eq!(offsets.last().copied().unwrap() + 1, batch.position);
        }
        let count = offsets.len() as u64;
        assert!(offsets.into_iter().eq(offset..offset + count));
        if generation % 2 == 0 {
            handle.stop(Log::Events, 0, generation);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_an_older_generation_does_not_stop_a_newer_one() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "late-stop", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let (handle, _thread) = reader::spawn(&settings, every_type()).unwrap();
    let (sink, mut batches) = mpsc::channel(2);
    handle.start(events(0, 2, 0, sink));
    handle.stop(Log::Events, 0, 1);
    produce(&kafka.bootstrap, &world.events, numbered(0, 0..1));
    assert_eq!(next(&mut batches).await.position, 1);
    handle.stop(Log::Events, 0, 1);
    produce(&kafka.bootstrap, &world.events, numbered(0, 1..2));
    assert_eq!(next(&mut batches).await.position, 2);
    handle.stop(Log::Events, 0, 2);
    let ended = tokio::time::timeout(DEADLINE, batches.recv()).await;
    assert!(ended.unwrap().is_none(), "the channel closes with the feed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_channel_holds_up_its_own_partition_only() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "full", 2, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 2);
    produce(&kafka.bootstrap, &world.events, numbered(0, 0..RECORDS));
    let (handle, _thread) = reader::spawn(&settings, every_type()).unwrap();
    let (full, mut later) = mpsc::channel(1);
    let (open, mut batches) = mpsc::channel(64);
    handle.start(events(0, 1, 0, full));
    handle.start(events(1, 1, 0, open));
    for round in 0..20 {
        produce(
            &kafka.bootstrap,
            &world.events,
            numbered(1, round * 100..round * 100 + 100),
        );
        let (_, position) = read_to(&mut batches, round * 100 + 100).await;
        assert_eq!(position, round * 100 + 100);
    }
    assert_eq!(later.len(), 1, "the full channel was filled and no more");
    // There is room again: everything comes, once and in order.
    let (records, _) = read_to(&mut later, RECORDS).await;
    assert!(records.iter().map(|r| r.offset).eq(0..RECORDS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_partition_that_was_paused_starts_again() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "paused", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    produce(&kafka.bootstrap, &world.events, numbered(0, 0..RECORDS));
    let (handle, _thread) = reader::spawn(&settings, every_type()).unwrap();
    let (stuck, first) = mpsc::channel(1);
    handle.start(events(0, 1, 0, stuck));
    // Long enough full to be paused: everything beyond the channel is kept aside at once.
    support::eventually("a full channel", DEADLINE, async || {
        (first.len() == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (sink, mut batches) = mpsc::channel(8);
    handle.start(events(0, 2, 10, sink));
    let (records, _) = read_to(&mut batches, RECORDS).await;
    assert!(records.iter().map(|r| r.offset).eq(10..RECORDS));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_outside_the_log_delivers_nothing_and_the_others_go_on() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "range", 2, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 2);
    produce(&kafka.bootstrap, &world.events, numbered(0, 0..10));
    let (handle, _thread) = reader::spawn(&settings, every_type()).unwrap();
    let (outside, mut nothing) = mpsc::channel(8);
    let (inside, mut batches) = mpsc::channel(8);
    handle.start(events(0, 1, 5_000, outside));
    handle.start(events(1, 1, 0, inside));
    // Both partitions have one leader: each of these comes with an answer about the other, too.
    for n in 0..20 {
        produce(&kafka.bootstrap, &world.events, numbered(1, n..n + 1));
        assert_eq!(next(&mut batches).await.position, n + 1);
    }
    assert!(nothing.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inlets_records_are_kept_whole() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "inlet", 1, 1).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    for partition in [0, 1] {
        let mut raw = Raw::to(partition, EVENT);
        raw.key = Some(b"whatever".to_vec());
        raw.headers = vec![("traceparent".to_owned(), b"00-ab-cd-01".to_vec())];
        produce(&kafka.bootstrap, &world.events, [raw]);
    }
    let (handle, _thread) = reader::spawn(&settings, every_type()).unwrap();
    let (sink, mut home) = mpsc::channel(8);
    handle.start(events(0, 1, 0, sink));
    let (sink, mut inlet) = mpsc::channel(8);
    handle.start(events(1, 1, 0, sink));
    let ordinary = next(&mut home).await.records.remove(0);
    assert!(ordinary.event.is_ok());
    assert_eq!(ordinary.original, None);
    let record = next(&mut inlet).await.records.remove(0);
    assert_eq!(record.event.unwrap().key.to_string(), "transfer/TX1");
    assert_eq!(record.traceparent.as_deref(), Some("00-ab-cd-01"));
    let original = record.original.unwrap();
    assert_eq!(original.value.as_deref(), Some(EVENT.as_bytes()));
    assert_eq!(original.key.as_deref(), Some(&b"whatever"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_handle_stops_in_time_with_the_broker_gone() {
    if support::kafka().is_none() {
        return;
    }
    let broker = support::broker::Broker::start(&[]).unwrap();
    let world = World::create(&broker, "gone", 1, 0).await;
    let settings = settings(&broker.bootstrap, &world, 1);
    let (handle, reader) = reader::spawn(&settings, every_type()).unwrap();
    let (sink, mut batches) = mpsc::channel(8);
    handle.start(events(0, 1, 0, sink));
    produce(&broker.bootstrap, &world.events, numbered(0, 0..1));
    next(&mut batches).await;
    let (changes, mut owned) = mpsc::channel(8);
    let (_, member) = settled::kafka::member::spawn(&settings, Box::new(|_| {}), changes).unwrap();
    tokio::time::timeout(DEADLINE, owned.recv()).await.unwrap();
    let (_, producer) = settled::kafka::producer::spawn(&settings).unwrap();
    drop(broker);

    let deadline = Duration::from_secs(9);
    let (reader, member, producer) = tokio::join!(
        reader.stop(deadline),
        member.stop(deadline),
        producer.stop(deadline)
    );
    assert!(producer, "the producer's thread ends");
    assert!(reader, "the reader's thread ends");
    assert!(member, "the member's thread ends");
}
