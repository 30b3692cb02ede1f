//! The schemas, their examples and the code that reads and writes the wire agree.

#![expect(clippy::unwrap_used, reason = "what a test sets up must be there")]

#[path = "support/schemas.rs"]
mod schemas;

use std::fs;
use std::path::PathBuf;

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use schemas::SchemaBook;
use serde_json::{Value, json};
use settled::domain::answer::{Answer, Contract, Reply, judge};
use settled::domain::event::{Author, Body, Event, TerminalEvent, decode};
use settled::domain::order::{OrderKey, ReqNo, TypeName};
use settled::domain::result::{OrderResult, Outcome};
use settled::domain::status::{Open, Terminal};

/// The examples in a folder below `schemas/`: schema, path and text.
fn examples(folder: &str) -> Vec<(String, PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(SchemaBook::folder().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let file = path.file_name().unwrap().to_string_lossy();
            let (schema, _) = file.split_once('.').unwrap();
            (schema.to_owned(), path.clone(), fs::read(&path).unwrap())
        })
        .collect();
    found.sort();
    found
}

fn good() -> Vec<(String, PathBuf, Vec<u8>)> {
    examples("examples")
}

fn bad() -> Vec<(String, PathBuf, Vec<u8>)> {
    examples("examples/invalid")
}

/// Good and bad examples of one schema, by name.
fn both(schema: &str) -> Vec<(String, PathBuf, Vec<u8>)> {
    let mut all = good();
    all.extend(bad());
    all.retain(|(name, _, _)| name == schema);
    all
}

#[test]
fn every_schema_is_one_and_has_good_and_bad_examples() {
    let book = SchemaBook::open();
    assert!(book.names().count() >= 8);
    for name in book.names() {
        let path = SchemaBook::folder().join(format!("{name}.schema.json"));
        let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
        for (kind, examples) in [("good", good()), ("bad", bad())] {
            let has_one = examples.iter().any(|(schema, _, _)| schema == name);
            assert!(has_one, "{name} has no {kind} example");
        }
    }
}

#[test]
fn every_example_validates_and_every_invalid_one_fails() {
    let book = SchemaBook::open();
    for (schema, path, text) in good() {
        let valid = book.validate(&schema, &text);
        assert_eq!(valid, Ok(()), "{}", path.display());
    }
    assert!(book.to_string().ends_with(" 0 failed"), "{book}");
    assert_eq!(book.validated(), good().len() as u64);
    for (schema, path, text) in bad() {
        assert!(
            book.names().any(|name| name == schema),
            "{}",
            path.display()
        );
        let valid = book.validate(&schema, &text);
        assert!(valid.is_err(), "{}", path.display());
    }
    println!("{book}");
}

#[test]
fn what_the_event_schema_accepts_is_accepted() {
    let book = SchemaBook::open();
    for (_, path, text) in both("event") {
        let (valid, read) = (book.validate_event(&text), decode(&text));
        assert_eq!(valid.is_ok(), read.is_ok(), "{}: {read:?}", path.display());
    }
}

#[test]
fn schema_and_code_agree_about_every_damaged_event() {
    let book = SchemaBook::open();
    let mut accepted = 0;
    for (_, path, text) in both("event") {
        let event: Value = serde_json::from_slice(&text).unwrap();
        for field in EVENT_FIELDS {
            for value in near_misses() {
                let mut event = event.clone();
                let Some(fields) = event.as_object_mut() else {
                    continue;
                };
                fields.insert(field.to_owned(), value);
                let text = event.to_string();
                let (valid, read) = (
                    book.validate_event(text.as_bytes()),
                    decode(text.as_bytes()),
                );
                let agree = valid.is_ok() == read.is_ok();
                assert!(agree, "{}: {valid:?} {read:?}", path.display());
                accepted += u32::from(read.is_ok());
            }
        }
    }
    assert!(
        accepted > 1000,
        "only {accepted} accepted: too few to compare"
    );
}

