//! The answer table, row by row, in foreign forms; and what a mapping may be.

use proptest::prelude::*;

use super::*;
use crate::domain::answer::{Answer, Contract, Reply, judge};
use crate::domain::order::ReqNo;
use crate::domain::status::Terminal;

fn mapping(pointers: &[(Place, &str)], values: &[(&str, Status)]) -> Result<Mapping, String> {
    let pointers = pointers.iter().map(|(at, to)| (*at, (*to).to_owned()));
    let values = values.iter().map(|(from, to)| ((*from).to_owned(), *to));
    Mapping::new(pointers.collect(), values.collect()).map_err(|fault| fault.to_string())
}

/// As the owner of one of the field's wallets answers, its parts nested.
fn wallet() -> Contract {
    let mapping = mapping(
        &[
            (Place::Status, "/data/trade_state"),
            (Place::ReqNo, "/data/orders/0/out_trade_no"),
            (Place::RspNo, "/data/transaction~1id"),
            (Place::RetCd, "/code"),
            (Place::RetMsg, "/msg"),
            (Place::Data, "/data"),
        ],
        &[
            ("SUCCESS", Status::Success),
            ("CLOSED", Status::Failure),
            ("USERPAYING", Status::InProgress),
            ("NOTFOUND", Status::Unknown),
            ("02", Status::Failure),
            ("-7", Status::Failure),
            ("1", Status::Success),
            ("true", Status::Success),
            ("1.50", Status::Failure),
            ("", Status::InProgress),
        ],
    );
    Contract {
        not_found_is_unknown: false,
        mapping: Some(mapping.unwrap()),
    }
}

/// The protocol's own form, mapped.
fn own_form() -> Contract {
    let codes = [
        ("1", Status::Success),
        ("2", Status::Failure),
        ("3", Status::InProgress),
        ("4", Status::Unknown),
    ];
    let places = [
        (Place::Status, "/status"),
        (Place::ReqNo, "/reqNO"),
        (Place::RspNo, "/rspNO"),
        (Place::RetCd, "/retCd"),
        (Place::RetMsg, "/retMsg"),
        (Place::Data, "/data"),
    ];
    Contract {
        not_found_is_unknown: false,
        mapping: Some(mapping(&places, &codes).unwrap()),
    }
}

fn judged(contract: &Contract, status: u16, body: &[u8]) -> Answer {
    let reply = Reply::Http {
        status,
        retry_after: None,
        body,
    };
    judge(&reply, &ReqNo::new("TX1").unwrap(), contract)
}

/// An answer of the wallet's with this `trade_state` and number, as JSON.
fn wallet_says(state: &str, number: &str) -> String {
    format!(
        r#"{{"code":"A-0","msg":"ok","sign":[[{{}}]],"data":{{"trade_state":{state},"orders":[{{"out_trade_no":{number},"out":1}},{{"out_trade_no":"TX2"}}],"transaction/id":"W8","x":{{"trade_state":"CLOSED"}}}}}}"#
    )
}

fn terminal(status: Terminal) -> Answer {
    Answer::Terminal {
        status,
        rsp_no: Some("W8".to_owned()),
        ret_cd: Some("A-0".to_owned()),
        ret_msg: Some("ok".to_owned()),
    }
}

#[test]
fn a_listed_value_means_what_the_table_says() {
    let contract = wallet();
    for (state, answer) in [
        ("\"SUCCESS\"", terminal(Terminal::Success)),
        ("\"\\u0053UCCESS\"", terminal(Terminal::Success)),
        ("\"CLOSED\"", terminal(Terminal::Failure)),
        ("\"USERPAYING\"", Answer::InProgress),
        ("\"\"", Answer::InProgress),
        ("\"NOTFOUND\"", Answer::Unknown { violation: None }),
        ("\"02\"", terminal(Terminal::Failure)),
        ("\"1\"", terminal(Terminal::Success)),
        ("1", terminal(Terminal::Success)),
        ("-7", terminal(Terminal::Failure)),
        ("true", terminal(Terminal::Success)),
        ("1.50", terminal(Terminal::Failure)),
    ] {
        let body = wallet_says(state, "\"TX1\"");
        assert_eq!(judged(&contract, 200, body.as_bytes()), answer, "{body}");
        assert_eq!(judged(&contract, 206, body.as_bytes()), answer, "{body}");
    }
}

