//! What became of many orders, made out from outside: the events, the owner's own log of questions
//! and the results in both isolation modes. Knows schedules only as its caller tells them, and the
//! daemon not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::checker::Site;
use crate::support::topics::{Isolation, Seen, read_raw};

/// What a record of order-events begins with that is no event, and is none of any order.
pub const GARBAGE: &[u8] = b"garbage";

/// How an order type is asked about: the delay before each question, and the number of the one that
/// ends the order.
pub struct Pace {
    /// In milliseconds.
    pub delay_ms: i64,
    /// The question after which there is a result.
    pub ended_by: i64,
}

/// What the judge is told beside what it reads.
pub struct Case<'a> {
    /// Every order that was published.
    pub orders: &'a BTreeSet<String>,
    /// By order type.
    pub paces: &'a BTreeMap<&'a str, Pace>,
    /// The owner's log: a JSON object a line.
    pub questions: &'a str,
    /// What callers were told to be final.
    pub told: &'a BTreeMap<String, String>,
    /// Events that are in their log no longer, each once.
    pub gone: &'a [Seen],
}

/// What came out: broken promises by the order's name, and figures.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Published, and without a committed result.
    pub lost: Vec<String>,
    /// A second committed result under the same id.
    pub repeated: Vec<String>,
    /// Two statuses, another one than a caller was told to be final, or exhausted after the end.
    pub contradicted: Vec<String>,
    /// A result, in either isolation mode, that nothing said accounts for.
    pub phantom: Vec<String>,
    /// A question before its time.
    pub early: Vec<String>,
    /// How much later than without faults the latest result came.
    pub stall: Duration,
    /// Orders with an event.
    pub orders: usize,
    /// Committed results.
    pub results: usize,
    /// Results that only a reader of uncommitted records sees.
    pub aborted: usize,
    /// Questions to the owner.
    pub questions: usize,
}

/// One order's history.
#[derive(Debug, Default)]
struct Order {
    /// Append time of its first event.
    first_ms: Option<i64>,
    /// Append time of its first terminal event.
    ended_ms: Option<i64>,
    /// Terminal statuses that an event or the owner said.
    said: BTreeSet<String>,
    /// When the owner first gave a terminal answer.
    answered_ms: Option<i64>,
    /// Attempt and arrival of the schedule's questions.
    asked: Vec<(i64, i64)>,
    /// The committed results in the order of the log, and when each was appended.
    results: Vec<(Value, i64)>,
}

/// The owner's clock, the broker's and the view's are one machine's, cut to milliseconds.
const CLOCKS_MS: i64 = 2;

/// What the topics hold.
#[derive(Debug, Default)]
struct Topics {
    events: Vec<Seen>,
    /// As a reader of committed records sees them.
    committed: Vec<Seen>,
    /// As everybody else does.
    uncommitted: Vec<Seen>,
}

/// Judges a site at rest.
pub fn judge(site: &Site, case: &Case<'_>) -> Verdict {
    let (bootstrap, names) = (&site.broker.bootstrap, &site.names);
    let read = |topic, isolation| names.read(bootstrap, topic, isolation);
    let mut events = read_raw(bootstrap, &names.events, Isolation::Committed);
    events.retain(|event| !is_garbage(event));
    for event in &events {
        let value = event.value.as_deref().unwrap_or_default();
        names.hold(&names.events, value, &event.headers);
    }
    // Held against their keys, partitions and ids.
    drop(site.results(Isolation::Uncommitted));
    weigh(
        &Topics {
            events,
            committed: read(&names.results, Isolation::Committed),
            uncommitted: read(&names.results, Isolation::Uncommitted),
        },
        case,
    )
}

fn weigh(topics: &Topics, case: &Case<'_>) -> Verdict {
    let mut orders: BTreeMap<String, Order> = BTreeMap::new();
    for name in case.orders {
        orders.entry(name.clone()).or_default();
    }
    for record in case.gone.iter().chain(&topics.events) {
        let event = value(record);
        let order = orders.entry(name(&event)).or_default();
        order.first_ms = Some(order.first_ms.map_or(record.time, |at| at.min(record.time)));
        let status = text(&event, "status");
        if ["1", "2"].contains(&status) {
            order.said.insert(status.to_owned());
            order.ended_ms.get_or_insert(record.time);
        }
    }
    let mut verdict = Verdict::default();
    for line in case.questions.lines() {
        let question: Value = serde_json::from_str(line).unwrap();
        let order = orders
            .entry(text(&question, "order").to_owned())
            .or_default();
        let arrived = question["arrived"].as_i64().unwrap();
        if let Some(attempt @ 1..) = question["attempt"].as_i64() {
            order.asked.push((attempt, arrived));
        }
        let given = text(&question, "given");
        if ["1", "2"].contains(&given) {
            order.said.insert(given.to_owned());
            order.answered_ms.get_or_insert(arrived);
        }
        verdict.questions += 1;
    }
    for record in &topics.uncommitted {
        let result = value(record);
        let accounted = orders
            .get(&name(&result))
            .is_some_and(|order| order.accounts_for(&result));
        if !accounted {
            verdict.phantom.push(result.to_string());
        }
    }
    verdict.results = topics.committed.len();
    verdict.aborted = topics.uncommitted.len().saturating_sub(verdict.results);
    for record in &topics.committed {
        let result = value(record);
        let order = orders.entry(name(&result)).or_default();
        order.results.push((result, record.time));
    }
    verdict.orders = orders.len();
    for (name, order) in &orders {
        let pace = name
            .split_once('/')
            .and_then(|(kind, _)| case.paces.get(kind));
        verdict.judge(name, order, pace, case.told.get(name));
    }
    verdict
}