#[test]
fn result_examples_are_what_we_write() {
    let book = SchemaBook::open();
    for (_, path, text) in both("result") {
        let valid = book.validate("result", &text);
        if let Some(result) = OrderResult::decode(&text, None) {
            // What lacks only what nobody reads back is still none of ours.
            let example: Value = serde_json::from_slice(&text).unwrap();
            let written: Value = serde_json::from_slice(&result.encode()).unwrap();
            assert_eq!(valid.is_ok(), example == written, "{}", path.display());
        } else {
            assert!(valid.is_err(), "{}", path.display());
        }
    }
}

#[test]
fn what_the_documents_show_of_the_wire_is_as_we_read_and_write_it() {
    let book = SchemaBook::open();
    for document in ["README.md", "docs/BUSINESS.md"] {
        let text = fs::read_to_string(SchemaBook::folder().join("..").join(document)).unwrap();
        for line in text.lines().filter(|line| line.starts_with("{\"v\":1,")) {
            if line.contains("\"outcome\"") {
                let result = OrderResult::decode(line.as_bytes(), None).unwrap();
                assert_eq!(String::from_utf8_lossy(&result.encode()), line);
                book.validate("result", line.as_bytes()).unwrap();
            } else {
                assert!(decode(line.as_bytes()).is_ok(), "{line}");
                book.validate_event(line.as_bytes()).unwrap();
            }
        }
    }
    assert!(book.validated() >= 5, "{book}");
}

#[test]
fn an_answer_within_the_schema_is_no_violation() {
    let book = SchemaBook::open();
    let asked = ReqNo::new("TX20261123000017").unwrap();
    for (_, path, text) in both("answer") {
        let reply = Reply::Http {
            status: 200,
            retry_after: None,
            body: &text,
        };
        let violates = matches!(
            judge(&reply, &asked, &Contract::default()),
            Answer::Unknown { violation: Some(_) }
        );
        let valid = book.validate("answer", &text);
        assert_eq!(valid.is_err(), violates, "{}", path.display());
    }
}

#[test]
fn headers_that_contradict_the_result_are_found() {
    let book = SchemaBook::open();
    let (_, _, value) = &both("result")[0];
    let result = OrderResult::decode(value, None).unwrap();
    let headers = |result: &OrderResult| -> Vec<(String, Option<Vec<u8>>)> {
        let headers = result.headers("settled").into_iter();
        headers
            .map(|(name, value)| (name.to_owned(), Some(value.into_bytes())))
            .collect()
    };
    assert_eq!(book.validate_result(value, &headers(&result)), Ok(()));
    for status in [Terminal::Success, Terminal::Failure] {
        let other = OrderResult {
            outcome: Outcome::Settled {
                status,
                source: "inquiry".into(),
                rsp_no: None,
                ret_cd: None,
                ret_msg: None,
            },
            ..result.clone()
        };
        if other.outcome.status() != result.outcome.status() {
            assert!(book.validate_result(value, &headers(&other)).is_err());
        }
    }
    assert!(book.validate_result(value, &[]).is_err());
}

#[test]
fn dead_letter_headers_are_read_as_a_client_gives_them() {
    let book = SchemaBook::open();
    let header = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
    let mut headers = vec![
        header("settled-reason", b"not-json"),
        header("settled-detail", b"the value is not UTF-8 at byte 0"),
        header("settled-topic", b"order-events"),
        header("settled-partition", b"0"),
        header("settled-offset", b"17"),
        header("settled-at", b"2026-11-23T07:00:00.123Z"),
        ("settled-key".to_owned(), None),
        header("orig-raw", b"\xff\x00"),
    ];
    assert_eq!(book.validate_dead_letter(&headers), Ok(()));
    headers.remove(0);
    assert!(book.validate_dead_letter(&headers).is_err());
}

/// Values that stand close to each limit of the event schema.
fn near_misses() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(2.0),
        json!(3),
        json!(3.5),
        json!(5),
        json!(-1),
        json!(65_535),
        json!(65_536),
        json!(1e30),
        json!([]),
        json!({}),
        json!({"a": "b"}),
        json!({"a": null}),
    ];
    values.extend(
        [
            "", "1", "2", "3", "4", "5", "settle", "requeue", "a b", "ä", "a/b", "A-1",
        ]
        .map(Value::from),
    );
    values.extend(
        [
            "2026-11-23T07:00:00Z",
            "2026-11-23T07:00:00.5+08:00",
            "2026-02-30T07:00:00.123Z",
            "2026-11-23T25:00:00.123Z",
            "1969-12-31T23:59:59Z",
        ]
        .map(Value::from),
    );
    for limit in [32, 48, 64, 128, 256, 512] {
        values.push("x".repeat(limit).into());
        values.push("x".repeat(limit + 1).into());
        values.push("ä".repeat(limit).into());
    }
    values
}

