//! What business systems and operators say of orders: outcomes, contradictions, repetitions and
//! commands.

use std::time::Duration;

use serde_json::{Value, json};

use crate::checker::logs::Published;
use crate::checker::owner::Owner;
use crate::checker::process::Worker;
use crate::checker::{Site, command, event, key};
use crate::support::eventually;
use crate::support::topics::Isolation;

const WITHIN: Duration = Duration::from_secs(30);

/// A deployment of one worker with a type that asks soon and gives up soon, and one that asks late.
async fn site(name: &str, owner: &Owner) -> Option<(Site, Worker)> {
    let site = Site::create(
        name,
        4,
        &format!(
            r#"
[order_types.hasty]
query = {{ url = "http://{0}/query" }}
schedule = {{ in_progress = ["200ms x 2"] }}
[order_types.patient]
query = {{ url = "http://{0}/query" }}
schedule = {{ in_progress = ["1h x 2"] }}
"#,
            owner.at
        ),
    )?;
    let worker = site.worker().await;
    site.all_open(&[&worker]).await;
    Some((site, worker))
}

/// The results about an order, once there are `count`.
async fn results_of(site: &Site, key: &str, count: usize) -> Vec<Published> {
    eventually(&format!("{count} results of {key}"), WITHIN, async || {
        let results = site.results(Isolation::Committed).into_iter();
        let about: Vec<_> = results.filter(|result| result.key == key).collect();
        (about.len() >= count).then_some(about)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_business_system_says_settles_an_order_without_a_question_and_stands() {
    let owner = Owner::start().await;
    let Some((site, mut worker)) = site("says", &owner).await else {
        return;
    };
    let said = |req_no: &str, status: &str| {
        let mut event = event("patient", req_no, status);
        event["rspNO"] = json!(format!("B-{req_no}"));
        event["retCd"] = json!("0000");
        event
    };
    // One that was pending, one that fails, one that nobody announced.
    site.publish(&[said("A", "3"), said("B", "3")]);
    site.publish(&[said("A", "1"), said("B", "2"), said("C", "1")]);
    for (req_no, status) in [("A", "1"), ("B", "2"), ("C", "1")] {
        let results = results_of(&site, &format!("patient/{req_no}"), 1).await;
        let result = &results[0];
        let seen = ["outcome", "status", "rspNO", "source"].map(|field| result.text(field));
        let number = format!("B-{req_no}");
        assert_eq!(seen, ["settled", status, &number, "pay-core"]);
        assert_eq!(result.value["asked"], 0);
    }
    // Repetitions in any form do nothing; a contradiction is kept with its reason.
    site.publish(&[
        said("A", "1"),
        said("A", "3"),
        said("A", "2"),
        said("A", "1"),
    ]);
    site.publish(&[command(
        "patient",
        "B",
        &json!({"command": "settle", "status": "2"}),
    )]);
    let letters = eventually("the contradiction is kept", WITHIN, async || {
        let letters = site.dead_letters();
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    site.at_rest().await;
    assert_eq!(letters.len(), 1);
    let (reason, bytes) = letters.values().next().unwrap();
    assert_eq!(reason, "conflict");
    let kept: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(
        (key(&kept).as_str(), &kept["status"]),
        ("patient/A", &json!("2"))
    );

    worker.process.terminate(Duration::from_secs(10)).await;
    let resolutions = site.resolutions();
    let settled: Vec<_> = resolutions
        .iter()
        .map(|(k, s)| (k.as_str(), s.as_str()))
        .collect();
    assert_eq!(
        settled,
        [("patient/A", "1"), ("patient/B", "2"), ("patient/C", "1")]
    );
    assert_eq!(site.results(Isolation::Committed).len(), 3);
    assert_eq!(site.dead_letters().len(), 1);
    for req_no in ["A", "B", "C"] {
        assert_eq!(owner.questions(req_no), Vec::<Value>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_order_is_told_once_and_settles_after_a_requeue_or_by_hand() {
    let owner = Owner::start().await;
    let Some((site, mut worker)) = site("exhausts", &owner).await else {
        return;
    };
    site.publish(&[event("hasty", "E", "3"), event("hasty", "F", "3")]);
    for req_no in ["E", "F"] {
        let results = results_of(&site, &format!("hasty/{req_no}"), 1).await;
        let seen = ["outcome", "status", "source"].map(|field| results[0].text(field));
        assert_eq!(seen, ["exhausted", "3", "schedule"]);
        let value = &results[0].value;
        assert_eq!(
            (&value["phase"], &value["query"]),
            (&json!(0), &json!({"bank": "CMB"}))
        );
        assert!(value["asked"].as_u64().unwrap() >= 2, "{value}");
    }
    let asked = owner.questions("E").len();

    // The order's own events, and a requeue of the phase that it is in, open nothing.
    let requeue = |phase: u32| {
        let query = json!({"bank": "ICBC"});
        command(
            "hasty",
            "E",
            &json!({"command": "requeue", "phase": phase, "query": query}),
        )
    };
    site.publish(&[event("hasty", "E", "3")]);
    owner.says("E", "1");
    site.publish(&[requeue(1), requeue(1)]);
    let results = results_of(&site, "hasty/E", 2).await;
    let last = &results[1];
    assert_eq!(
        (last.text("outcome"), last.text("status")),
        ("settled", "1")
    );
    assert_eq!(
        (&last.value["phase"], last.text("source")),
        (&json!(1), "inquiry")
    );
    let questions = owner.questions("E");
    assert_eq!(questions.len(), asked + 1, "asked again, once");
    assert_eq!(questions[asked]["query"], json!({"bank": "ICBC"}));

    site.publish(&[command(
        "hasty",
        "F",
        &json!({"command": "settle", "status": "2"}),
    )]);
    let results = results_of(&site, "hasty/F", 2).await;
    let last = &results[1];
    assert_eq!(
        (last.text("outcome"), last.text("status")),
        ("settled", "2")
    );

    site.publish(&[requeue(1), requeue(2)]);
    site.at_rest().await;
    worker.process.terminate(Duration::from_secs(10)).await;
    assert_eq!(site.results(Isolation::Committed).len(), 4);
    assert_eq!(site.resolutions().len(), 2);
    assert!(site.dead_letters().is_empty());
}
