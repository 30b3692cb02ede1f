//! The engine against scripted owners: turns, caps, pauses, and that nothing is asked which must not
//! be. Waits are for events; the only durations are deadlines that the engine itself was given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use settled::clock::Clock;
use settled::config::OrderTypeConfig;
use settled::dev::bank::{Bank, BankOptions};
use settled::domain::answer::{Answer, CouldNotAsk, Mapping, Place};
use settled::domain::status::{Status, Terminal};
use settled::inquiry::{Around, Engine};
use settled::metrics::Metrics;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ceiling_store::CeilingStore;
use crate::owner_stub::{Behaviour, OwnerStub};
use crate::world::{World, not_started};
use crate::{key, order_type, type_name};

async fn bank(clock: Clock) -> Bank {
    let listen = "127.0.0.1:0".parse().unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let bank = Bank::start(listen, BankOptions::default(), clock, &tasks, stop);
    bank.await.unwrap()
}

async fn bank_url() -> (Bank, String) {
    let bank = bank(Clock::start()).await;
    let url = format!("http://{}/orders/query", bank.local_addr());
    (bank, url)
}

#[tokio::test]
async fn an_answer_comes_back_with_its_ticket_and_its_start() {
    let (_bank, url) = bank_url().await;
    let mut world = World::new([("transfer", order_type(url))]);
    world.ask("transfer/TX1", 7);
    let answered = world.answer().await;
    assert_eq!(answered.answer, Answer::InProgress);
    assert_eq!(answered.ticket.claim, 7);
    assert!(answered.started.is_some());
    assert!(!answered.took.is_zero());
}

#[tokio::test]
async fn a_type_that_hangs_does_not_delay_another() {
    let (_bank, url) = bank_url().await;
    let silent = OwnerStub::start(Behaviour::Hangs).await;
    let mut slow = order_type(silent.url());
    slow.ceiling.in_flight = 2;
    let mut world = World::new([("slow", slow), ("transfer", order_type(url))]);
    for claim in 0..200 {
        world.ask(&format!("slow/TX{claim}"), 10_000 + claim);
    }
    silent.wait_for_requests(2).await;
    for claim in 0..200 {
        world.ask(&format!("transfer/TX{claim}"), claim);
    }
    for _ in 0..200 {
        assert!(world.answer().await.ticket.claim < 10_000);
    }
    assert_eq!(silent.requests(), 2, "the cap in flight holds");
    assert_eq!(world.engine.permits(&type_name("slow")), 0);
    assert_ne!(world.engine.permits(&type_name("transfer")), 0);
}

#[tokio::test]
async fn no_question_starts_before_its_slot() {
    let (_bank, url) = bank_url().await;
    let mut config = order_type(url);
    config.ceiling.questions_per_second = 500.0;
    let mut world = World::new([("transfer", config)]);
    for claim in 0..120 {
        world.ask(&format!("transfer/TX{claim}"), claim);
    }
    let mut started = Vec::new();
    for _ in 0..120 {
        started.push(world.answer().await.started.unwrap());
    }
    started.sort_unstable();
    let granted = world.store.granted_us();
    for (started, slot) in started.iter().zip(granted) {
        assert!(*started >= slot / 1000, "{started} ms before {slot} us");
    }
}

#[tokio::test]
async fn without_the_store_nothing_is_asked_and_questions_come_back_when_their_time_is_over() {
    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let mut world = World::new([("transfer", order_type(owner.url()))]);
    world.store.go_down();
    let soon = world.clock.monotonic() + 60;
    for claim in 0..3 {
        let question = world.question(&format!("transfer/TX{claim}"), claim, soon);
        world.engine.ask(question);
    }
    for _ in 0..3 {
        let answered = world.answer().await;
        assert_eq!(answered.answer, not_started());
        assert_eq!(answered.started, None);
    }
    assert!(world.clock.monotonic() >= soon);
    assert_eq!(owner.connections(), 0);
}

#[tokio::test]
async fn nothing_of_a_revoked_generation_is_asked() {
    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let mut world = World::new([("transfer", order_type(owner.url()))]);
    world.generation.0.store(false, SeqCst);
    world.ask("transfer/TX1", 1);
    assert_eq!(world.answer().await.answer, not_started());
    assert_eq!(owner.connections(), 0);
    assert!(
        world.store.granted_us().is_empty(),
        "no start time was spent"
    );
}

#[tokio::test]
async fn what_does_not_fit_the_queue_comes_back_at_once() {
    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let mut config = order_type(owner.url());
    config.ceiling.questions_per_second = 1.0;
    let mut world = World::new([("transfer", config)]);
    // The dispatcher does not run between these lines: the test's thread is the only one.
    for claim in 0..257 {
        world.ask(&format!("transfer/TX{claim}"), claim);
    }
    let answered = world.answers.try_recv().unwrap();
    assert_eq!(
        (answered.ticket.claim, answered.answer),
        (256, not_started())
    );
    assert!(world.answers.try_recv().is_err());
}

