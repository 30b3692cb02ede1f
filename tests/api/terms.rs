//! `wait_ms` and `max_age_ms`: how long a caller waits, and how old an answer may be.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use settled::clock::Clock;
use settled::domain::answer::{Answer, CouldNotAsk};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::plain_http::get;
use crate::world::{Trouble, World, assert_refused, assert_says, pending, settled_as_b1, success};

#[tokio::test]
async fn a_caller_whose_time_is_over_gets_what_is_known_and_the_question_goes_on() {
    let gate = Arc::new(Semaphore::new(0));
    let served = World {
        found: pending(),
        gate: Arc::clone(&gate),
        ..World::default()
    }
    .serve()
    .await;
    let hurried = served.order("transfer/TX1?wait_ms=20").await.json();
    assert_says(
        &hurried,
        &json!({"known": true, "state": "pending", "status": "3", "asked": 2, "final": false,
            "fresh": false, "source": "view",
            "reason": "no answer within 20 ms; the question goes on, ask again"}),
    );
    let (address, mut patient) = (served.address, JoinSet::new());
    patient.spawn(async move { get(address, "/v1/orders/transfer/TX1").await });
    let mut finds = served.finds.subscribe();
    finds.wait_for(|finds| *finds == 2).await.unwrap();
    gate.add_permits(1);
    let told = patient.join_next().await.unwrap().unwrap().json();
    assert_says(&told, &json!({"fresh": true, "source": "inquiry"}));
    assert_eq!(served.questions().len(), 1);
    assert_eq!(served.callers("late"), 1);
}

#[tokio::test]
async fn a_caller_who_does_not_wait_gets_what_is_known_and_nobody_is_asked() {
    let served = World {
        found: pending(),
        ..World::default()
    }
    .serve()
    .await;
    let known = json!({"known": true, "state": "pending", "fresh": false, "source": "view",
        "reason": "nobody was asked, as wait_ms is 0"});
    assert_says(&served.order("transfer/TX1?wait_ms=0").await.json(), &known);
    assert!(served.questions().is_empty());
    // An answer that came before is known.
    served.order("transfer/TX1").await;
    let kept = served
        .order("transfer/TX1?wait_ms=0&max_age_ms=60000")
        .await;
    assert_says(&kept.json(), &json!({"fresh": true, "source": "inquiry"}));
    assert_says(
        &served
            .order("transfer/TX1?wait_ms=0&max_age_ms=0")
            .await
            .json(),
        &known,
    );
    assert_eq!(served.questions().len(), 1);
    assert_eq!(served.callers("not_asked"), 2);
}

#[tokio::test]
async fn an_answer_is_told_again_to_callers_who_take_one_of_its_age() {
    let served = World::default().serve().await;
    let first = served.order("transfer/TX1").await.json();
    let again = served.order("transfer/TX1?max_age_ms=60000").await.json();
    assert_eq!(first, again, "its time is that of the answer");
    assert_eq!(served.questions().len(), 1);
    assert_eq!(served.callers("kept"), 1);
    served.order("transfer/TX1?max_age_ms=0").await;
    assert_eq!(served.questions().len(), 2);
    // Nothing of it holds the end up.
    served.stop.cancel();
    served.tracker.close();
    served.tracker.wait().await;
}

#[tokio::test]
async fn what_was_called_final_is_not_asked_again() {
    let served = World {
        found: pending(),
        said: success(),
        ..World::default()
    }
    .serve()
    .await;
    for _ in 0..3 {
        let told = served.order("transfer/TX1?max_age_ms=0").await.json();
        assert_says(
            &told,
            &json!({"state": "settled", "status": "1", "final": true}),
        );
    }
    assert_eq!((served.questions().len(), served.events().len()), (1, 1));
}

#[tokio::test]
async fn an_answer_that_is_being_recorded_is_told_at_the_deadline_but_not_as_final() {
    let served = World {
        found: pending(),
        said: success(),
        trouble: Some(Trouble::BrokerHangs),
        ..World::default()
    }
    .serve()
    .await;
    let told = served.order("transfer/TX1?wait_ms=300").await.json();
    assert_says(
        &told,
        &json!({"state": "pending", "status": "1", "final": false, "fresh": true, "rspNO": "B88213",
            "reason": "the answer is being recorded; ask again"}),
    );
}

