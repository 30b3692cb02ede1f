//! Decoding row by row, and both directions against each other.

use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::order::{ReqNo, TypeName};

fn pending() -> Value {
    json!({"v":1,"type":"transfer","reqNO":"TX1","status":"3","at":"2026-11-23T07:00:00.123Z",
        "source":"pay-core","query":{"bank":"CMB"}})
}

fn terminal() -> Value {
    json!({"v":1,"type":"transfer","reqNO":"TX1","status":"1","at":"2026-11-23T07:00:04.001Z",
        "source":"pay-core","rspNO":"B88213","retCd":"0000","retMsg":"success"})
}

fn settle() -> Value {
    json!({"v":1,"type":"transfer","reqNO":"TX1","command":"settle","status":"2",
        "at":"2026-11-23T07:00:00Z","source":"operator","actor":"li.wei",
        "reason":"bank letter 4471"})
}

fn requeue() -> Value {
    json!({"v":1,"type":"transfer","reqNO":"TX1","command":"requeue","phase":1,
        "query":{"bank":"CMB"},"at":"2026-11-23T07:00:00Z","source":"operator",
        "actor":"li.wei","reason":"bank repaired"})
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

fn without(mut event: Value, field: &str) -> Value {
    event.as_object_mut().unwrap().remove(field);
    event
}

fn read(event: &Value) -> Result<Event, Refusal> {
    decode(event.to_string().as_bytes())
}

fn refusal(event: &Value) -> Refusal {
    read(event).expect_err(&event.to_string())
}

#[test]
fn a_pending_event_is_read_whole() {
    let ask_at = json!("2026-11-23T14:00:00+08:00");
    assert_eq!(
        read(&with(pending(), "askAt", ask_at)),
        Ok(Event {
            key: OrderKey::parse("transfer/TX1").unwrap(),
            at: 1_795_417_200_123,
            body: Body::Pending {
                status: Open::InProgress,
                ask_at: Some(1_795_413_600_000),
                query: Some("{\"bank\":\"CMB\"}".into()),
            },
        })
    );
}

#[test]
fn a_terminal_event_is_read_whole() {
    assert_eq!(
        read(&terminal()).unwrap().body,
        Body::Terminal(Box::new(TerminalEvent {
            status: Terminal::Success,
            source: "pay-core".into(),
            rsp_no: Some("B88213".into()),
            ret_cd: Some("0000".into()),
            ret_msg: Some("success".into()),
        }))
    );
}

#[test]
fn commands_are_read_whole() {
    let Body::Terminal(by_hand) = read(&settle()).unwrap().body else {
        panic!("settle by hand is a terminal event");
    };
    assert_eq!(
        (by_hand.status, &*by_hand.source),
        (Terminal::Failure, "operator")
    );
    assert_eq!(
        read(&requeue()).unwrap().body,
        Body::Requeue {
            phase: 1,
            query: Some("{\"bank\":\"CMB\"}".into()),
        }
    );
}

#[test]
fn a_status_is_a_string_or_a_number() {
    for (status, open) in [
        (json!("3"), Some(Open::InProgress)),
        (json!(3), Some(Open::InProgress)),
        (json!(3.0), Some(Open::InProgress)),
        (json!("4"), Some(Open::Unknown)),
        (json!(4), Some(Open::Unknown)),
        (json!(1), None),
        (json!("2"), None),
    ] {
        let found = match read(&with(pending(), "status", status.clone()))
            .unwrap()
            .body
        {
            Body::Pending { status, .. } => Some(status),
            _ => None,
        };
        assert_eq!(found, open, "{status}");
    }
}

#[test]
fn absent_null_and_unknown_fields_are_harmless() {
    let whole = read(&pending());
    assert_eq!(read(&without(pending(), "v")), whole);
    assert_eq!(read(&with(pending(), "later", json!([{}, 1e300]))), whole);
    let mut nulls = pending();
    for name in [
        "v", "command", "phase", "askAt", "rspNO", "retCd", "retMsg", "actor", "reason",
    ] {
        nulls[name] = Value::Null;
    }
    assert_eq!(read(&nulls), whole);
    let bare = read(&without(pending(), "query"));
    assert_ne!(bare, whole);
    assert_eq!(read(&with(pending(), "query", Value::Null)), bare);
    assert_eq!(read(&with(pending(), "query", json!({}))), bare);
}

fn x(times: usize) -> Value {
    json!("x".repeat(times))
}

/// Each row replaces one field of `event`; null leaves it out.
fn each_is_refused<const N: usize>(event: &Value, rows: [(Reason, &str, Value); N]) {
    for (reason, field, value) in rows {
        let refusal = refusal(&with(event.clone(), field, value));
        assert_eq!(refusal.reason, reason, "{refusal:?}");
        let names_the_field = refusal.detail.starts_with(&format!("{field}: "));
        assert!(names_the_field, "{refusal:?}");
        assert!(refusal.detail.contains(" is expected"), "{refusal:?}");
    }
}

#[test]
fn a_wrong_type_or_number_is_named_with_its_reason() {
    let rows = [
        (Reason::Schema, "type", json!(null)),
        (Reason::BadType, "type", json!("Transfer")),
        (Reason::BadType, "type", json!("")),
        (Reason::BadType, "type", json!(7)),
        (Reason::BadType, "type", x(33)),
        (Reason::Schema, "reqNO", json!(null)),
        (Reason::BadNumber, "reqNO", json!(20_261_123)),
        (Reason::BadNumber, "reqNO", json!(1e40)),
        (Reason::BadNumber, "reqNO", json!("a/b")),
        (Reason::BadNumber, "reqNO", json!("ä")),
        (Reason::BadNumber, "reqNO", x(49)),
    ];
    each_is_refused(&pending(), rows);
}

#[test]
fn each_wrong_field_of_a_status_is_named() {
    let rows = [
        (Reason::Schema, "v", json!(2)),
        (Reason::Schema, "v", json!("1")),
        (Reason::Schema, "status", json!(null)),
        (Reason::Schema, "status", json!("5")),
        (Reason::Schema, "status", json!(0)),
        (Reason::Schema, "status", json!(true)),
        (Reason::Schema, "at", json!(null)),
        (Reason::Schema, "at", json!("yesterday")),
        (Reason::Schema, "at", json!(1_795_417_200)),
        (Reason::Schema, "askAt", json!("14:00")),
        (Reason::Schema, "source", json!(null)),
        (Reason::Schema, "source", json!("")),
        (Reason::Schema, "source", x(65)),
        (Reason::Schema, "query", json!(["CMB"])),
        (Reason::Schema, "query", json!({"bank": 1})),
        (Reason::Schema, "query", json!({"bank": null})),
        (Reason::TooLarge, "query", json!({"bank": x(1024)})),
    ];
    each_is_refused(&pending(), rows);
    let rows = [
        (Reason::Schema, "rspNO", json!(88213)),
        (Reason::Schema, "rspNO", x(129)),
        (Reason::Schema, "retCd", x(65)),
        (Reason::Schema, "retMsg", json!({})),
    ];
    each_is_refused(&terminal(), rows);
}

#[test]
fn each_wrong_field_of_a_command_is_named() {
    let rows = [
        (Reason::Schema, "command", json!("cancel")),
        (Reason::Schema, "command", json!(1)),
        (Reason::Schema, "status", json!("3")),
        (Reason::Schema, "status", json!(null)),
        (Reason::Schema, "actor", json!(null)),
        (Reason::Schema, "actor", json!("")),
        (Reason::Schema, "actor", x(129)),
    ];
    each_is_refused(&settle(), rows);
    let rows = [
        (Reason::Schema, "reason", json!(null)),
        (Reason::Schema, "reason", x(513)),
        (Reason::Schema, "phase", json!(null)),
        (Reason::Schema, "phase", json!(0)),
        (Reason::Schema, "phase", json!(65_536)),
        (Reason::Schema, "phase", json!("1")),
    ];
    each_is_refused(&requeue(), rows);
}

#[test]
fn what_is_no_json_object_says_so() {
    for bytes in [
        &b""[..],
        b"hello",
        b"[]",
        b"[1,\"transfer\",\"TX1\",\"3\"]",
        b"null",
        b"3",
        b"{",
        b"{\"v\":1,}",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"{\"later\":\"\xff\"}",
    ] {
        let refusal = decode(bytes).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotJson, "{bytes:?}: {refusal:?}");
        assert!(refusal.detail.contains(" is expected"), "{refusal:?}");
    }
}

