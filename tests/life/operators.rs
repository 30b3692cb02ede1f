//! People in control: a thousand exhausted orders are listed, requeued and settled by hand, a type is
//! paused and resumed, and all of it by the command as operators type it.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::checker::metrics::Page;
use crate::checker::owner::Owner;
use crate::checker::process::{Worker, settled};
use crate::checker::{Site, event, size};
use crate::plain_http::{get, send};
use crate::support::eventually;
use crate::support::topics::{Isolation, read_raw};

const WITHIN: Duration = Duration::from_mins(1);

/// A canary: it must stand in no log.
const TOKEN: &str = "c4nary-of-the-operators";

impl Site {
    /// An operator at the keyboard: the command, the token from the environment, JSON back.
    fn types(&self, worker: &Worker, arguments: &[&str]) -> Output {
        settled()
            .args(arguments)
            .args(["--admin", &format!("http://{}", worker.admin)])
            .arg("--config")
            .arg(self.config())
            .env("SETTLED_ADMIN__TOKEN", TOKEN)
            .env("LOGNAME", "zhang.san")
            .output()
            .unwrap()
    }

    /// As [`Site::types`], for a command that is carried out.
    fn done(&self, worker: &Worker, arguments: &[&str]) -> Value {
        let ran = self.types(worker, &[arguments, &["--json"]].concat());
        assert!(ran.status.success(), "{arguments:?}: {ran:?}");
        serde_json::from_slice(&ran.stdout).unwrap()
    }

    /// The `settled` command was refused with this line.
    fn refused(&self, worker: &Worker, arguments: &[&str], line: &str) {
        let ran = self.types(worker, arguments);
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.starts_with(&format!("settled: {line}")), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }

    async fn guarded_worker(&self, name: &str) -> Worker {
        let variables = [
            ("SETTLED_ADMIN__TOKEN", TOKEN),
            ("SETTLED_LOG", "info,settled::question=debug"),
        ];
        let log = self.file(&format!("{name}.log"));
        Worker::start(self.config().to_str().unwrap(), log, &variables).await
    }

    /// The commands that stand in `order-events`.
    fn commands(&self) -> Vec<Value> {
        let (bootstrap, topic) = (&self.broker.bootstrap, &self.names.events);
        let events = read_raw(bootstrap, topic, Isolation::Committed);
        let events = events.iter().map(|record| {
            let value = record.value.as_deref().unwrap();
            self.names.hold(topic, value, &record.headers);
            serde_json::from_slice::<Value>(value).unwrap()
        });
        events
            .filter(|event| event["command"].is_string())
            .collect()
    }
}

async fn post(worker: &Worker, path: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.0\r\nhost: test\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let reply = crate::plain_http::exchange(worker.admin, head.as_bytes()).await;
    (reply.status, reply.json())
}

