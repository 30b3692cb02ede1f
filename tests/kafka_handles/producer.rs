use settled::domain::event::Reason;
use settled::kafka::Original;
use settled::kafka::letter::DeadLetter;
use settled::kafka::producer::{self, ProduceError, Ticket};
use tokio::sync::mpsc;

use crate::support::topics::{Isolation, World, read_raw};
use crate::{APPENDED, DEADLINE, EVENT, settings, support};

fn original() -> Original {
    Original {
        key: Some(b"their-key".to_vec()),
        value: Some(b"not \xff json".to_vec()),
        headers: vec![
            ("traceparent".to_owned(), Some(b"00-1-2-01".to_vec())),
            ("empty".to_owned(), None),
        ],
    }
}

fn ticket(offset: u64) -> Ticket {
    Ticket {
        partition: 3,
        generation: 9,
        offset,
    }
}

fn letter(offset: u64) -> DeadLetter {
    DeadLetter {
        original: original(),
        partition: 3,
        offset,
        appended: APPENDED,
        reason: Reason::NotJson,
        detail: "not a JSON object at byte 0".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_carries_the_original_and_the_reason() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "letters", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let (producer, _thread) = producer::spawn(&settings).unwrap();
    let (answers, mut delivered) = mpsc::channel(4);
    producer
        .dead_letter(&letter(42), ticket(42), &answers)
        .unwrap();
    let answer = tokio::time::timeout(DEADLINE, delivered.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.ticket, ticket(42));
    answer.outcome.unwrap();

    let letters = world.read(&kafka.bootstrap, &world.dead_letters, Isolation::Committed);
    let seen = letters.first().unwrap();
    let events = world.events.as_str();
    assert_eq!(seen.key, Some(format!("{events}/3/42").into_bytes()));
    assert_eq!(seen.value, original().value);
    for (name, value) in [
        ("settled-reason", "not-json"),
        ("settled-detail", "not a JSON object at byte 0"),
        ("settled-topic", events),
        ("settled-partition", "3"),
        ("settled-offset", "42"),
        ("settled-key", "their-key"),
        ("settled-at", "2026-11-23T07:00:00.123Z"),
        ("orig-traceparent", "00-1-2-01"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert!(seen.headers.contains(&("orig-empty".to_owned(), None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_is_the_same_record_in_its_own_partition() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "forward", 2, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 2);
    let (producer, _thread) = producer::spawn(&settings).unwrap();
    let (answers, mut delivered) = mpsc::channel(4);
    producer
        .forward(&original(), 1, ticket(7), &answers)
        .unwrap();
    let answer = tokio::time::timeout(DEADLINE, delivered.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.ticket, ticket(7));
    answer.outcome.unwrap();
    let seen = read_raw(&kafka.bootstrap, &world.events, Isolation::Committed).remove(0);
    assert_eq!(
        (seen.partition, &seen.key, &seen.value),
        (1, &original().key, &original().value)
    );
    assert_eq!(seen.header("traceparent"), Some("00-1-2-01"));
    assert_eq!(seen.header("settled-forwarded"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_appended_event_says_where_it_lies() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "append", 2, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 2);
    let (producer, _thread) = producer::spawn(&settings).unwrap();
    let headers = [("traceparent", "00-1-2-01")];
    for offset in 0..2 {
        let place = producer
            .append_event(1, "transfer/TX1", EVENT.as_bytes(), &headers)
            .await;
        assert_eq!(place.unwrap(), (1, offset));
    }
    let events = world.read(&kafka.bootstrap, &world.events, Isolation::Committed);
    let seen = events.last().unwrap();
    assert_eq!(seen.value.as_deref(), Some(EVENT.as_bytes()));
    assert_eq!(seen.key.as_deref(), Some(&b"transfer/TX1"[..]));
    assert_eq!(seen.header("traceparent"), Some("00-1-2-01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_without_room_for_its_answer() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "room", 1, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let (producer, _thread) = producer::spawn(&settings).unwrap();
    let (answers, mut delivered) = mpsc::channel(1);
    producer
        .dead_letter(&letter(1), ticket(1), &answers)
        .unwrap();
    let refused = producer.dead_letter(&letter(2), ticket(2), &answers);
    assert!(matches!(refused, Err(ProduceError::Full)));
    tokio::time::timeout(DEADLINE, delivered.recv())
        .await
        .unwrap()
        .unwrap();
    let letters = world.read(&kafka.bootstrap, &world.dead_letters, Isolation::Committed);
    assert_eq!(letters.len(), 1);
    producer
        .dead_letter(&letter(2), ticket(2), &answers)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_topic_does_not_take_is_answered_as_too_large() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::named("too-large");
    let small = [("max.message.bytes", "1000")];
    support::topics::create_topic(kafka, &world.events, 1, &small).await;
    let settings = settings(&kafka.bootstrap, &world, 1);
    let (producer, _thread) = producer::spawn(&settings).unwrap();
    let refused = producer.append_event(0, "k", &[b'x'; 5_000], &[]).await;
    assert!(
        matches!(refused, Err(ProduceError::TooLarge)),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_the_end_is_answered() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::named("under-way");
    let settings = settings(&kafka.bootstrap, &world, 1);
    let (producer, thread) = producer::spawn(&settings).unwrap();
    let (answers, mut delivered) = mpsc::channel(4);
    // There is no such topic, so it waits.
    producer
        .dead_letter(&letter(1), ticket(1), &answers)
        .unwrap();
    assert!(thread.stop(DEADLINE).await);
    drop(producer);
    let answer = tokio::time::timeout(DEADLINE, delivered.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(answer.outcome.is_err());
}