const EVENT_FIELDS: [&str; 16] = [
    "v", "type", "reqNO", "status", "command", "phase", "at", "askAt", "source", "query", "rspNO",
    "retCd", "retMsg", "actor", "reason", "later",
];

fn any_text(max: usize) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!(".{{1,{max}}}")).unwrap()
}

fn any_key() -> impl Strategy<Value = OrderKey> {
    ("[a-z0-9_-]{1,32}", "[!-.0-~]{1,48}").prop_map(|(order_type, req_no)| OrderKey {
        order_type: TypeName::new(&order_type).unwrap(),
        req_no: ReqNo::new(&req_no).unwrap(),
    })
}

fn any_query() -> impl Strategy<Value = Option<Box<str>>> {
    option::of(
        proptest::collection::btree_map(".{0,8}", ".{0,8}", 1..5)
            .prop_map(|fields| json!(fields).to_string().into()),
    )
}

fn any_time() -> impl Strategy<Value = u64> {
    0..253_402_300_800_000_u64
}

prop_compose! {
    fn any_terminal()(
        status in select(&[Terminal::Success, Terminal::Failure]),
        source in any_text(64),
        rsp_no in option::of(any_text(128)),
        ret_cd in option::of(any_text(64)),
        ret_msg in option::of(any_text(256)),
    ) -> TerminalEvent {
        TerminalEvent { status, source, rsp_no, ret_cd, ret_msg }
    }
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any_open(), option::of(any_time()), any_query()).prop_map(|(status, ask_at, query)| {
            Body::Pending {
                status,
                ask_at,
                query,
            }
        }),
        any_terminal().prop_map(|terminal| Body::Terminal(Box::new(terminal))),
        (1..=u16::MAX, any_query()).prop_map(|(phase, query)| Body::Requeue { phase, query }),
    ]
}

fn any_open() -> impl Strategy<Value = Open> {
    select(&[Open::InProgress, Open::Unknown])
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any_terminal().prop_map(|terminal| Outcome::Settled {
            status: terminal.status,
            source: terminal.source,
            rsp_no: terminal.rsp_no,
            ret_cd: terminal.ret_cd,
            ret_msg: terminal.ret_msg,
        }),
        (any_open(), any_text(512), any_query()).prop_map(|(status, reason, query)| {
            Outcome::Exhausted {
                status,
                reason,
                query,
            }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_written_event_is_within_the_schema(
        key in any_key(), at in any_time(), body in any_body(),
        (source, actor, reason) in (any_text(64), any_text(128), any_text(512)),
    ) {
        thread_local!(static BOOK: SchemaBook = SchemaBook::open());
        let event = Event { key, at, body };
        for author in [Author::System(&source), Author::Operator { actor: &actor, reason: &reason }] {
            let value = event.encode(author);
            BOOK.with(|book| book.validate_event(&value)).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn every_written_result_is_within_the_schema(
        key in any_key(), outcome in any_outcome(),
        (phase, asked, partition, offset) in any::<(u16, u16, u16, u64)>(),
        (first_seen, at) in (any_time(), any_time()),
        traceparent in option::of("[0-9a-f-]{55}"),
    ) {
        thread_local!(static BOOK: SchemaBook = SchemaBook::open());
        let result = OrderResult {
            key, phase, outcome, asked, first_seen, at,
            event: (partition, offset),
            traceparent: traceparent.map(Into::into),
        };
        let headers: Vec<_> = result
            .headers("settled")
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value.into_bytes())))
            .collect();
        let value = result.encode();
        BOOK.with(|book| book.validate_result(&value, &headers)).map_err(TestCaseError::fail)?;
    }
}