#[tokio::test]
async fn an_answer_that_was_not_recorded_is_recorded_for_the_next_caller() {
    let served = World {
        found: pending(),
        said: success(),
        trouble: Some(Trouble::BrokerDown),
        ..World::default()
    }
    .serve()
    .await;
    for _ in 0..2 {
        let told = served.order("transfer/TX1?max_age_ms=0").await.json();
        assert_says(&told, &json!({"status": "1", "final": false}));
    }
    assert_eq!(served.events().len(), 2);
}

#[tokio::test]
async fn a_question_that_never_started_is_no_answer_for_the_next_caller() {
    let why = |why| Answer::CouldNotAsk {
        why,
        retry_after: None,
    };
    // An owner that is down is left alone for a moment; who got no place may find one now.
    for (said, took, questions) in [
        (why(CouldNotAsk::NotStarted), Duration::ZERO, 2),
        (why(CouldNotAsk::Unreachable), Duration::from_millis(1), 1),
    ] {
        let served = World {
            found: pending(),
            said,
            took,
            ..World::default()
        }
        .serve()
        .await;
        for _ in 0..2 {
            let told = served.order("transfer/TX1?max_age_ms=60000").await.json();
            assert_says(
                &told,
                &json!({"fresh": false, "source": "view", "status": "3"}),
            );
            assert!(told["reason"].is_string(), "{told}");
        }
        assert_eq!(served.questions().len(), questions);
        assert_eq!(served.callers("could_not_ask"), 2);
    }
}

#[tokio::test]
async fn a_view_that_hangs_is_waited_for_as_long_as_the_caller_waits() {
    let served = World {
        trouble: Some(Trouble::ViewHangs),
        ..World::default()
    }
    .serve()
    .await;
    let clock = Clock::start();
    let reply = served.order("transfer/TX1?wait_ms=0").await;
    assert_refused(&reply, 503, "view-unavailable");
    assert!(reply.head.contains("retry-after: 1"), "{reply:?}");
    assert!(clock.monotonic() >= 200, "a look takes its moment");
    assert!(clock.monotonic() < 10_000, "and no longer");
    assert!(served.questions().is_empty());
    assert_eq!(served.callers("view_unavailable"), 1);
}

#[tokio::test]
async fn a_settled_order_is_told_to_who_does_not_wait() {
    let served = settled_as_b1().serve().await;
    let told = served.order("transfer/TX1?wait_ms=0&max_age_ms=0").await;
    assert_says(
        &told.json(),
        &json!({"state": "settled", "final": true, "rspNO": "B1"}),
    );
    assert_eq!(served.callers("settled"), 1);
}

#[tokio::test]
async fn parameters_are_read_strictly() {
    let served = World::default().serve().await;
    for good in [
        "",
        "?",
        "?wait_ms=60000&max_age_ms=60000",
        "?max_age_ms=0060000&",
    ] {
        let reply = served.order(&format!("transfer/TX1{good}")).await;
        assert_eq!(reply.status, 200, "{good}: {reply:?}");
    }
    let number = "expected whole milliseconds from 0 to 60000";
    for (bad, message) in [
        ("wait=5", "there is no parameter \"wait\""),
        ("wait_ms", number),
        ("wait_ms=", number),
        ("wait_ms=-1", number),
        ("wait_ms=%2B1", number),
        ("wait_ms=+1", number),
        ("wait_ms=1.5", number),
        ("wait_ms=2s", number),
        ("wait_ms=60001", number),
        ("max_age_ms=60001", number),
        ("max_age_ms=99999999999999999999", number),
        ("wait_ms=1&wait_ms=1", "wait_ms stands there twice"),
        ("wait_ms=1;max_age_ms=1", number),
        ("Wait_ms=1", "there is no parameter"),
        ("w%0Ait=1", "there is no parameter"),
    ] {
        let reply = served.order(&format!("transfer/TX1?{bad}")).await;
        assert_refused(&reply, 400, "bad-parameter");
        let told = reply.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(told.contains(message), "{bad}: {told}");
        assert!(!told.contains('\n'), "{bad}: {told}");
    }
    assert_eq!(served.questions().len(), 1);
}
