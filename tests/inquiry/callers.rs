//! Callers of the API and the breaker: who is asked for, who is turned away, and how soon.

use std::time::Duration;

use settled::domain::answer::{Answer, CouldNotAsk};
use settled::inquiry::AnswerNow;
use tokio::task::JoinSet;

use crate::owner_stub::{Behaviour, OwnerStub};
use crate::world::{World, not_started};
use crate::{key, order_type, type_name};

const MINUTE: Duration = Duration::from_mins(1);

fn refused(why: CouldNotAsk) -> Answer {
    Answer::CouldNotAsk {
        why,
        retry_after: None,
    }
}

async fn ask_now(world: &World, number: &str) -> AnswerNow {
    let key = key(&format!("transfer/{number}"));
    world.engine.ask_now(key, None, None, MINUTE).await
}

fn all_at_once(world: &World, count: usize) -> JoinSet<AnswerNow> {
    let mut callers = JoinSet::new();
    for n in 0..count {
        let (engine, key) = (world.engine.clone(), key(&format!("transfer/NOW{n}")));
        callers.spawn(async move { engine.ask_now(key, None, None, MINUTE).await });
    }
    callers
}

#[tokio::test]
async fn a_thousand_callers_are_answered_or_turned_away_at_once_under_the_ceiling() {
    let owner = OwnerStub::answering("200 OK", "", br#"{"status":"3"}"#).await;
    let mut config = order_type(owner.url());
    config.ceiling.questions_per_second = 100.0;
    let world = World::new([("transfer", config)]);
    let began = world.clock.monotonic();
    let answers = all_at_once(&world, 1_000).join_all().await;
    let took = world.clock.monotonic() - began;
    let asked = answers
        .iter()
        .filter(|now| now.answer == Answer::InProgress)
        .count();
    let over = answers
        .iter()
        .filter(|now| now.answer == refused(CouldNotAsk::OverCeiling))
        .count();
    assert_eq!(asked + over, 1_000);
    assert!((1..=40).contains(&asked), "{asked} were asked for");
    assert_eq!(owner.requests(), asked);
    // A start time lies a second ahead at most, whatever the deadline.
    assert!(took < 10_000, "{took} ms");
    let slots = world.store.granted_us();
    let spaced = slots.windows(2).all(|two| two[1] - two[0] >= 10_000);
    assert!(spaced, "{slots:?}");
}

#[tokio::test]
async fn a_backlog_that_hangs_leaves_callers_their_places_and_a_crowd_of_them_leaves_half() {
    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let mut config = order_type(owner.url());
    config.ceiling.in_flight = 10;
    let mut world = World::new([("transfer", config)]);
    for claim in 0..100 {
        world.ask(&format!("transfer/TX{claim}"), claim);
    }
    owner.wait_for_requests(8).await;
    let mut callers = all_at_once(&world, 100);
    for _ in 0..98 {
        let turned_away = callers.join_next().await.unwrap().unwrap();
        assert_eq!(turned_away.answer, refused(CouldNotAsk::OverCeiling));
    }
    owner.wait_for_requests(10).await;
    assert_eq!(world.engine.permits(&type_name("transfer")), 0);
    world.stop.cancel();
    for _ in 0..92 {
        assert_eq!(world.answer().await.answer, not_started());
    }

    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let mut config = order_type(owner.url());
    config.ceiling.in_flight = 10;
    let world = World::new([("transfer", config)]);
    let mut callers = all_at_once(&world, 100);
    for _ in 0..95 {
        let turned_away = callers.join_next().await.unwrap().unwrap();
        assert_eq!(turned_away.answer, refused(CouldNotAsk::OverCeiling));
    }
    for claim in 0..100 {
        world.ask(&format!("transfer/TX{claim}"), claim);
    }
    owner.wait_for_requests(10).await;
}

#[tokio::test]
async fn twenty_questions_without_an_answer_open_the_breaker_and_the_first_answer_begins_its_end() {
    let owner = OwnerStub::start(Behaviour::Closes).await;
    let mut config = order_type(owner.url());
    config.ceiling.in_flight = 4;
    let mut world = World::new([("transfer", config)]);
    let name = type_name("transfer");
    let silent = refused(CouldNotAsk::Unreachable);
    for claim in 0..20 {
        world.ask(&format!("transfer/TX{claim}"), claim);
        assert_eq!(world.answer().await.answer, silent);
    }
    // A row is reported five by five, or with the next request for start times.
    for claim in 20..25 {
        world.ask(&format!("transfer/TX{claim}"), claim);
        assert_eq!(world.answer().await.answer, silent);
    }
    let asked = owner.requests();
    // What may start in 1.25 s.
    while world.engine.permits(&name) != 2 {
        tokio::task::yield_now().await;
    }
    // The first question of an open breaker may start at once, the next a second later.
    world.ask("transfer/TX30", 30);
    assert_eq!(world.answer().await.answer, silent);
    let now = ask_now(&world, "TX31").await;
    assert_eq!(now.answer, refused(CouldNotAsk::BreakerOpen));
    assert!(owner.requests() <= asked + 2);
    let page = world.metrics.page().unwrap();
    for line in [
        r#"settled_breaker_state{type="transfer"} 2"#,
        r#"settled_alarms_total{kind="breaker_open"} 1"#,
        r#"settled_callers_refused_total{reason="breaker_open",type="transfer"} 1"#,
    ] {
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }

    owner.behaves(Behaviour::Sends(crate::owner_stub::answer(
        "200 OK",
        "",
        br#"{"status":"3"}"#,
    )));
    world.ask("transfer/TX32", 32);
    assert_eq!(world.answer().await.answer, Answer::InProgress);
    // The news is urgent: nobody else has to ask for it to be told.
    while world.engine.permits(&name) <= 2 {
        tokio::task::yield_now().await;
    }
    let page = world.metrics.page().unwrap();
    let closing = r#"settled_breaker_state{type="transfer"} 1"#;
    assert!(page.lines().any(|l| l == closing), "{page}");
}

#[tokio::test]
async fn a_caller_is_told_what_its_type_rests_for() {
    let owner = OwnerStub::answering("429 Slow down", "retry-after: 30\r\n", b"").await;
    let world = World::new([("transfer", order_type(owner.url()))]);
    ask_now(&world, "TX1").await;
    let now = ask_now(&world, "TX2").await.answer;
    let Answer::CouldNotAsk { why, retry_after } = now else {
        unreachable!("{now:?}");
    };
    assert_eq!(why, CouldNotAsk::TooManyRequests);
    assert!(retry_after.is_some_and(|left| left > 29_000));
    assert_eq!(owner.requests(), 1);
}

#[tokio::test]
async fn a_type_whose_owner_refuses_every_question_rests_with_one_alarm() {
    let owner = OwnerStub::answering("403 No", "", b"").await;
    let mut world = World::new([("transfer", order_type(owner.url()))]);
    for claim in 0..40 {
        world.ask(&format!("transfer/TX{claim}"), claim);
        let configuration = CouldNotAsk::Configuration;
        let answer = world.answer().await.answer;
        assert!(matches!(answer, Answer::CouldNotAsk { why, .. } if why == configuration));
    }
    assert_eq!(owner.requests(), 20);
    assert_eq!(world.engine.permits(&type_name("transfer")), 0);
    let now = ask_now(&world, "TX1").await.answer;
    assert!(matches!(
        now,
        Answer::CouldNotAsk {
            why: CouldNotAsk::Configuration,
            retry_after: Some(_)
        }
    ));
    let page = world.metrics.page().unwrap();
    let once = r#"settled_alarms_total{kind="owner_refuses"} 1"#;
    assert!(page.lines().any(|l| l == once), "{page}");
}

#[tokio::test]
async fn callers_are_told_at_once_that_the_store_gives_no_start_times() {
    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let world = World::new([("transfer", order_type(owner.url()))]);
    world.store.go_down();
    let began = world.clock.monotonic();
    assert_eq!(ask_now(&world, "TX1").await.answer, not_started());
    assert!(world.clock.monotonic() - began < 10_000);
    assert_eq!(owner.connections(), 0);
}