#[test]
fn a_field_that_occurs_twice_is_refused() {
    let twice = pending().to_string().replacen('{', "{\"status\":\"1\",", 1);
    let refusal = decode(twice.as_bytes()).unwrap_err();
    assert_eq!(refusal.reason, Reason::Schema);
    assert!(refusal.detail.contains("twice"), "{refusal:?}");
    let twice = pending().to_string().replace(
        "\"bank\":\"CMB\"",
        "\"bank\":\"CMB\",\"b\\u0061nk\":\"ICBC\"",
    );
    assert_eq!(decode(twice.as_bytes()).unwrap_err().reason, Reason::Schema);
}

#[test]
fn the_limits_themselves_are_accepted() {
    let filled = |text: &str, n: usize| json!(text.repeat(n));
    assert!(read(&with(pending(), "reqNO", filled("9", 48))).is_ok());
    assert!(read(&with(pending(), "type", filled("z", 32))).is_ok());
    assert!(read(&with(pending(), "source", filled("ä", 64))).is_ok());
    assert!(read(&with(settle(), "actor", filled("ä", 128))).is_ok());
    assert!(read(&with(settle(), "reason", filled("ä", 512))).is_ok());
    assert!(read(&with(requeue(), "phase", json!(65_535))).is_ok());
    let query = json!({"bank": "x".repeat(QUERY_MAX - "{\"bank\":\"\"}".len())});
    assert!(read(&with(pending(), "query", query)).is_ok());

    let pad = VALUE_MAX - with(pending(), "pad", json!("")).to_string().len();
    assert!(read(&with(pending(), "pad", filled("x", pad))).is_ok());
    let refusal = refusal(&with(pending(), "pad", filled("x", pad + 1)));
    assert_eq!(refusal.reason, Reason::TooLarge);
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let event = with(terminal(), "retMsg", json!("ü".repeat(300)));
    let Body::Terminal(terminal) = read(&event).unwrap().body else {
        panic!("a terminal event");
    };
    assert_eq!(terminal.ret_msg, Some("ü".repeat(256)));
}

