use std::collections::BTreeSet;

use settled::kafka::Log;
use settled::kafka::ends::EndAsker;

use crate::support::topics::{Isolation, Raw, World, open_transaction, produce, read_raw};
use crate::{numbered, settings, support};

#[tokio::test(flavor = "multi_thread")]
async fn the_real_end_counts_what_a_committed_reader_cannot_see() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "ends", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let asker = EndAsker::new(&settings).unwrap();
    let ends = asker.ends(Log::Results, 0).await.unwrap();
    assert_eq!((ends.low, ends.high), (0, 0));
    let records = [Raw::to(0, "a"), Raw::to(0, "b"), Raw::to(0, "c")];
    let _open = open_transaction(&kafka.bootstrap, &world.app, &world.results, &records);
    let ends = asker.ends(Log::Results, 0).await.unwrap();
    assert_eq!((ends.low, ends.high), (0, 3));
    assert!(
        world
            .read(&kafka.bootstrap, &world.results, Isolation::Committed)
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_and_times_by_offset() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "times", 2, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 2);
    let mut number = 0;
    let mut times = BTreeSet::new();
    // Until three different milliseconds were written.
    while times.len() < 3 {
        produce(
            &kafka.bootstrap,
            &world.events,
            numbered(1, number..number + 1),
        );
        number += 1;
        let records = read_raw(&kafka.bootstrap, &world.events, Isolation::Committed);
        times.insert(records.last().unwrap().time.cast_unsigned());
    }
    let records = read_raw(&kafka.bootstrap, &world.events, Isolation::Committed);
    let asker = EndAsker::new(&settings).unwrap();
    for record in &records {
        let (offset, time) = (record.offset.cast_unsigned(), record.time.cast_unsigned());
        let found = asker.append_time(Log::Events, 1, offset).await.unwrap();
        assert_eq!(found, Some(time));
        let first = records.iter().find(|r| r.time == record.time).unwrap();
        let found = asker.offset_for_time(Log::Events, 1, time).await.unwrap();
        assert_eq!(found, Some(first.offset.cast_unsigned()));
    }
    let later = times.last().unwrap() + 1;
    assert_eq!(
        asker.offset_for_time(Log::Events, 1, later).await.unwrap(),
        None
    );
    assert_eq!(
        asker.append_time(Log::Events, 1, number).await.unwrap(),
        None
    );
    assert_eq!(asker.append_time(Log::Events, 0, 0).await.unwrap(), None);
    assert_eq!(asker.partitions(Log::Events).await.unwrap(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_last_record_there_is_no_append_time_though_markers_follow() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "tail", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let publisher = crate::open(&settings, 0).await;
    publisher
        .publish(vec![crate::publication("a")])
        .await
        .unwrap();
    let asker = EndAsker::new(&settings).unwrap();
    assert!(
        asker
            .append_time(Log::Results, 0, 0)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(asker.append_time(Log::Results, 0, 1).await.unwrap(), None);
}