#[tokio::test]
async fn an_order_type_that_is_not_configured_is_not_asked() {
    let mut world = World::new([]);
    world.ask("transfer/TX1", 1);
    assert_eq!(world.answer().await.answer, not_started());
    assert_eq!(world.engine.permits(&type_name("transfer")), 0);
    let now = world
        .engine
        .ask_now(key("transfer/TX1"), None, None, Duration::from_mins(1));
    assert_eq!(now.await.answer, not_started());
}

#[tokio::test]
async fn permits_are_the_budget_less_what_the_shards_hold() {
    let mut config = order_type("http://127.0.0.1:1/q");
    config.ceiling.questions_per_second = 100.0;
    let world = World::new([("transfer", config)]);
    let name = type_name("transfer");
    assert_eq!(world.engine.permits(&name), 2, "until the store was asked");
    while world.engine.permits(&name) == 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.engine.permits(&name), 27);
    world.engine.report_claimed(0, &name, 10);
    world.engine.report_claimed(15, &name, 6);
    assert_eq!(world.engine.permits(&name), 11);
    assert_eq!(world.engine.lease(1, &name), 6, "half of them");
    assert_eq!(world.engine.permits(&name), 5);
    world.engine.report_claimed(1, &name, 0);
    world.engine.report_claimed(0, &name, 0);
    assert_eq!(world.engine.permits(&name), 21);
}

