//! The answer table, row by row, in the protocol's own form.

use super::*;
use proptest::prelude::*;

const NUMBER: &str = "TX1";

fn http(status: u16, body: &str) -> Answer {
    let reply = Reply::Http {
        status,
        retry_after: None,
        body: body.as_bytes(),
    };
    judge(&reply, &ReqNo::new(NUMBER).unwrap(), &Contract::default())
}

fn not_found_is_unknown() -> Contract {
    Contract {
        not_found_is_unknown: true,
        mapping: None,
    }
}

fn terminal(status: Terminal) -> Answer {
    Answer::Terminal {
        status,
        rsp_no: None,
        ret_cd: None,
        ret_msg: None,
    }
}

fn could_not(why: CouldNotAsk) -> Answer {
    Answer::could_not_ask(why)
}

#[test]
fn a_terminal_status_with_this_orders_number_settles() {
    for (body, status) in [
        (r#"{"status":"1","reqNO":"TX1"}"#, Terminal::Success),
        (r#"{"status":1,"reqNO":"TX1"}"#, Terminal::Success),
        (r#" {"status":"2","reqNo":"TX1"} "#, Terminal::Failure),
        (
            r#"{"status":2,"reqNO":"TX1","reqNo":"TX1"}"#,
            Terminal::Failure,
        ),
        (r#"{"status":"1","reqNO":"\u0054X1"}"#, Terminal::Success),
        (
            r#"{"status":"1","reqNO":"TX1","data":{"status":"2"}}"#,
            Terminal::Success,
        ),
    ] {
        assert_eq!(http(200, body), terminal(status), "{body}");
        assert_eq!(http(206, body), terminal(status), "{body}");
    }
}

#[test]
fn what_the_owner_says_beside_it_is_kept() {
    let long = "ü".repeat(300);
    let body = format!(
        r#"{{"status":"2","reqNO":"TX1","rspNo":"B8","retCd":0,"retMsg":"{long}","data":[1]}}"#
    );
    assert_eq!(
        http(200, &body),
        Answer::Terminal {
            status: Terminal::Failure,
            rsp_no: Some("B8".into()),
            ret_cd: Some("0".into()),
            ret_msg: Some("ü".repeat(256)),
        }
    );
    assert_eq!(
        http(
            200,
            r#"{"status":"1","reqNO":"TX1","rspNO":{},"retCd":null,"retMsg":[]}"#
        ),
        terminal(Terminal::Success)
    );
}

#[test]
fn a_3_is_in_progress_and_a_4_is_unknown_with_or_without_the_number() {
    for number in [
        "",
        r#","reqNO":"TX1""#,
        r#","reqNo":"TX1""#,
        r#","reqNO":null"#,
    ] {
        for (code, answer) in [
            ("\"3\"", Answer::InProgress),
            ("3", Answer::InProgress),
            ("\"4\"", Answer::Unknown { violation: None }),
            ("4", Answer::Unknown { violation: None }),
        ] {
            let body = format!("{{\"status\":{code}{number}}}");
            assert_eq!(http(200, &body), answer, "{body}");
        }
    }
}

#[test]
fn a_2xx_outside_the_contract_is_unknown_and_never_a_failure() {
    for body in [
        "",
        "ok",
        "<html>502 Bad Gateway</html>",
        "{}",
        "[]",
        r#"["2","TX1"]"#,
        r#"[{"status":"2","reqNO":"TX1"}]"#,
        "null",
        "\"2\"",
        "2",
        r#"{"status":"2","reqNO":"TX1""#,
        r#"{"status":"2","reqNO":"TX1"} trailing"#,
        r#"{"status":"5","reqNO":"TX1"}"#,
        r#"{"status":5,"reqNO":"TX1"}"#,
        r#"{"status":-2,"reqNO":"TX1"}"#,
        r#"{"status":2.5,"reqNO":"TX1"}"#,
        r#"{"status":"02","reqNO":"TX1"}"#,
        r#"{"status":" 2","reqNO":"TX1"}"#,
        r#"{"status":"FAIL","reqNO":"TX1"}"#,
        r#"{"status":true,"reqNO":"TX1"}"#,
        r#"{"status":null,"reqNO":"TX1"}"#,
        r#"{"status":["2"],"reqNO":"TX1"}"#,
        r#"{"Status":"2","reqNO":"TX1"}"#,
        r#"{"status":"3","status":"2","reqNO":"TX1"}"#,
        r#"{"data":{"status":"2","reqNO":"TX1"}}"#,
    ] {
        let Answer::Unknown {
            violation: Some(violation),
        } = http(200, body)
        else {
            panic!("{body}: {:?}", http(200, body));
        };
        assert!(!violation.is_empty() && !violation.contains('\n'), "{body}");
    }
    let bytes = Reply::Http {
        status: 200,
        retry_after: None,
        body: b"{\"status\":\"2\",\"reqNO\":\"TX1\",\"x\":\"\xff\"}",
    };
    let number = ReqNo::new(NUMBER).unwrap();
    assert_eq!(
        judge(&bytes, &number, &Contract::default()).label(),
        "violation"
    );
    assert_eq!(
        judge(&Reply::TooLarge, &number, &Contract::default()).label(),
        "violation"
    );
    assert_eq!(http(204, "").label(), "violation");
}

#[test]
fn a_terminal_status_needs_this_orders_number() {
    for status in ["1", "2"] {
        for number in [
            "",
            r#","reqNO":null"#,
            r#","reqNO":"""#,
            r#","reqNO":"TX2""#,
            r#","reqNo":"tx1""#,
            r#","reqNO":"TX1 ""#,
            r#","reqNO":1"#,
            r#","reqNO":"TX1","reqNo":"TX2""#,
        ] {
            let body = format!("{{\"status\":\"{status}\"{number}}}");
            assert_eq!(http(200, &body).label(), "violation", "{body}");
        }
    }
}

#[test]
fn another_orders_number_is_a_violation_whatever_the_status() {
    for status in ["1", "2", "3", "4"] {
        let body = format!("{{\"status\":\"{status}\",\"reqNO\":\"TX2\"}}");
        assert_eq!(http(200, &body).label(), "violation", "{body}");
    }
}

#[test]
fn a_violation_repeats_little_of_a_hostile_body() {
    let body = format!("{{\"status\":\"{}\"}}", "\\u001b[2J".repeat(400));
    let Answer::Unknown {
        violation: Some(violation),
    } = http(200, &body)
    else {
        panic!("a violation is expected");
    };
    assert!(violation.len() < 140, "{violation}");
    assert!(!violation.chars().any(char::is_control));
}

#[test]
fn what_is_no_2xx_is_no_answer_whatever_its_body_says() {
    for (status, why) in [
        (301, CouldNotAsk::Configuration),
        (302, CouldNotAsk::Configuration),
        (304, CouldNotAsk::Configuration),
        (400, CouldNotAsk::Configuration),
        (401, CouldNotAsk::Configuration),
        (403, CouldNotAsk::Configuration),
        (404, CouldNotAsk::NotFound),
        (405, CouldNotAsk::Configuration),
        (409, CouldNotAsk::Configuration),
        (422, CouldNotAsk::Configuration),
        (429, CouldNotAsk::TooManyRequests),
        (500, CouldNotAsk::ServerError),
        (502, CouldNotAsk::ServerError),
        (503, CouldNotAsk::ServerError),
        (599, CouldNotAsk::ServerError),
        (101, CouldNotAsk::Configuration),
        (600, CouldNotAsk::Configuration),
    ] {
        let answer = http(status, r#"{"status":"2","reqNO":"TX1"}"#);
        assert_eq!(answer, could_not(why), "{status}");
        assert!(!answer.is_attempt());
    }
}

#[test]
fn silence_is_no_answer() {
    let number = ReqNo::new(NUMBER).unwrap();
    for (reply, why) in [
        (Reply::TimedOut, CouldNotAsk::TimedOut),
        (Reply::Unreachable, CouldNotAsk::Unreachable),
    ] {
        assert_eq!(
            judge(&reply, &number, &not_found_is_unknown()),
            could_not(why)
        );
    }
}

#[test]
fn a_404_is_unknown_only_where_the_type_says_so() {
    let reply = Reply::Http {
        status: 404,
        retry_after: None,
        body: b"",
    };
    let number = ReqNo::new(NUMBER).unwrap();
    assert_eq!(
        judge(&reply, &number, &not_found_is_unknown()),
        Answer::Unknown { violation: None }
    );
    assert_eq!(
        judge(&reply, &number, &Contract::default()).label(),
        "not_found"
    );
}

#[test]
fn retry_after_goes_with_429_and_503() {
    let number = ReqNo::new(NUMBER).unwrap();
    for (status, why) in [
        (429, CouldNotAsk::TooManyRequests),
        (503, CouldNotAsk::ServerError),
    ] {
        let reply = Reply::Http {
            status,
            retry_after: Some(7000),
            body: b"",
        };
        let retry_after = Some(7000);
        assert_eq!(
            judge(&reply, &number, &Contract::default()),
            Answer::CouldNotAsk { why, retry_after }
        );
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let wall = 784_111_777_000;
    for (value, wait) in [
        ("0", Some(0)),
        (" 120 ", Some(120_000)),
        ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
        ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
        ("99999999999999999999999999", Some(RETRY_AFTER_MAX)),
        ("Sat, 06 Nov 2094 08:49:47 GMT", Some(RETRY_AFTER_MAX)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
    ] {
        assert_eq!(retry_after(value, wall), wait, "{value}");
    }
}

#[test]
fn labels_are_a_closed_set() {
    let labels = [
        terminal(Terminal::Success).label(),
        terminal(Terminal::Failure).label(),
        Answer::InProgress.label(),
        could_not(CouldNotAsk::NotStarted).label(),
    ];
    assert_eq!(labels, ["success", "failure", "in_progress", "not_started"]);
}

proptest! {
    #[test]
    fn only_a_well_formed_terminal_answer_settles(
        status in 0_u16..1000,
        body in "\\PC{0,60}|\\{\"status\":\"?[0-9]\"?,\"reqNO\":\"TX[0-9]\"\\}",
    ) {
        let answer = http(status, &body);
        if let Answer::Terminal { .. } = answer {
            prop_assert!((200..300).contains(&status));
            prop_assert!(body.contains("\"TX1\""));
        }
    }
}
