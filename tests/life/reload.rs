//! The configuration read again while a worker runs: at SIGHUP, whole or not at all.

use std::time::Duration;

use serde_json::Value;

use crate::checker::metrics::Page;
use crate::checker::owner::Owner;
use crate::checker::process::Worker;
use crate::checker::{Site, event};
use crate::support::eventually;
use crate::support::topics::Isolation;

const WITHIN: Duration = Duration::from_secs(30);

fn order_type(name: &str, owner: &Owner, schedule: &str) -> String {
    format!(
        "[order_types.{name}]\nquery = {{ url = \"http://{}/query\" }}\n\
         schedule = {{ in_progress = [\"{schedule}\"] }}\n",
        owner.at
    )
}

/// The lines that tell of reloads.
fn told(worker: &Worker) -> Vec<String> {
    let lines = worker.process.log_lines().into_iter();
    let lines = lines.filter(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("the configuration was read again")
    });
    lines.map(|line| line.to_string()).collect()
}

/// Writes another file, signals, and waits until something new is told.
async fn reload(site: &Site, worker: &Worker, order_types: &str) -> String {
    site.configure(order_types);
    hang_up(worker).await
}

async fn hang_up(worker: &Worker) -> String {
    let before = told(worker).len();
    worker.process.signal("HUP");
    eventually("the reload is told", WITHIN, async || {
        let told = told(worker);
        (told.len() > before).then(|| told[before..].join("\n"))
    })
    .await
}

async fn asked(owner: &Owner, req_no: &str, count: usize) -> Vec<Value> {
    eventually(
        &format!("{req_no} is asked {count} times"),
        WITHIN,
        async || {
            let questions = owner.questions(req_no);
            (questions.len() >= count).then_some(questions)
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn order_types_come_change_and_go_while_the_worker_runs() {
    let owner = Owner::start().await;
    let old = order_type("old", &owner, "1h x 2");
    let Some(site) = Site::create("reload", 4, &old) else {
        return;
    };
    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;

    // Kept and not asked about, until the type is there.
    site.publish(&[event("new", "N1", "3"), event("old", "O1", "3")]);
    eventually("the orders are pending", WITHIN, async || {
        let page = Page::of(worker.admin).await;
        (page.sum("settled_pending_orders", &[]) == 2).then_some(())
    })
    .await;
    assert!(owner.questions("N1").is_empty());
    let new = order_type("new", &owner, "300ms x 1000");
    let told = reload(&site, &worker, &format!("{old}{new}")).await;
    assert!(told.contains("added new"), "{told}");
    asked(&owner, "N1", 2).await;

    // A changed schedule counts from an order's next step.
    site.publish(&[event("old", "O2", "3")]);
    let changed = order_type("old", &owner, "200ms x 1000");
    let told = reload(&site, &worker, &format!("{changed}{new}")).await;
    assert!(told.contains("changed old"), "{told}");
    site.publish(&[event("old", "O3", "3")]);
    asked(&owner, "O3", 3).await;
    assert!(
        owner.questions("O1").is_empty(),
        "its due time stood already"
    );

    // A type that is taken out keeps its orders: neither asked about nor gone.
    let told = reload(&site, &worker, &changed).await;
    assert!(told.contains("removed new"), "{told}");
    let before = owner.questions("N1").len();
    asked(&owner, "O3", owner.questions("O3").len() + 10).await;
    assert!(
        owner.questions("N1").len() <= before + 1,
        "only what was under way already is asked"
    );
    reload(&site, &worker, &format!("{changed}{new}")).await;
    owner.says("N1", "1");
    eventually("the order settles", WITHIN, async || {
        let results = site.results(Isolation::Committed);
        results
            .iter()
            .any(|result| result.key == "new/N1")
            .then_some(())
    })
    .await;
    let page = Page::of(worker.admin).await;
    assert_eq!(
        page.sum("settled_reloads_total", &[("outcome", "applied")]),
        4
    );
    worker.process.terminate(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_whole_and_the_old_one_stays() {
    let owner = Owner::start().await;
    let good = order_type("pay", &owner, "200ms x 1000");
    let Some(site) = Site::create("refuses-reload", 2, &good) else {
        return;
    };
    let mut worker = site.worker().await;
    site.all_open(&[&worker]).await;
    let other = order_type("more", &owner, "1s x 3");
    let bad = [
        // A mistake, a value that cannot hold, what needs a restart, what the topics cannot keep.
        (format!("{good}{other}colour = 1\n"), "colour"),
        (good.replace("200ms x 1000", "soon"), "soon"),
        (format!("{good}{other}[extra]\n"), "extra"),
        (good.replace("200ms x 1000", "90d x 2"), "retention"),
    ];
    for (text, why) in &bad {
        let told = reload(&site, &worker, text).await;
        assert!(told.contains(why), "{why}: {told}");
        assert!(told.contains("the old one stays"), "{told}");
    }
    site.configure(&good);
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replace("shards = 2", "shards = 3")).unwrap();
    let told = hang_up(&worker).await;
    assert!(
        told.contains("shards: changed, which needs a restart"),
        "{told}"
    );
    site.publish(&[event("pay", "P1", "3")]);
    asked(&owner, "P1", 2).await;
    let page = Page::of(worker.admin).await;
    let refused = page.sum("settled_reloads_total", &[("outcome", "refused")]);
    assert_eq!(refused as usize, bad.len() + 1);
    worker.process.terminate(Duration::from_secs(10)).await;
}
