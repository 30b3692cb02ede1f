//! An owner that takes a terminal answer back, while the timer and a caller ask at the same time.

use std::collections::BTreeSet;

use crate::plain_http::get;
use crate::support::eventually;
use crate::support::topics::Isolation;
use crate::{Desk, WITHIN, questions};

const TYPES: [(&str, &str); 2] = [("flip-1-2", "0"), ("flip-2-1", "1")];

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_answer_that_was_published_stands_whatever_the_owner_says_then() {
    let behaviours = TYPES.map(|(name, failures)| {
        format!(
            "{{\"orders\":\"{name}/\",\"in_progress\":0,\"flips\":1,\"failures\":{failures},\
             \"latency\":\"fixed 500ms\"}}"
        )
    });
    let options: Vec<&str> = behaviours
        .iter()
        .flat_map(|behaviour| ["--behave", behaviour])
        .collect();
    let desk = Desk::open("flips", &options, &[], |bank| {
        let types = TYPES.map(|(name, _)| {
            format!(
                "[order_types.{name}]\nquery = {{ url = \"http://{}/\" }}\n\
                 schedule = {{ in_progress = [\"200ms x 5\"] }}\n",
                bank.at
            )
        });
        types.concat()
    });
    let Some(mut desk) = desk.await else {
        return;
    };
    for (name, _) in TYPES {
        one_order(&desk, name).await;
    }
    desk.worker.process.terminate(WITHIN).await;
}

async fn one_order(desk: &Desk, name: &str) {
    let order = format!("{name}/TX1");
    let given = async || {
        let about = questions(&desk.bank).await.into_iter();
        let about = about.filter(|question| question.order == order);
        about.map(|question| question.given).collect::<Vec<_>>()
    };
    desk.publish([(name.to_owned(), "TX1".to_owned())]);
    eventually("the timer has asked", WITHIN, async || {
        (!given().await.is_empty()).then_some(())
    })
    .await;
    let path = format!("/v1/orders/{order}");
    let told = get(desk.worker.api, &path).await.json();
    let resolutions = eventually("it is settled", WITHIN, async || {
        let resolutions = desk.site.resolutions();
        resolutions.contains_key(&order).then_some(resolutions)
    })
    .await;
    desk.site.at_rest().await;

    // Said once more by its emitter, and asked for again and again: nobody asks the owner.
    let said = given().await;
    desk.publish([(name.to_owned(), "TX1".to_owned())]);
    desk.site.at_rest().await;
    let heard = eventually("the view says it", WITHIN, async || {
        let answer = get(desk.worker.api, &path).await.json();
        (answer["source"] == "view").then_some(answer)
    })
    .await;
    assert_eq!(given().await, said);
    let status = &resolutions[&order];
    assert_eq!(
        (&heard["final"], &heard["status"]),
        (&true.into(), &status.as_str().into())
    );
    let again = desk.site.resolutions();
    assert_eq!(&again[&order], status);
    let about = desk.site.results(Isolation::Committed);
    assert_eq!(about.iter().filter(|one| one.key == order).count(), 1);
    let letters = desk.site.dead_letters();
    let reasons: BTreeSet<_> = letters.values().map(|(why, _)| why.as_str()).collect();
    println!(
        "figure: hostile: {name}: said {said:?}, a caller meanwhile heard {} (final {}), published \
         {status} once, dead letters {reasons:?}",
        told["status"], told["final"]
    );
    assert!(said.contains(status));
}