#[test]
fn an_unlisted_value_is_a_violation_whatever_its_type() {
    let contract = wallet();
    for (state, shown) in [
        ("\"success\"", "\"success\""),
        ("\"SUCCESS \"", "\"SUCCESS \""),
        ("\"REFUND\"", "\"REFUND\""),
        ("\"2\"", "\"2\""),
        ("2", "\"2\""),
        ("1.0", "\"1.0\""),
        ("1e0", "\"1e0\""),
        ("-1", "\"-1\""),
        ("1.5", "\"1.5\""),
        ("100000000000000000000", "\"100000000000000000000\""),
        ("false", "\"false\""),
        ("null", "nothing"),
        ("[\"SUCCESS\"]", "an array"),
        ("{\"SUCCESS\":1}", "an object"),
    ] {
        let body = wallet_says(state, "\"TX1\"");
        let why =
            format!("/data/trade_state: one of the type's answer values is expected, not {shown}");
        let violation = Some(why);
        assert_eq!(
            judged(&contract, 200, body.as_bytes()),
            Answer::Unknown { violation }
        );
    }
}

#[test]
fn a_terminal_value_needs_this_orders_number_where_the_mapping_says() {
    let contract = wallet();
    for number in [
        "null",
        "\"\"",
        "\"TX2\"",
        "\"tx1\"",
        "\"TX1 \"",
        "1",
        "[\"TX1\"]",
        "{}",
        "true",
    ] {
        for state in ["\"SUCCESS\"", "\"CLOSED\""] {
            let body = wallet_says(state, number);
            let answer = judged(&contract, 200, body.as_bytes());
            assert_eq!(answer.label(), "violation", "{body}: {answer:?}");
        }
        for state in ["\"USERPAYING\"", "\"NOTFOUND\""] {
            let body = wallet_says(state, number);
            let is_violation = judged(&contract, 200, body.as_bytes()).label() == "violation";
            assert_eq!(is_violation, number != "null", "{body}");
        }
    }
    // The protocol's own name does not stand in for the mapped place.
    let body = r#"{"reqNO":"TX1","data":{"trade_state":"CLOSED"}}"#;
    assert_eq!(
        judged(&contract, 200, body.as_bytes()),
        Answer::Unknown {
            violation: Some(
                "/data/orders/0/out_trade_no: is missing beside a terminal status".to_owned()
            )
        }
    );
}

#[test]
fn what_is_no_answer_of_this_form_is_a_violation() {
    let contract = wallet();
    let deep = format!(
        r#"{{"data":{{"trade_state":"CLOSED","orders":[{{"out_trade_no":"TX1"}}],"trade":{}}}}}"#,
        "[".repeat(100_000)
    );
    let lone = wallet_says("\"\\ud800\"", "\"TX1\"");
    let lone_number = wallet_says("\"CLOSED\"", "\"\\ud800\"");
    for body in [
        "",
        "ok",
        "<html>502 Bad Gateway</html>",
        "{}",
        "[]",
        "null",
        "\"CLOSED\"",
        "2",
        r#"{"trade_state":"CLOSED"}"#,
        r#"{"data":null}"#,
        r#"{"data":"CLOSED"}"#,
        r#"{"data":["CLOSED"]}"#,
        r#"{"data":{"trade_state":"CLOSED","orders":[{"out_trade_no":"TX1"}]}"#,
        r#"{"data":{"trade_state":"CLOSED","orders":[{"out_trade_no":"TX1"}]}} trailing"#,
        r#"{"data":{"trade_state":02,"orders":[{"out_trade_no":"TX1"}]}}"#,
        r#"{"data":{"trade_state":1e999,"orders":[{"out_trade_no":"TX1"}]}}"#,
        r#"{"data":{"trade_state":NaN,"orders":[{"out_trade_no":"TX1"}]}}"#,
        r#"{"data":{"trade_state":"CLOSED","orders":[]}}"#,
        r#"{"data":{"trade_state":"CLOSED","orders":[[],{"out_trade_no":"TX1"}]}}"#,
        r#"{"data":{"trade_state":"CLOSED","orders":{"00":{"out_trade_no":"TX1"}}}}"#,
        // Twice: at the place itself and on the way to it.
        r#"{"data":{"trade_state":"USERPAYING","trade_state":"CLOSED","orders":[{"out_trade_no":"TX1"}]}}"#,
        r#"{"data":{"trade_state":"CLOSED","orders":[{"out_trade_no":"TX1","out_trade_no":"TX1"}]}}"#,
        r#"{"data":{"trade_state":"CLOSED","orders":[{"out_trade_no":"TX1"}]},"data":{"trade_state":"SUCCESS"}}"#,
        r#"{"data":{"trade_state":"CLOSED","orders":[{"out_trade_no":"TX1"}]},"d\u0061ta":{}}"#,
        r#"{"code":1,"code":2,"data":{"trade_state":"CLOSED","orders":[{"out_trade_no":"TX1"}]}}"#,
        &deep,
        &lone,
        &lone_number,
    ] {
        let Answer::Unknown {
            violation: Some(violation),
        } = judged(&contract, 200, body.as_bytes())
        else {
            panic!("{body}: {:?}", judged(&contract, 200, body.as_bytes()));
        };
        assert!(
            violation.len() < 200 && !violation.contains('\n'),
            "{violation}"
        );
    }
    let bytes = b"{\"data\":{\"trade_state\":\"CLOSED\",\"orders\":[{\"out_trade_no\":\"TX1\"}]},\"x\":\"\xff\"}";
    assert_eq!(judged(&contract, 200, bytes).label(), "violation");
}