fn number_of(order: &Value) -> String {
    order["reqNO"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn a_thousand_exhausted_orders_are_worked_off_by_people() {
    let owner = Owner::start().await;
    let types = format!(
        r#"
[order_types.stuck]
query = {{ url = "http://{}/query" }}
schedule = {{ in_progress = ["200ms x 1"] }}
ceiling = {{ questions_per_second = 5000, in_flight = 256 }}
"#,
        owner.at
    );
    let Some(site) = Site::create("operators", 4, &types) else {
        return;
    };
    let mut workers = [
        site.guarded_worker("one").await,
        site.guarded_worker("two").await,
    ];
    site.all_open(&[&workers[0], &workers[1]]).await;
    let count = size("SETTLED_LIFE_EXHAUSTED", 1_000);
    let half = count / 2;
    let orders: Vec<_> = (0..count)
        .map(|n| event("stuck", &format!("TX{n:06}"), "3"))
        .collect();
    let began = Instant::now();
    site.publish(&orders);

    // All are listed by any worker, page by page, once they are exhausted.
    let limit = (count + 1).to_string();
    let list = ["exhausted", "list", "--type", "stuck", "--limit", &limit];
    let listed = eventually("all are listed", WITHIN, async || {
        let page = site.done(&workers[0], &list);
        let orders = page["orders"].as_array().unwrap().clone();
        (orders.len() == count).then_some(orders)
    })
    .await;
    let exhausted_in = began.elapsed();
    let all: BTreeSet<_> = listed.iter().map(number_of).collect();
    assert_eq!(all.len(), count);
    assert!(listed.iter().all(|order| order["exhaustedAt"].is_string()));
    assert_eq!(site.done(&workers[1], &list)["orders"], json!(listed));
    let none = [&list[..], &["--to", "2020-01-01T00:00:00Z"]].concat();
    assert_eq!(site.done(&workers[1], &none)["orders"], json!([]));

    // Each is counted, and one alarm is open.
    let mut told = 0;
    for worker in &workers {
        let page = Page::of(worker.admin).await;
        told += page.sum("settled_alarms_total", &[("kind", "exhausted")]);
        let open = |kind| page.sum("settled_open_alarms", &[("type", "stuck"), ("kind", kind)]);
        assert_eq!((open("exhausted"), open("violation")), (1, 0));
    }
    assert_eq!(told, count as u64);

    // Half are requeued, by what a dry run has shown; the bank is repaired for them.
    let half_text = half.to_string();
    let requeue = [
        "exhausted",
        "requeue",
        "--type",
        "stuck",
        "--limit",
        &half_text,
    ];
    let shown = site.done(&workers[0], &requeue);
    assert_eq!(shown["selected"], half);
    assert_eq!(shown["more"], true);
    assert_eq!(site.commands().len(), 0, "a dry run does nothing");
    let (requeued, by_hand) = listed.split_at(half);
    for order in requeued {
        owner.says(&number_of(order), "1");
    }
    let selection = shown["selection"].as_str().unwrap();
    let reason = ["--reason", "bank repaired"];
    let run = [&requeue[..], &["--selection", selection], &reason].concat();
    // Another worker has not shown it, and finds the same orders.
    let began = Instant::now();
    let ran = site.done(&workers[1], &run);
    let requeued_in = began.elapsed();
    assert_eq!(
        [&ran["selected"], &ran["appended"], &ran["failed"]],
        [&json!(half), &json!(half), &json!(0)]
    );
    // Saying it again is harmless.
    let again = site.done(&workers[0], &run);
    let moved = again["skipped"]["moved_on"].as_u64().unwrap()
        + again["skipped"]["settled"].as_u64().unwrap()
        + again["appended"].as_u64().unwrap();
    assert_eq!(moved, half as u64);

    // The other half is settled by hand, one by one.
    let began = Instant::now();
    for (n, order) in by_hand.iter().enumerate() {
        let number = number_of(order);
        let worker = &workers[n % 2];
        if n < 3 {
            let order = format!("stuck/{number}");
            let settle = ["order", "settle", &order, "--status", "2"];
            let said = ["--reason", "bank letter 4471", "--actor", "li.wei"];
            site.done(worker, &[&settle[..], &said].concat());
            continue;
        }
        let body = json!({"status": "2", "actor": "li.wei", "reason": "bank letter 4471"});
        let path = format!("/v1/orders/stuck/{number}/settle");
        let (status, receipt) = post(worker, &path, &body).await;
        assert_eq!(status, 202, "{receipt}");
    }
    let settled_in = began.elapsed();

    // Every one ends in exactly one resolution.
    let mut tail = site.tail();
    tail.wait_for(count, WITHIN);
    site.at_rest().await;
    let resolutions = site.resolutions();
    assert_eq!(resolutions.len(), count);
    for (order, status) in [(&requeued[0], "1"), (&by_hand[0], "2")] {
        assert_eq!(resolutions[&format!("stuck/{}", number_of(order))], status);
    }
    let ones = resolutions.values().filter(|status| *status == "1").count();
    assert_eq!(ones, half);
    assert!(site.dead_letters().is_empty());

    // Who and why stands in the log.
    let commands = site.commands();
    let said = |command: &str, actor: &str, reason: &str| {
        let of = commands.iter().filter(|event| event["command"] == command);
        let of: Vec<_> = of.collect();
        for event in &of {
            let who = [&event["actor"], &event["reason"], &event["source"]];
            assert_eq!(who, [actor, reason, "operator"], "{event}");
        }
        let distinct: BTreeSet<_> = of.iter().map(|event| number_of(event)).collect();
        distinct.len()
    };
    assert_eq!(said("requeue", "zhang.san", "bank repaired"), half);
    assert_eq!(said("settle", "li.wei", "bank letter 4471"), count - half);
    refusals(&site, &workers[0], &number_of(&requeued[0])).await;
    one_history(&site, &number_of(&requeued[0]));

    for worker in &mut workers {
        worker.process.terminate(Duration::from_secs(10)).await;
        assert!(!worker.process.log().contains(TOKEN));
    }
    let (began, alarms) = one_alarm_each(&workers, count as u64);
    println!(
        "figure: operators: {count} orders exhausted within {exhausted_in:.2?}, {alarms} alarm lines, \
         the first of {began}; \
         {half} requeued by filter in {requeued_in:.2?}, {} settled by hand in {settled_in:.2?}; \
         {} resolutions, {} commands with actor and reason",
        count - half,
        resolutions.len(),
        commands.len()
    );
}

/// Of all the exhausted orders each worker's log has one alarm that began, and no more lines than
/// minutes; their counts add up to `count`. The counts of the first lines, and how many lines.
fn one_alarm_each(workers: &[Worker], count: u64) -> (String, usize) {
    let (mut first, mut lines, mut counted) = (Vec::new(), 0, 0);
    for worker in workers {
        let log = worker.process.log_lines();
        let of = |line: &&Value| line["alarm"] == "exhausted";
        let own: Vec<_> = log.iter().filter(of).collect();
        let stages: Vec<_> = own.iter().map(|line| line["stage"].as_str()).collect();
        assert_eq!(stages[0], Some("began"), "{own:#?}");
        let began = stages.iter().filter(|stage| **stage == Some("began"));
        assert_eq!(began.count(), 1, "{own:#?}");
        for line in &own {
            assert_eq!(line["order.type"], "stuck");
            assert_eq!(line["target"], "settled::alarm");
            counted += line["count"].as_u64().unwrap();
        }
        let example = own[0]["example"].as_str().unwrap();
        assert!(example.starts_with("stuck/TX"), "{example}");
        first.push(own[0]["count"].to_string());
        lines += own.len();
    }
    assert_eq!(counted, count);
    (first.join(" and "), lines)
}

/// One order's life: its event, its question, its end of schedule, the requeue, the question that
/// brought an answer, and the result.
fn one_history(site: &Site, number: &str) {
    let order = format!("stuck/{number}");
    let logs = ["one.log", "two.log"].map(|log| site.file(log).display().to_string());
    let show = [
        "order", "show", &order, "--json", "--log", &logs[0], "--log", &logs[1],
    ];
    let ran = site.settled(&show);
    assert!(ran.status.success(), "{ran:?}");
    site.names
        .book
        .validate("order-history", &ran.stdout)
        .unwrap();
    let history: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let count = |what: &str| history[what].as_array().unwrap().len();
    assert_eq!(history["state"], "settled");
    assert_eq!(history["complete"], true);
    assert_eq!(history["events"][0]["event"]["status"], "3");
    assert_eq!(history["events"][1]["event"]["actor"], "zhang.san");
    let outcomes: Vec<_> = history["results"].as_array().unwrap().iter().collect();
    let outcomes: Vec<_> = outcomes.iter().map(|at| &at["result"]["outcome"]).collect();
    assert_eq!(outcomes, ["exhausted", "settled"]);
    assert!(count("questions") >= 2, "{history}");
    let last = &history["questions"].as_array().unwrap()[count("questions") - 1];
    assert_eq!(last["answer"], "success");
    let plain = site.settled(&["order", "show", &order]);
    let plain = String::from_utf8(plain.stdout).unwrap();
    let first = format!("{order}: settled with status 1\n");
    assert!(plain.starts_with(&first), "{plain}");
}

/// What is no order to requeue is refused in one line, and what has no token gets nothing.
async fn refusals(site: &Site, worker: &Worker, settled_number: &str) {
    let settled = format!("stuck/{settled_number}");
    let said = ["--reason", "try", "--actor", "li.wei"];
    let requeue = |order| [&["order", "requeue", order][..], &said].concat();
    site.refused(
        worker,
        &requeue(&settled),
        "settled: the order is settled with status 1",
    );
    site.refused(worker, &requeue("stuck/NONE"), "unknown-order: ");
    site.refused(worker, &requeue("nobodys/NONE"), "unknown-type: ");
    let otherwise = [&["order", "settle", &settled, "--status", "2"][..], &said].concat();
    site.refused(worker, &otherwise, "settled: ");
    let alike = [&["order", "settle", &settled, "--status", "1"][..], &said].concat();
    assert_eq!(site.done(worker, &alike)["already"], true);
    for path in ["/v1/exhausted", "/v1/types"] {
        assert_eq!(get(worker.admin, path).await.status, 401, "{path}");
    }
    for path in [
        "/v1/exhausted:settle",
        "/v1/orders",
        "/v1/types/stuck/pause",
    ] {
        let reply = send(worker.admin, "POST", path, b"{}").await;
        assert_eq!(reply.status, 401, "{path}");
    }
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(get(worker.admin, path).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn a_paused_type_is_not_asked_anywhere_until_it_is_resumed() {
    let owner = Owner::start().await;
    let types = format!(
        r#"
[order_types.paused]
query = {{ url = "http://{0}/query" }}
schedule = {{ in_progress = ["200ms x 1000"] }}
[order_types.other]
query = {{ url = "http://{0}/query" }}
schedule = {{ in_progress = ["200ms x 1000"] }}
"#,
        owner.at
    );
    let Some(site) = Site::create("pauses", 4, &types) else {
        return;
    };
    let one = site.guarded_worker("one").await;
    let mut two = site.guarded_worker("two").await;
    site.all_open(&[&one, &two]).await;
    let numbers: Vec<_> = (0..16).map(|n| format!("P{n}")).collect();
    let orders = numbers.iter().map(|number| event("paused", number, "3"));
    site.publish(&orders.collect::<Vec<_>>());
    let asked = |owner: &Owner| -> usize {
        numbers
            .iter()
            .map(|number| owner.questions(number).len())
            .sum()
    };
    eventually("all are asked", WITHIN, async || {
        let each = numbers
            .iter()
            .all(|number| !owner.questions(number).is_empty());
        each.then_some(())
    })
    .await;

    let said = ["--reason", "bank down", "--actor", "li.wei"];
    let pause = [&["type", "pause", "paused"][..], &said].concat();
    assert_eq!(site.done(&one, &pause)["paused"], true);
    let shows = async |worker: &Worker, paused: u64| {
        eventually("the metric follows", WITHIN, async || {
            let page = Page::of(worker.admin).await;
            let shown = page.sum("settled_type_paused", &[("type", "paused")]);
            (shown == paused).then_some(())
        })
        .await;
    };
    shows(&one, 1).await;
    shows(&two, 1).await;
    let stands = quiet_for(&owner, &asked, Duration::from_secs(2)).await;
    let attempts = async |worker: &Worker| {
        let looked = get(worker.api, "/v1/orders/paused/P1").await.json();
        looked["asked"].as_u64().unwrap()
    };
    let spent = attempts(&one).await;
    assert_eq!(spent, owner.questions("P1").len() as u64);

    // Neither a restart nor a wiped Redis forgets it.
    two.process.terminate(Duration::from_secs(10)).await;
    let two = site.guarded_worker("two-again").await;
    site.all_open(&[&one, &two]).await;
    shows(&two, 1).await;
    assert_eq!(attempts(&two).await, spent, "no attempt is spent");
    let () = redis::cmd("FLUSHALL").query(&mut site.redis()).unwrap();
    eventually("the word is put back", WITHIN, async || {
        let word: Option<String> = redis::cmd("HGET")
            .arg(&["paused", "paused"])
            .query(&mut site.redis())
            .unwrap();
        word
    })
    .await;
    site.all_open(&[&one, &two]).await;
    // Other types are asked meanwhile, and a caller hears why this one is not.
    site.publish(&[event("other", "O", "3")]);
    eventually("another type is asked", WITHIN, async || {
        (owner.questions("O").len() > 3).then_some(())
    })
    .await;
    let caller = get(two.api, "/v1/orders/paused/P0").await.json();
    assert_eq!(caller["known"], true);
    let reason = caller["reason"].as_str().unwrap();
    assert!(reason.contains("paused"), "{reason}");
    assert_eq!(asked(&owner), stands, "not one question while it is paused");
    let listed = site.done(&two, &["type", "list"]);
    let of = |name: &str| {
        let mut types = listed["types"].as_array().unwrap().iter();
        types.find(|entry| entry["type"] == name).unwrap().clone()
    };
    let entry = of("paused");
    assert_eq!(
        [
            &entry["paused"],
            &entry["pending"],
            &entry["actor"],
            &entry["reason"]
        ],
        [
            &json!(true),
            &json!(16),
            &json!("li.wei"),
            &json!("bank down")
        ]
    );
    assert_eq!(of("other")["paused"], false);

    let resume = [&["type", "resume", "paused"][..], &said].concat();
    assert_eq!(site.done(&two, &resume)["paused"], false);
    for number in &numbers {
        owner.says(number, "1");
    }
    let mut tail = site.tail();
    tail.wait_for(numbers.len(), WITHIN);
    shows(&one, 0).await;
}

/// Waits until no question has come for so long; gives how many there were.
async fn quiet_for(owner: &Owner, asked: &impl Fn(&Owner) -> usize, quiet: Duration) -> usize {
    let (mut stands, mut since) = (asked(owner), Instant::now());
    eventually("nobody asks any more", WITHIN, || {
        let now = asked(owner);
        if now != stands {
            (stands, since) = (now, Instant::now());
        }
        std::future::ready((since.elapsed() > quiet).then_some(stands))
    })
    .await
}
