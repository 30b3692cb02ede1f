//! The table: every row's order published at once, and judged when all is said that will be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::json;

use crate::checker::logs::Published;
use crate::checker::process::Bank;
use crate::elsewhere::{Forbidden, Watch};
use crate::plain_http::get;
use crate::rows::{Outcome, Row, all};
use crate::support::process::free_ports;
use crate::support::topics::Isolation;
use crate::{Desk, Question, WITHIN, counted, questions};

/// The number of every row's order.
const NUMBER: &str = "TX1";

/// The configuration of the rows' types.
fn types(bank: &Bank, closed: u16) -> String {
    let mut types = String::new();
    for row in all() {
        let url = match row.name {
            "no-listener" => format!("http://127.0.0.1:{closed}/"),
            "no-tls" => format!("https://{}/", bank.at),
            _ => format!("http://{}/", bank.at),
        };
        let (name, query) = (row.name, row.query);
        // Where silence is not the point, a slow machine must not look like it.
        let timeout = match name.split_once('-') {
            Some(("drip" | "hang", _)) => "2s",
            _ => "20s",
        };
        writeln!(
            types,
            "[order_types.{name}]\n\
             query = {{ url = \"{url}\", timeout = \"{timeout}\"{query} }}\n\
             schedule = {{ in_progress = [\"200ms x 2\"], unknown = [\"200ms x 1\"] }}"
        )
        .unwrap();
    }
    types
}

/// What the bank is told of the rows. Redirects lead to the forbidden place once and to the metadata
/// address ever.
fn behaviours(target: SocketAddr) -> Vec<String> {
    let mut behaviours = vec![r#"{"in_progress":0,"failures":0,"retry_after":"2s"}"#.to_owned()];
    behaviours.extend(all().iter().map(|row| {
        let mut behaviour = format!("{{\"orders\":\"{}/\"", row.name);
        if row.name.ends_with("-once") {
            write!(behaviour, ",\"redirect\":\"{target}\"").unwrap();
        }
        if !row.behaviour.is_empty() {
            write!(behaviour, ",{}", row.behaviour).unwrap();
        }
        behaviour + "}"
    }));
    behaviours
}

/// What became of one row.
#[derive(Debug)]
struct Seen {
    questions: Vec<Question>,
    counted: BTreeMap<String, u64>,
    result: Outcome,
}

impl Seen {
    /// Whether it is what its row says.
    fn fits(&self, row: &Row) -> bool {
        let attempts: Vec<u64> = self.questions.iter().map(|one| one.attempt).collect();
        let expected = row
            .counted
            .iter()
            .map(|(label, n)| ((*label).to_owned(), *n));
        let expected: BTreeMap<_, _> = expected.collect();
        self.result == row.result
            && match row.result {
                Outcome::Nothing => {
                    attempts.starts_with(row.attempts)
                        && attempts.iter().all(|attempt| *attempt == 1)
                        && self.counted.keys().eq(expected.keys())
                        && self.counted.values().ge(expected.values())
                }
                _ => attempts == row.attempts && self.counted == expected,
            }
    }
}

async fn seen(desk: &Desk) -> BTreeMap<&'static str, Seen> {
    let mut questions = questions(&desk.bank).await;
    let results = desk.site.results(Isolation::Committed);
    let mut seen = BTreeMap::new();
    for row in all() {
        let order = format!("{}/{NUMBER}", row.name);
        let about = questions.extract_if(.., |question| question.order == order);
        let about: Vec<_> = about.collect();
        let published: Vec<_> = results.iter().filter(|one| one.key == order).collect();
        let one = Seen {
            questions: about,
            counted: counted(&desk.worker, row.name).await,
            result: result(&published),
        };
        seen.insert(row.name, one);
    }
    seen
}