#[test]
fn nesting_on_the_way_to_a_place_is_no_way_to_exhaust_the_stack() {
    let pointer = "/a".repeat(120);
    let deep = mapping(
        &[(Place::Status, &pointer), (Place::ReqNo, "/n")],
        &[("CLOSED", Status::Failure)],
    );
    let contract = Contract {
        not_found_is_unknown: false,
        mapping: Some(deep.unwrap()),
    };
    let nested = |depth: usize| {
        let (open, close) = ("{\"a\":".repeat(depth), "}".repeat(depth));
        format!("{{\"n\":\"TX1\",\"a\":{}\"CLOSED\"{}}}", &open, close)
    };
    assert_eq!(
        judged(&contract, 200, nested(119).as_bytes()).label(),
        "failure"
    );
    for depth in [118, 120, 10_000] {
        let answer = judged(&contract, 200, nested(depth).as_bytes());
        assert_eq!(answer.label(), "violation", "{depth}");
    }
}

#[test]
fn what_is_no_2xx_is_no_answer_and_a_404_stays_what_the_type_says() {
    let body = wallet_says("\"CLOSED\"", "\"TX1\"");
    let mut contract = wallet();
    for (status, label) in [
        (302, "configuration"),
        (401, "configuration"),
        (404, "not_found"),
        (429, "too_many_requests"),
        (500, "server_error"),
    ] {
        let answer = judged(&contract, status, body.as_bytes());
        assert_eq!(answer.label(), label, "{status}");
    }
    contract.not_found_is_unknown = true;
    let answer = judged(&contract, 404, body.as_bytes());
    assert_eq!(answer, Answer::Unknown { violation: None });
}

#[test]
fn what_is_only_passed_on_never_spoils_a_status() {
    let contract = wallet();
    let long = "ü".repeat(300);
    let body = format!(
        r#"{{"code":0,"msg":"{long}","data":{{"trade_state":"CLOSED","orders":[{{"out_trade_no":"TX1"}}],"transaction/id":{{}}}}}}"#
    );
    assert_eq!(
        judged(&contract, 200, body.as_bytes()),
        Answer::Terminal {
            status: Terminal::Failure,
            rsp_no: None,
            ret_cd: Some("0".to_owned()),
            ret_msg: Some("ü".repeat(256)),
        }
    );
}

#[test]
fn one_place_may_be_read_twice_and_what_is_not_mapped_is_not_read() {
    let places = [
        (Place::Status, "/s"),
        (Place::ReqNo, "/n"),
        (Place::RetCd, "/s"),
    ];
    let contract = Contract {
        not_found_is_unknown: false,
        mapping: Some(mapping(&places, &[("OK", Status::Success)]).unwrap()),
    };
    let body = br#"{"s":"OK","n":"TX1","rspNO":"B8","retMsg":"m","data":1}"#;
    let answer = judged(&contract, 200, body);
    assert_eq!(
        answer,
        Answer::Terminal {
            status: Terminal::Success,
            rsp_no: None,
            ret_cd: Some("OK".to_owned()),
            ret_msg: None,
        }
    );
    assert!(contract.data(&answer, body).is_none());
}