impl Order {
    /// Whether something was said that this result may come from.
    fn accounts_for(&self, result: &Value) -> bool {
        let has_event = self.first_ms.is_some();
        if text(result, "outcome") == "settled" {
            return has_event && self.said.contains(text(result, "status"));
        }
        // Every attempt that it counts was a question that the owner got.
        let attempts: BTreeSet<i64> = self.asked.iter().map(|(attempt, _)| *attempt).collect();
        let asked = result["asked"].as_u64().unwrap();
        has_event && asked >= 1 && attempts.len() as u64 >= asked
    }

    /// When its result would have come without faults, as far as `pace` tells.
    fn ideal_ms(&self, pace: &Pace) -> Option<i64> {
        let by_schedule = self.first_ms? + pace.delay_ms * pace.ended_by;
        Some(self.ended_ms.map_or(by_schedule, |at| at.min(by_schedule)))
    }
}

impl Verdict {
    /// The broken promises by their names.
    pub fn broken(&self) -> [(&'static str, &Vec<String>); 5] {
        [
            ("lost", &self.lost),
            ("repeated", &self.repeated),
            ("contradicted", &self.contradicted),
            ("phantom", &self.phantom),
            ("early", &self.early),
        ]
    }

    fn judge(&mut self, name: &str, order: &Order, pace: Option<&Pace>, told: Option<&String>) {
        let tell = |what: &dyn std::fmt::Debug| format!("{name}: {what:?}");
        if order.first_ms.is_some() && order.results.is_empty() {
            self.lost.push(tell(order));
        }
        let mut ids = BTreeSet::new();
        let mut settled: Option<&str> = told.map(String::as_str);
        for (result, at) in &order.results {
            if !ids.insert(text(result, "id")) {
                self.repeated.push(tell(order));
            }
            if text(result, "outcome") == "settled" {
                let status = text(result, "status");
                if settled.is_some_and(|before| before != status) {
                    self.contradicted.push(tell(order));
                }
                settled = Some(status);
            } else if order
                .results
                .first()
                .is_some_and(|(first, _)| text(first, "outcome") == "settled")
                || order
                    .answered_ms
                    .is_some_and(|answered| answered + CLOCKS_MS < *at)
            {
                self.contradicted.push(tell(order));
            }
        }
        let (Some(pace), Some(first_ms)) = (pace, order.first_ms) else {
            return;
        };
        for (attempt, arrived) in &order.asked {
            if arrived + CLOCKS_MS < first_ms + attempt * pace.delay_ms {
                self.early.push(tell(order));
            }
        }
        if let (Some((_, at)), Some(ideal)) = (order.results.first(), order.ideal_ms(pace)) {
            let late = Duration::from_millis(at.saturating_sub(ideal).max(0).unsigned_abs());
            self.stall = self.stall.max(late);
        }
    }
}

/// Whether a record of order-events is no event.
pub fn is_garbage(record: &Seen) -> bool {
    let value = record.value.as_deref().unwrap_or_default();
    value.starts_with(GARBAGE)
}

fn value(record: &Seen) -> Value {
    serde_json::from_slice(record.value.as_deref().unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn name(value: &Value) -> String {
    format!("{}/{}", text(value, "type"), text(value, "reqNO"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A clean history of one order: published at 1000, asked twice, settled.
    struct History {
        topics: Topics,
        questions: Vec<Value>,
        told: BTreeMap<String, String>,
        gone: Vec<Seen>,
    }

    fn record(time: i64, value: &Value) -> Seen {
        Seen {
            partition: 0,
            offset: 0,
            time,
            key: None,
            value: Some(value.to_string().into_bytes()),
            headers: Vec::new(),
        }
    }

    fn event(time: i64, status: &str) -> Seen {
        record(time, &json!({"type": "t", "reqNO": "A", "status": status}))
    }

    fn settled(status: &str) -> Seen {
        let id = "settled";
        record(
            2_500,
            &json!({"id": id, "type": "t", "reqNO": "A", "outcome": id, "status": status, "asked": 2}),
        )
    }

    fn exhausted(time: i64, asked: u64) -> Seen {
        let id = "exhausted/0";
        record(
            time,
            &json!({"id": id, "type": "t", "reqNO": "A", "outcome": "exhausted", "asked": asked}),
        )
    }

    fn question(attempt: u64, arrived: i64, given: &str) -> Value {
        json!({"order": "t/A", "attempt": attempt, "arrived": arrived, "given": given})
    }

    impl History {
        fn clean() -> Self {
            Self {
                topics: Topics {
                    events: vec![event(1_000, "3")],
                    committed: vec![settled("1")],
                    uncommitted: vec![settled("1")],
                },
                questions: vec![question(1, 1_700, "3"), question(2, 2_400, "1")],
                told: BTreeMap::new(),
                gone: Vec::new(),
            }
        }

        /// Which promises are broken, and how late it was.
        fn weighed(&self) -> (Vec<&'static str>, u128) {
            let lines: Vec<String> = self.questions.iter().map(Value::to_string).collect();
            let verdict = weigh(
                &self.topics,
                &Case {
                    orders: &["t/A".to_owned()].into(),
                    paces: &[(
                        "t",
                        Pace {
                            delay_ms: 700,
                            ended_by: 2,
                        },
                    )]
                    .into(),
                    questions: &lines.join("\n"),
                    told: &self.told,
                    gone: &self.gone,
                },
            );
            let broken = verdict
                .broken()
                .into_iter()
                .filter(|(_, of)| !of.is_empty());
            (
                broken.map(|(name, _)| name).collect(),
                verdict.stall.as_millis(),
            )
        }
    }

    fn broken(change: impl FnOnce(&mut History)) -> Vec<&'static str> {
        let mut history = History::clean();
        change(&mut history);
        history.weighed().0
    }

    #[test]
    fn a_clean_history_breaks_nothing_and_says_how_late_it_was() {
        assert_eq!(History::clean().weighed(), (vec![], 100));
    }

    #[test]
    fn an_aborted_copy_breaks_nothing() {
        let again = |history: &mut History| history.topics.uncommitted.push(settled("1"));
        assert_eq!(broken(again), Vec::<&str>::new());
    }

    #[test]
    fn an_order_without_a_committed_result_is_lost() {
        assert_eq!(broken(|history| history.topics.committed.clear()), ["lost"]);
    }

    #[test]
    fn a_second_committed_result_is_repeated() {
        let again = |history: &mut History| history.topics.committed.push(settled("1"));
        assert_eq!(broken(again), ["repeated"]);
    }

    #[test]
    fn another_status_than_was_published_or_told_is_contradicted() {
        let other = |history: &mut History| {
            history.topics.events.push(event(2_000, "2"));
            history.topics.committed.push(settled("2"));
        };
        assert_eq!(broken(other), ["repeated", "contradicted"]);
        let told = |history: &mut History| drop(history.told.insert("t/A".into(), "2".into()));
        assert_eq!(broken(told), ["contradicted"]);
    }

    #[test]
    fn exhausted_after_the_end_is_contradicted() {
        let after = |history: &mut History| history.topics.committed.push(exhausted(2_600, 2));
        assert_eq!(broken(after), ["contradicted"]);
        let answered = |history: &mut History| history.topics.committed = vec![exhausted(2_600, 2)];
        assert_eq!(broken(answered), ["contradicted"]);
    }

    #[test]
    fn a_result_that_nobody_said_is_phantom_even_when_it_was_aborted() {
        for result in [settled("2"), exhausted(2_300, 3)] {
            let nobody = |history: &mut History| history.topics.uncommitted.push(result);
            assert_eq!(broken(nobody), ["phantom"]);
        }
        let gone = |history: &mut History| history.gone.append(&mut history.topics.events);
        assert_eq!(broken(gone), Vec::<&str>::new(), "it was there");
        // Without an event there is nothing to be lost.
        let eventless = |history: &mut History| history.topics.events.clear();
        assert_eq!(broken(eventless), ["phantom"]);
    }

    #[test]
    fn a_question_before_its_time_is_early() {
        let early = |history: &mut History| history.questions[0] = question(1, 1_690, "3");
        assert_eq!(broken(early), ["early"]);
        let early = |history: &mut History| history.questions[1] = question(2, 2_390, "1");
        assert_eq!(broken(early), ["early"]);
    }
}
