//! `POST` and `GET /v1/orders` of a real worker.

use std::time::Duration;

use serde_json::{Value, json};

use crate::checker::owner::Owner;
use crate::checker::process::Worker;
use crate::checker::{Site, event};
use crate::plain_http::{get, send};
use crate::support::eventually;
use crate::support::topics::Isolation;

const WITHIN: Duration = Duration::from_secs(30);

/// A deployment of one worker that would first ask in an hour, and its callers.
struct Desk {
    worker: Worker,
    owner: Owner,
    site: Site,
}

impl Desk {
    async fn open(name: &str) -> Option<Self> {
        let owner = Owner::start().await;
        let types = format!(
            r#"
[order_types.patient]
query = {{ url = "http://{}/query" }}
schedule = {{ in_progress = ["1h x 2"] }}
"#,
            owner.at
        );
        let site = Site::create(name, 4, &types)?;
        let worker = site.worker().await;
        site.all_open(&[&worker]).await;
        Some(Self {
            worker,
            owner,
            site,
        })
    }

    /// Publishes an order; the status and, of a refusal, the code.
    async fn post(&self, body: &str) -> (u16, String) {
        let reply = send(self.worker.api, "POST", "/v1/orders", body.as_bytes()).await;
        let schema = match reply.status {
            202 => "api-accepted",
            _ => "api-error",
        };
        self.site
            .names
            .book
            .validate(schema, reply.body.as_bytes())
            .unwrap();
        let code = &reply.json()["error"]["code"];
        (reply.status, code.as_str().unwrap_or_default().to_owned())
    }

    /// Asks for an order.
    async fn look(&self, req_no: &str) -> Value {
        let reply = get(self.worker.api, &format!("/v1/orders/patient/{req_no}")).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let body = reply.body.as_bytes();
        self.site.names.book.validate("api-order", body).unwrap();
        reply.json()
    }
}

/// These fields of an answer.
fn fields<const N: usize>(answer: &Value, names: [&str; N]) -> Value {
    names.map(|name| answer[name].clone()).to_vec().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_orders_in_progress_are_taken_from_callers() {
    let Some(desk) = Desk::open("post").await else {
        return;
    };
    let pending = event("patient", "P", "3").to_string();
    assert_eq!(desk.post(&pending).await.0, 202);
    for status in ["1", "2"] {
        let outcome = event("patient", "P", status).to_string();
        assert_eq!(desk.post(&outcome).await, (403, "not-here".to_owned()));
    }
    let mut settle = event("patient", "P", "1");
    for (field, value) in [
        ("command", "settle"),
        ("actor", "li.wei"),
        ("reason", "letter"),
    ] {
        settle[field] = json!(value);
    }
    assert_eq!(desk.post(&settle.to_string()).await.0, 403);
    assert_eq!(desk.post("no json").await.0, 400);
    let slash = event("patient", "a/b", "3").to_string();
    assert_eq!(desk.post(&slash).await.0, 400);
    let foreign = event("nobodys", "P", "3").to_string();
    assert_eq!(desk.post(&foreign).await, (404, "unknown-type".to_owned()));
    // One of them became an event.
    let events = desk.site.events(|_| false);
    assert_eq!(events, [("patient/P".to_owned(), false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_hears_the_truth_of_the_moment_and_a_terminal_one_is_published_once() {
    let Some(mut desk) = Desk::open("get").await else {
        return;
    };
    desk.site.publish(&[event("patient", "P", "3")]);
    let pending = eventually("the order is in the view", WITHIN, async || {
        let answer = desk.look("P").await;
        (answer["known"] == true).then_some(answer)
    })
    .await;
    let seen = fields(&pending, ["state", "status", "final", "fresh", "source"]);
    assert_eq!(seen, json!(["pending", "3", false, true, "inquiry"]));

    // Never published: answered, and nothing recorded.
    desk.owner.says("N", "1");
    let unknown = desk.look("N").await;
    let seen = fields(&unknown, ["known", "status", "final"]);
    assert_eq!(seen, json!([false, "1", false]));

    // A terminal answer becomes an event, and one result however many callers ask.
    desk.owner.says("P", "1");
    let told = eventually("the last answer is stale", WITHIN, async || {
        // The one that is served first may still find the last answer fresh.
        let (one, other) = tokio::join!(desk.look("P"), desk.look("P"));
        (one["status"] == "1" && other["status"] == "1").then_some([one, other])
    })
    .await;
    for answer in told {
        let seen = fields(&answer, ["state", "status", "final"]);
        assert_eq!(seen, json!(["settled", "1", true]));
    }
    let mut tail = desk.site.tail();
    tail.wait_for(1, WITHIN);
    desk.site.at_rest().await;
    let asked = desk.owner.questions("P").len();
    // What the log adds is waited for a moment only: the first to ask may miss it.
    let settled = eventually("the result is read from the log", WITHIN, async || {
        let answer = desk.look("P").await;
        let seen = fields(&answer, ["known", "state", "final", "source"]);
        assert_eq!(seen, json!([true, "settled", true, "view"]));
        answer["rspNO"].is_string().then_some(answer)
    })
    .await;
    assert_eq!(settled["rspNO"], "B1");
    assert_eq!(
        desk.owner.questions("P").len(),
        asked,
        "a settled order is not asked about"
    );

    desk.worker.process.terminate(Duration::from_secs(10)).await;
    let results = desk.site.results(Isolation::Committed);
    let told: Vec<_> = results
        .iter()
        .map(|result| (result.key.as_str(), result.text("source")))
        .collect();
    assert_eq!(told, [("patient/P", "api")]);
}