#[test]
fn a_refusal_repeats_little_of_the_event() {
    for field in ["status", "type", "reqNO", "at", "askAt", "v", "command"] {
        let hostile = json!("\u{1b}[2J\n\u{202e}".repeat(500));
        let detail = refusal(&with(pending(), field, hostile)).detail;
        assert!(detail.chars().count() < 200, "{detail}");
        assert!(
            !detail.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{detail}"
        );
    }
}

#[test]
fn a_requeue_by_a_system_is_its_own_actor() {
    let event = read(&requeue()).unwrap();
    assert_eq!(decode(&event.encode(Author::System("api"))), Ok(event));
}

#[test]
fn an_event_is_stale_only_beyond_the_window() {
    assert!(!is_stale(1000, 1000 + 50, 50));
    assert!(is_stale(1000, 1000 + 51, 50));
    assert!(!is_stale(5000, 1000, 50), "a clock ahead of the broker's");
}

#[test]
fn reasons_have_the_wires_names() {
    let names = Reason::ALL.map(Reason::as_str);
    assert_eq!(
        names.join(" "),
        "not-json schema bad-type bad-number too-large stale misrouted conflict type-limit"
    );
}

fn any_query() -> impl Strategy<Value = Option<Box<str>>> {
    option::of(
        proptest::collection::btree_map(".{0,8}", ".{0,8}", 1..5)
            .prop_map(|fields| json!(fields).to_string().into()),
    )
}

fn any_body() -> impl Strategy<Value = Body> {
    let words =
        |max: usize| option::of(proptest::string::string_regex(&format!(".{{0,{max}}}")).unwrap());
    prop_oneof![
        (
            prop_oneof![Just(Open::InProgress), Just(Open::Unknown)],
            option::of(0..253_402_300_800_000_u64),
            any_query(),
        )
            .prop_map(|(status, ask_at, query)| Body::Pending {
                status,
                ask_at,
                query
            }),
        (
            prop_oneof![Just(Terminal::Success), Just(Terminal::Failure)],
            words(128),
            words(64),
            words(256),
        )
            .prop_map(|(status, rsp_no, ret_cd, ret_msg)| {
                Body::Terminal(Box::new(TerminalEvent {
                    status,
                    source: "operator".into(),
                    rsp_no,
                    ret_cd,
                    ret_msg,
                }))
            }),
        (1..=u16::MAX, any_query()).prop_map(|(phase, query)| Body::Requeue { phase, query }),
    ]
}

prop_compose! {
    fn any_event()(
        order_type in "[a-z0-9_-]{1,32}",
        req_no in "[!-.0-~]{1,48}",
        at in 0..253_402_300_800_000_u64,
        body in any_body(),
    ) -> Event {
        Event {
            key: OrderKey {
                order_type: TypeName::new(&order_type).unwrap(),
                req_no: ReqNo::new(&req_no).unwrap(),
            },
            at,
            body,
        }
    }
}

proptest! {
    #[test]
    fn every_event_reads_back_what_it_encodes(event in any_event(), actor in ".{1,128}", reason in ".{1,512}") {
        let said = event.encode(Author::System("operator"));
        prop_assert_eq!(decode(&said), Ok(event.clone()));
        let by_hand = event.encode(Author::Operator { actor: &actor, reason: &reason });
        prop_assert_eq!(decode(&by_hand), Ok(event));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err(), "random bytes are no event");
    }

    #[test]
    fn what_is_accepted_of_a_damaged_event_encodes_to_an_equal_one(
        which in 0..4_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = [pending(), terminal(), settle(), requeue()][which].to_string().into_bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(event) = decode(&bytes) {
            let source = match &event.body {
                Body::Terminal(terminal) => terminal.source.clone(),
                _ => "pay-core".to_owned(),
            };
            prop_assert_eq!(decode(&event.encode(Author::System(&source))), Ok(event));
        }
    }
}
