//! `POST /v1/orders`.

use std::time::Duration;

use serde_json::json;
use settled::domain::order::OrderKey;

use crate::world::{
    SHARDS, Trouble, WINDOW, World, ago, assert_refused, assert_says, assert_valid, said,
};

#[tokio::test]
async fn an_event_is_accepted_after_the_brokers_acknowledgement() {
    let served = World::default().serve().await;
    let event = format!(
        r#"{{"v":1,"type":"transfer","reqNO":"TX1","status":"3","at":"{}","source":"pay-core","query":{{"bank":"CMB"}}}}"#,
        ago(Duration::ZERO)
    );
    let reply = served.post(&event).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_valid("api-accepted", &reply.json());
    let key = OrderKey::parse("transfer/TX1").unwrap();
    assert_says(
        &reply.json(),
        &json!({"v": 1, "type": "transfer", "reqNO": "TX1", "partition": key.shard(SHARDS), "offset": 41}),
    );
    let events = served.events();
    assert_eq!(events.len(), 1);
    assert_eq!(String::from_utf8_lossy(&events[0].value), event);
    assert_eq!(events[0].key, key);
}

#[tokio::test]
async fn an_event_that_is_not_taken_here_is_refused_with_the_way() {
    let served = World::default().serve().await;
    let at = format!(r#""at":"{}","source":"pay-core""#, ago(Duration::ZERO));
    let large = "x".repeat(64 * 1024 + 1);
    for (body, status, code) in [
        (
            format!(r#"{{"v":1,"type":"transfer","reqNO":"1","status":"1",{at}}}"#),
            403,
            "not-here",
        ),
        (
            format!(
                r#"{{"v":1,"type":"transfer","reqNO":"1","command":"settle","status":"2",{at},"actor":"li.wei","reason":"letter"}}"#
            ),
            403,
            "not-here",
        ),
        (
            format!(r#"{{"v":1,"type":"refund","reqNO":"1","status":"3",{at}}}"#),
            404,
            "unknown-type",
        ),
        (
            format!(r#"{{"v":1,"type":"transfer","reqNO":1,"status":"3",{at}}}"#),
            400,
            "bad-number",
        ),
        (
            format!(r#"{{"v":1,"type":"Transfer","reqNO":"1","status":"3",{at}}}"#),
            400,
            "bad-type",
        ),
        (
            format!(r#"{{"v":1,"type":"transfer","reqNO":"1","status":"9",{at}}}"#),
            400,
            "schema",
        ),
        ("<order/>".to_owned(), 400, "not-json"),
        (large, 413, "too-large"),
    ] {
        assert_refused(&served.post(&body).await, status, code);
    }
    assert!(served.events().is_empty());
}

#[tokio::test]
async fn a_broker_that_is_down_is_503_for_an_event() {
    let served = World {
        trouble: Some(Trouble::BrokerDown),
        ..World::default()
    }
    .serve()
    .await;
    assert_refused(
        &served.post(&said(Duration::ZERO)).await,
        503,
        "kafka-unavailable",
    );
}

#[tokio::test]
async fn an_event_that_would_become_a_dead_letter_as_stale_is_refused() {
    let served = World::default().serve().await;
    // It may wait for the broker's acknowledgement, and be appended only then.
    let waits = Duration::from_secs(10);
    for age in [WINDOW * 2, WINDOW, WINDOW.saturating_sub(waits)] {
        let reply = served.post(&said(age + Duration::from_millis(1))).await;
        assert_refused(&reply, 400, "stale");
        assert!(reply.body.contains("remembered for 86400 s"), "{reply:?}");
    }
    assert!(served.events().is_empty());
    let in_time = WINDOW.saturating_sub(Duration::from_mins(10));
    let in_time = served.post(&said(in_time)).await;
    assert_eq!(in_time.status, 202, "{in_time:?}");
}
