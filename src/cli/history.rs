//! `settled order show`: one order's events, questions and results, in the order of time.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::order::ShowArgs;
use super::reach::text;
use super::{Failure, print, work};
use crate::app::history::{self, Entry, History};
use crate::config::Config;
use crate::domain::order::OrderKey;
use crate::domain::status::Status;
use crate::domain::wire_time;
use crate::store::script::Found;

/// Prints the history of an order.
pub(super) fn show(config: &Config, args: &ShowArgs) -> Result<(), Failure> {
    work::on_runtime(async |stop| {
        let mut questions = Vec::new();
        for file in &args.logs {
            questions.extend(history::questions(file, &args.order)?);
        }
        let read = stop.run_until_cancelled(history::read(config, &args.order));
        let Some(history) = read.await else {
            return Err(anyhow::anyhow!("stopped before it was done").into());
        };
        let history = History {
            questions,
            ..history?
        };
        print(&if args.json {
            format!("{}\n", document(&args.order, &history))
        } else {
            lines(&args.order, &history)
        })
    })
}

fn document(key: &OrderKey, history: &History) -> Value {
    let entry = |entry: &Entry, name: &str| {
        let mut shown = json!({
            "partition": entry.partition,
            "offset": entry.offset,
            "appendedAt": wire_time::format(entry.appended),
        });
        shown[name] = entry.value.clone();
        shown
    };
    let all = |entries: &[Entry], name: &str| -> Vec<_> {
        entries.iter().map(|one| entry(one, name)).collect()
    };
    json!({
        "v": 1,
        "type": key.order_type.as_str(),
        "reqNO": key.req_no.as_str(),
        "state": state(history).0,
        "events": all(&history.events, "event"),
        "questions": history.questions,
        "results": all(&history.results, "result"),
        "complete": history.stopped.is_empty(),
    })
}

/// In a word, and in a sentence.
fn state(history: &History) -> (&'static str, String) {
    match &history.state {
        Some(Found::Settled { status, .. }) => {
            let code = Status::from(*status).code();
            ("settled", format!("settled with status {code}"))
        }
        Some(Found::Open { record, .. }) => {
            let (phase, asked) = (record.phase, record.asked);
            let last = Status::from(record.last).code();
            let word = if record.exhausted {
                "exhausted"
            } else {
                "pending"
            };
            (
                word,
                format!("{word} in phase {phase}, asked {asked} times, last status {last}"),
            )
        }
        Some(Found::Unknown) | None => ("unknown", "not known, or not any more".to_owned()),
    }
}

fn lines(key: &OrderKey, history: &History) -> String {
    let mut lines = Vec::new();
    for event in &history.events {
        lines.push((wire_time::format(event.appended), said(event)));
    }
    for question in &history.questions {
        let at = text(question, "timestamp");
        lines.push((at, asked(question)));
    }
    for result in &history.results {
        lines.push((wire_time::format(result.appended), became(result)));
    }
    // Both forms of a time begin alike, down to the millisecond.
    lines.sort_by(|(one, _), (other, _)| one.get(..23).cmp(&other.get(..23)));
    let mut out = format!("{key}: {}\n", state(history).1);
    for (at, line) in lines {
        let at = at.get(..23).unwrap_or(&at);
        writeln!(out, "{at}Z  {line}").unwrap_or_default();
    }
    for stopped in &history.stopped {
        writeln!(out, "stopped early: {stopped}").unwrap_or_default();
    }
    out
}

fn said(entry: &Entry) -> String {
    let event = &entry.value;
    let mut line = match event["command"].as_str() {
        Some("requeue") => format!("event     requeue into phase {}", text(event, "phase")),
        Some(_) => format!("event     settle with status {}", text(event, "status")),
        None => format!("event     status {}", text(event, "status")),
    };
    write!(line, " by {}", text(event, "source")).unwrap_or_default();
    if !event["actor"].is_null() {
        let (actor, reason) = (text(event, "actor"), text(event, "reason"));
        write!(line, " {actor}: {reason}").unwrap_or_default();
    }
    format!("{line}  [{}/{}]", entry.partition, entry.offset)
}

fn asked(question: &Value) -> String {
    let who = match question["attempt"].as_u64() {
        Some(0) | None => "a caller".to_owned(),
        Some(attempt) => format!("attempt {attempt}"),
    };
    let took_ms = question["took_us"].as_u64().unwrap_or(0) / 1000;
    let trace = match question["traceparent"].as_str() {
        Some(_) => format!("  {}", text(question, "traceparent")),
        None => String::new(),
    };
    let answer = text(question, "answer");
    format!("question  {who}: {answer} after {took_ms} ms{trace}")
}

fn became(entry: &Entry) -> String {
    let result = &entry.value;
    let (outcome, status) = (text(result, "outcome"), text(result, "status"));
    let (source, phase) = (text(result, "source"), text(result, "phase"));
    format!(
        "result    {outcome}, status {status} by {source} in phase {phase}  [{}/{}]",
        entry.partition, entry.offset
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: u64, appended: u64, value: Value) -> Entry {
        Entry {
            partition: 3,
            offset,
            appended,
            value,
        }
    }

    #[test]
    fn a_history_reads_from_the_first_event_to_the_result() {
        let history = History {
            state: Some(Found::Unknown),
            events: vec![
                entry(7, 1_000, json!({"status": "3", "source": "pay-core"})),
                entry(
                    9,
                    5_000,
                    json!({"command": "requeue", "phase": 1, "source": "operator",
                        "actor": "li.wei", "reason": "bank\nrepaired"}),
                ),
            ],
            questions: vec![
                json!({"timestamp": "1970-01-01T00:00:02.000123Z", "attempt": 1,
                "answer": "in_progress", "took_us": 12_345}),
            ],
            results: vec![entry(
                1,
                3_000,
                json!({"outcome": "exhausted", "status": "3", "source": "schedule", "phase": 0}),
            )],
            stopped: vec!["Events".to_owned()],
        };
        let key = OrderKey::parse("transfer/TX1").unwrap();
        let expected = "\
transfer/TX1: not known, or not any more
1970-01-01T00:00:01.000Z  event     status 3 by pay-core  [3/7]
1970-01-01T00:00:02.000Z  question  attempt 1: in_progress after 12 ms
1970-01-01T00:00:03.000Z  result    exhausted, status 3 by schedule in phase 0  [3/1]
1970-01-01T00:00:05.000Z  event     requeue into phase 1 by operator li.wei: \"bank\\nrepaired\"  [3/9]
stopped early: Events
";
        assert_eq!(lines(&key, &history), expected);
        let document = document(&key, &history);
        assert_eq!(document["events"][1]["event"]["phase"], 1);
        assert_eq!(document["complete"], false);
    }
}