fn result(published: &[&Published]) -> Outcome {
    assert!(published.len() <= 1, "more than one result: {published:?}");
    let Some(one) = published.first() else {
        return Outcome::Nothing;
    };
    // The status as the rows write it.
    let status = match one.text("status") {
        "1" => "1",
        "2" => "2",
        "3" => "3",
        _ => "4",
    };
    let asked = one.value["asked"].as_u64().unwrap();
    match one.text("outcome") {
        "settled" => Outcome::Settled(status, asked),
        _ => Outcome::Exhausted(status, asked),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn every_answer_and_every_trick_does_what_the_table_says_and_leads_nowhere_else() {
    let target = Forbidden::place().await;
    let proxy = Forbidden::place().await;
    let proxy_url = format!("http://{}", proxy.at);
    let variables = [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ]
    .map(|name| (name, proxy_url.as_str()));
    let [closed] = free_ports().unwrap();
    let behaviours = behaviours(target.at);
    let options: Vec<&str> = behaviours
        .iter()
        .flat_map(|behaviour| ["--behave", behaviour])
        .collect();
    let desk = Desk::open("hostile", &options, &variables, |bank| types(bank, closed)).await;
    let Some(mut desk) = desk else {
        return;
    };
    let served = [desk.worker.api.port(), desk.worker.admin.port()];
    let mut watch = Watch::on(desk.worker.process.pid(), served);
    let rows = all();
    desk.publish(
        rows.iter()
            .map(|row| (row.name.to_owned(), NUMBER.to_owned())),
    );

    let mut differ: Vec<String> = Vec::new();
    let deadline = tokio::time::Instant::now() + WITHIN;
    let seen = loop {
        let seen = seen(&desk).await;
        differ.clear();
        for row in rows.iter().filter(|row| !seen[row.name].fits(row)) {
            differ.push(format!("{row:?}\n  but {:?}", seen[row.name]));
        }
        if differ.is_empty() || tokio::time::Instant::now() > deadline {
            break seen;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    };
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    told(&rows, &seen);
    later(&seen);
    callers_are_not_misled(&desk, &rows).await;

    // Once more, after all that callers have caused.
    let results = desk.site.results(Isolation::Committed);
    let published = rows.iter().filter(|row| row.result != Outcome::Nothing);
    assert_eq!(results.len(), published.count());
    assert!(desk.site.dead_letters().is_empty());

    let allowed = |address: &SocketAddr| {
        let ports = [&desk.site.broker.bootstrap, &desk.site.redis.url];
        let ports = ports.map(|at| {
            let end = at.rsplit(':').next().unwrap();
            end.split('/').next().unwrap().parse().unwrap()
        });
        let ports = [ports[0], ports[1], desk.bank.at.port(), closed];
        address.ip().is_loopback() && ports.contains(&address.port())
    };
    let places = watch.seen();
    let elsewhere: Vec<_> = places.iter().filter(|place| !allowed(place)).collect();
    assert!(places.contains(&desk.bank.at), "the watch sees: {places:?}");
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert_eq!((target.came(), proxy.came()), (0, 0));
    println!(
        "figure: hostile: {} redirects answered, {} connections to their target, {} to the proxy of \
         the environment, {} seen elsewhere",
        redirects(&seen),
        target.came(),
        proxy.came(),
        elsewhere.len()
    );
    desk.worker.process.terminate(WITHIN).await;
}

fn redirects(seen: &BTreeMap<&str, Seen>) -> usize {
    let given = seen.values().flat_map(|one| &one.questions);
    given.filter(|one| one.given.starts_with("30")).count()
}

/// The table, for people.
fn told(rows: &[Row], seen: &BTreeMap<&str, Seen>) {
    for row in rows {
        let one = &seen[row.name];
        let given: Vec<&str> = one.questions.iter().map(|one| one.given.as_str()).collect();
        let attempts: Vec<u64> = one.questions.iter().map(|one| one.attempt - 1).collect();
        let after = match one.result {
            Outcome::Settled(_, asked) | Outcome::Exhausted(_, asked) => asked,
            Outcome::Nothing => 0,
        };
        let counted: Vec<String> = one
            .counted
            .iter()
            .map(|(label, n)| format!("{label} {n}"))
            .collect();
        println!(
            "figure: hostile: {}: given {}; attempts before each {attempts:?}, after {after}; \
             counted {}; published {:?}",
            row.name,
            given.join(" "),
            counted.join(", "),
            one.result
        );
    }
}

/// `Retry-After: 2` was obeyed where it was said.
fn later(seen: &BTreeMap<&str, Seen>) {
    for name in ["429-once", "429-ever", "503-once", "503-ever"] {
        for pair in seen[name].questions.windows(2) {
            let waited = pair[1].arrived - pair[0].arrived;
            assert!(waited >= 2_000, "{name}: {waited} ms");
        }
    }
}

/// Whoever asks for an order that hostile answers keep open hears nothing final, and that it had no
/// attempt where none was counted.
async fn callers_are_not_misled(desk: &Desk, rows: &[Row]) {
    let open = rows.iter().filter(|row| match row.result {
        Outcome::Settled(..) => false,
        Outcome::Exhausted(..) | Outcome::Nothing => true,
    });
    let calls = open.map(|row| async {
        let path = format!("/v1/orders/{}/{NUMBER}", row.name);
        let reply = get(desk.worker.api, &path).await;
        assert_eq!(reply.status, 200, "{}: {}", row.name, reply.body);
        let answer = reply.json();
        let attempts = match row.result {
            Outcome::Nothing => 0,
            Outcome::Settled(_, asked) | Outcome::Exhausted(_, asked) => asked,
        };
        assert_eq!(answer["final"], json!(false), "{}: {answer}", row.name);
        assert_eq!(answer["asked"], attempts, "{}: {answer}", row.name);
    });
    let called = futures_util::future::join_all(calls).await.len();
    println!("figure: hostile: {called} callers of open orders, none heard a final answer");
}