#[test]
fn a_caller_gets_the_mapped_data_of_a_good_answer_only() {
    let contract = wallet();
    let data = |body: &str| {
        let answer = judged(&contract, 200, body.as_bytes());
        let data = contract.data(&answer, body.as_bytes());
        data.map(|data| data.get().to_owned())
    };
    let body = r#"{"data":{"trade_state":"USERPAYING","a":[1, 2]}}"#;
    assert_eq!(
        data(body).as_deref(),
        Some(r#"{"trade_state":"USERPAYING","a":[1, 2]}"#)
    );
    assert_eq!(data(r#"{"data":{"trade_state":"REFUND"}}"#), None);
    let nested = mapping(
        &[
            (Place::Status, "/0/s"),
            (Place::ReqNo, "/0/n"),
            (Place::Data, "/1/d"),
        ],
        &[("W", Status::InProgress)],
    );
    let nested = Contract {
        not_found_is_unknown: false,
        mapping: Some(nested.unwrap()),
    };
    for (body, expected) in [
        (r#"[{"s":"W"},{"d":"x"}]"#, Some("\"x\"")),
        (r#"[{"s":"W"},{"d":null}]"#, None),
        (r#"[{"s":"W"},[]]"#, None),
        (r#"[{"s":"W"}]"#, None),
    ] {
        let answer = judged(&nested, 200, body.as_bytes());
        assert_eq!(answer, Answer::InProgress);
        let data = nested.data(&answer, body.as_bytes());
        assert_eq!(data.as_ref().map(|data| data.get()), expected, "{body}");
    }
}

#[test]
fn an_impossible_mapping_is_refused_with_the_field_and_the_expected_form() {
    use Place::{ReqNo, RspNo, Status as State};
    let values = &[("OK", Status::Success)][..];
    let form = "expected a JSON pointer like \"/trade_state\" or \"/order/state\"";
    let long = format!("/{}", "x".repeat(256));
    for (pointers, values, line) in [
        (
            &[(ReqNo, "/n")][..],
            values,
            "status: expected a pointer like \"/trade_state\"".to_owned(),
        ),
        (
            &[(State, "/s")],
            values,
            "req_no: expected a pointer to the order's number: no 1 or 2 counts without it"
                .to_owned(),
        ),
        (
            &[(State, "s"), (ReqNo, "/n")],
            values,
            format!("status: \"s\": {form}"),
        ),
        (
            &[(State, ""), (ReqNo, "/n")],
            values,
            format!("status: \"\": {form}"),
        ),
        (
            &[(State, "$.s"), (ReqNo, "/n")],
            values,
            format!("status: \"$.s\": {form}"),
        ),
        (
            &[(State, "/a~2"), (ReqNo, "/n")],
            values,
            "status: \"/a~2\": expected ~ to be written ~0, and / inside a name ~1".to_owned(),
        ),
        (
            &[(State, "/a"), (ReqNo, "/a/n")],
            values,
            "req_no: \"/a/n\": expected a place that is not inside another one of this answer"
                .to_owned(),
        ),
        (
            &[(State, "/a/s"), (ReqNo, "/n"), (RspNo, "/a")],
            values,
            "rsp_no: \"/a\": expected a place that is not inside another one of this answer"
                .to_owned(),
        ),
        (
            &[(State, "/s"), (ReqNo, "/n")],
            &[],
            "values: expected at least one, like { SUCCESS = \"1\" }".to_owned(),
        ),
    ] {
        assert_eq!(mapping(pointers, values), Err(line));
    }
    let told = mapping(&[(State, &long), (ReqNo, "/n")], values).unwrap_err();
    assert!(
        told.contains("expected a pointer of at most 256 bytes"),
        "{told}"
    );
    let numbers: Vec<String> = (0..=VALUES_MAX).map(|n| n.to_string()).collect();
    let many: Vec<_> = numbers
        .iter()
        .map(|n| (n.as_str(), Status::Unknown))
        .collect();
    assert!(mapping(&[(State, "/s"), (ReqNo, "/n")], &many).is_err());
    assert!(mapping(&[(State, "/s"), (ReqNo, "/n")], &many[1..]).is_ok());
}

/// JSON of every shape, with the names that matter and doubled names among them.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        (-3_i64..6).prop_map(|n| n.to_string()),
        Just("3.0".to_owned()),
        Just("2.5".to_owned()),
        Just("02".to_owned()),
        "\"[1-5]\"|\"TX[12]\"|\"\\PC{0,3}\"",
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let name = prop_oneof!["status|reqNO|rspNO|retCd|data", "[a-c]"];
        let field = (name, inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            proptest::collection::vec(inner, 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(field, 0..6)
                .prop_map(|fields| format!("{{{}}}", fields.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_own_form_mapped_is_judged_as_the_own_form(body in any_json()) {
        let own = judged(&Contract::default(), 200, body.as_bytes());
        let mapped = judged(&own_form(), 200, body.as_bytes());
        // Where the two may differ: 3.0 is a 3 of our own, and in a table the text "3.0".
        if !body.contains("3.0") {
            prop_assert_eq!(own.label(), mapped.label());
            if own.label() != "violation" {
                prop_assert_eq!(own, mapped);
            }
        } else if mapped.label() != "violation" {
            prop_assert_eq!(own.label(), mapped.label());
        }
    }

    #[test]
    fn a_mapped_answer_agrees_with_a_reader_that_builds_a_tree(
        state in "\"(SUCCESS|CLOSED|USERPAYING|X)\"|1|true",
        number in "\"TX[12]\"|null",
    ) {
        let body = wallet_says(&state, &number);
        let tree: serde_json::Value = serde_json::from_str(&body).unwrap();
        let answer = judged(&wallet(), 200, body.as_bytes());
        let is_terminal = matches!(answer, Answer::Terminal { .. });
        let at = |pointer: &str| tree.pointer(pointer).and_then(|value| value.as_str());
        let named = at("/data/orders/0/out_trade_no") == Some("TX1");
        let listed = matches!(at("/data/trade_state"), Some("SUCCESS" | "CLOSED") | None);
        prop_assert_eq!(is_terminal, named && listed);
    }
}