#[tokio::test]
async fn a_caller_of_the_api_gets_the_owners_data_and_no_log_does() {
    let body = br#"{"status":"3","reqNO":"TX1","data":{"card":"4242"}}"#;
    let owner = OwnerStub::answering("200 OK", "", body).await;
    let world = World::new([("transfer", order_type(owner.url()))]);
    let now = world
        .engine
        .ask_now(key("transfer/TX1"), None, None, Duration::from_mins(1))
        .await;
    assert_eq!(now.answer, Answer::InProgress);
    assert_eq!(now.data.as_ref().unwrap().get(), r#"{"card":"4242"}"#);
    assert!(!format!("{now:?}").contains("4242"));
}

#[tokio::test]
async fn an_answer_in_a_form_of_the_owners_own_is_read_by_its_mapping() {
    let body = br#"[{"result":{"state":"PAID","number":"TX1","bankRef":77}},{"detail":[1,2]}]"#;
    let owner = OwnerStub::answering("200 OK", "", body).await;
    let pointers = [
        (Place::Status, "/0/result/state"),
        (Place::ReqNo, "/0/result/number"),
        (Place::RspNo, "/0/result/bankRef"),
        (Place::Data, "/1/detail"),
    ]
    .map(|(place, pointer)| (place, pointer.to_owned()));
    let values = [("PAID".to_owned(), Status::Success)];
    let config = OrderTypeConfig {
        answer: Some(Mapping::new(pointers.into(), values.into()).unwrap()),
        ..order_type(owner.url())
    };
    let world = World::new([("transfer", config)]);
    let ask = |order| {
        let wait = Duration::from_mins(1);
        world.engine.ask_now(key(order), None, None, wait)
    };
    let now = ask("transfer/TX1").await;
    let settles = Answer::Terminal {
        status: Terminal::Success,
        rsp_no: Some("77".to_owned()),
        ret_cd: None,
        ret_msg: None,
    };
    assert_eq!(now.answer, settles);
    assert_eq!(now.data.unwrap().get(), "[1,2]");
    let other = ask("transfer/TX2").await;
    assert_eq!(other.answer.label(), "violation");
    assert!(other.data.is_none());
}

#[tokio::test]
async fn a_persons_question_belongs_to_the_orders_trace_and_is_no_attempt() {
    let body = br#"{"status":"3","reqNO":"TX1"}"#;
    let owner = OwnerStub::answering("200 OK", "", body).await;
    let world = World::new([("transfer", order_type(owner.url()))]);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    world
        .engine
        .ask_now(
            key("transfer/TX1"),
            None,
            Some(parent.into()),
            Duration::from_mins(1),
        )
        .await;
    let head = owner.last_head();
    for line in [
        format!("traceparent: {parent}"),
        "settled-attempt: 0".into(),
    ] {
        assert!(head.lines().any(|l| l == line), "{line} in {head}");
    }
}

#[tokio::test]
async fn a_caller_of_the_api_is_told_at_its_deadline_that_the_owner_is_silent() {
    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let world = World::new([("transfer", order_type(owner.url()))]);
    let now = world
        .engine
        .ask_now(key("transfer/TX1"), None, None, Duration::from_millis(500))
        .await;
    let timed_out = Answer::CouldNotAsk {
        why: CouldNotAsk::TimedOut,
        retry_after: None,
    };
    assert_eq!(now.answer, timed_out);
    assert_eq!(owner.requests(), 1);
}

#[tokio::test]
async fn an_owner_that_says_later_is_obeyed_by_the_whole_type() {
    let owner = OwnerStub::answering("429 Slow down", "retry-after: 30\r\n", b"").await;
    let mut world = World::new([("transfer", order_type(owner.url()))]);
    world.ask("transfer/TX1", 1);
    let first = world.answer().await;
    assert!(first.started.is_some());
    assert_eq!(world.engine.permits(&type_name("transfer")), 0);
    world.ask("transfer/TX2", 2);
    let second = world.answer().await;
    assert_eq!(second.started, None);
    assert!(matches!(
        second.answer,
        Answer::CouldNotAsk {
            why: CouldNotAsk::TooManyRequests,
            retry_after: Some(1..=30_000)
        }
    ));
    assert_eq!(owner.requests(), 1);
}

#[tokio::test]
async fn an_order_that_lacks_a_field_of_the_template_is_not_asked_about() {
    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let url = format!("{}?bank={{query.bank}}", owner.url());
    let mut world = World::new([("transfer", order_type(url))]);
    world.ask("transfer/TX1", 1);
    let answered = world.answer().await;
    let configuration = Answer::CouldNotAsk {
        why: CouldNotAsk::Configuration,
        retry_after: None,
    };
    assert_eq!((answered.answer, answered.started), (configuration, None));
    assert_eq!(owner.connections(), 0);
}

#[tokio::test]
async fn at_the_stop_what_waits_comes_back_and_what_was_asked_is_waited_for() {
    let owner = OwnerStub::start(Behaviour::Hangs).await;
    let mut config = order_type(owner.url());
    config.ceiling.in_flight = 1;
    config.query.timeout = Duration::from_millis(100);
    let mut world = World::new([("transfer", config)]);
    for claim in 0..10 {
        world.ask(&format!("transfer/TX{claim}"), claim);
    }
    owner.wait_for_requests(1).await;
    world.stop.cancel();
    world.tasks.close();
    world.tasks.wait().await;
    let mut answers = Vec::new();
    while let Ok(answered) = world.answers.try_recv() {
        answers.push(answered);
    }
    assert_eq!(answers.len(), 10);
    let asked = answers.iter().filter(|a| a.started.is_some()).count();
    assert_eq!(asked, 1);
    world.ask("transfer/TX99", 99);
    assert_eq!(world.answer().await.answer, not_started());
}

/// The owner refuses every question: how many it takes to let the type rest is the type's own, and
/// another number is in effect once it was configured.
#[tokio::test]
async fn a_type_rests_after_as_many_refusals_as_it_was_configured_with() {
    let owner = OwnerStub::answering("403 No", "", b"").await;
    let config = |refusals_in_a_row| {
        let mut config = order_type(owner.url());
        config.ceiling.refusals_in_a_row = refusals_in_a_row;
        config
    };
    let world = World::new([("transfer", config(3))]);
    let ask = async || {
        let wait = Duration::from_mins(1);
        let order = key("transfer/TX1");
        world.engine.ask_now(order, None, None, wait).await
    };
    for (refusals, more) in [(3, 5), (2, 4)] {
        let types = [(type_name("transfer"), config(refusals))];
        world.engine.reconfigure(&types.into()).unwrap();
        let before = owner.requests();
        for _ in 0..more {
            let told = ask().await.answer;
            assert_eq!(told.label(), "configuration");
        }
        assert_eq!(owner.requests() - before, refusals as usize);
    }
}

#[tokio::test]
async fn an_engine_refuses_what_it_could_never_ask_with_the_key_of_the_mistake() {
    let refuse = |config: OrderTypeConfig| {
        let clock = Clock::start();
        let store = Arc::new(CeilingStore::new(clock));
        let types = BTreeMap::from([(type_name("pay"), config)]);
        let around = Around {
            clock,
            metrics: Metrics::new(clock, types.keys()).unwrap(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let error = Engine::new(&types, &store, &around).unwrap_err();
        assert!(around.tasks.is_empty(), "nothing was started");
        error.to_string()
    };
    let line = refuse(order_type("http://{query.host}/q"));
    assert!(line.starts_with("order_types.pay.query.url: "), "{line}");
    for (per_second, in_flight) in [(0.0, 1), (f64::NAN, 1), (-1.0, 1), (1e9, 1), (1.0, 0)] {
        let mut config = order_type("http://127.0.0.1/q");
        config.ceiling.questions_per_second = per_second;
        config.ceiling.in_flight = in_flight;
        let line = refuse(config);
        assert!(line.starts_with("order_types.pay.ceiling: "), "{line}");
    }
}
