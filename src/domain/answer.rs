//! What an answer means: the one table that decides about money (DESIGN section 6).
//!
//! The query engine hands over what came back; nothing else in this crate may turn an HTTP reply
//! into a status.

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::event::{RET_CD_MAX, RET_MSG_MAX, RSP_NO_MAX};
use super::json::{Field, cut, echo};
use super::order::{Millis, ReqNo};
use super::status::{Open, Status, Terminal};

/// What came of asking an order's owner once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A well-formed 1 or 2 with this order's number: an attempt, settles.
    Terminal {
        /// 1 or 2.
        status: Terminal,
        /// The owner's own number.
        rsp_no: Option<String>,
        /// The owner's return code.
        ret_cd: Option<String>,
        /// The owner's message, cut at 256 characters.
        ret_msg: Option<String>,
    },
    /// A well-formed 3: an attempt, next due by the «in progress» ladder.
    InProgress,
    /// A well-formed 4, or an answer outside the contract (`violation` says how): an attempt, next
    /// due by the «unknown» ladder; never a failure.
    Unknown {
        /// One line for a person, when the contract was broken.
        violation: Option<String>,
    },
    /// No answer: not an attempt.
    CouldNotAsk {
        /// Why not.
        why: CouldNotAsk,
        /// Do not ask again for this long, when the owner said so.
        retry_after: Option<Millis>,
    },
}

/// Why the owner could not be asked; also a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CouldNotAsk {
    /// The whole-request deadline passed.
    TimedOut,
    /// Refused, reset, DNS, TLS.
    Unreachable,
    /// 5xx.
    ServerError,
    /// 429.
    TooManyRequests,
    /// 404 where the type does not read it as «unknown».
    NotFound,
    /// 401, 403, other 4xx, redirects: a fault of configuration.
    Configuration,
    /// The lease or the generation ended, or the process stops: never left this process.
    NotStarted,
}

impl Answer {
    /// What was answered, for metrics: a closed set.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Terminal {
                status: Terminal::Success,
                ..
            } => "success",
            Self::Terminal {
                status: Terminal::Failure,
                ..
            } => "failure",
            Self::InProgress => "in_progress",
            Self::Unknown { violation: None } => "unknown",
            Self::Unknown { violation: Some(_) } => "violation",
            Self::CouldNotAsk { why, .. } => why.as_str(),
        }
    }

    /// Whether it counts as an attempt and moves the order along its schedule.
    pub fn is_attempt(&self) -> bool {
        !matches!(self, Self::CouldNotAsk { .. })
    }

    fn violation(detail: impl Into<String>) -> Self {
        Self::Unknown {
            violation: Some(detail.into()),
        }
    }

    fn could_not_ask(why: CouldNotAsk) -> Self {
        Self::CouldNotAsk {
            why,
            retry_after: None,
        }
    }
}

impl CouldNotAsk {
    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::ServerError => "server_error",
            Self::TooManyRequests => "too_many_requests",
            Self::NotFound => "not_found",
            Self::Configuration => "configuration",
            Self::NotStarted => "not_started",
        }
    }
}

/// What came back over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A whole reply.
    Http {
        /// The status code.
        status: u16,
        /// `Retry-After`, read by [`retry_after`].
        retry_after: Option<Millis>,
        /// The body; looked at for 2xx only.
        body: &'a [u8],
    },
    /// The whole-request deadline passed.
    TimedOut,
    /// Refused, reset, DNS, TLS.
    Unreachable,
    /// A 2xx whose header or body is larger than the engine reads.
    TooLarge,
}

/// The table. `req_no` is the number that was asked about.
pub fn judge(reply: &Reply<'_>, req_no: &ReqNo, not_found_is_unknown: bool) -> Answer {
    match *reply {
        Reply::TimedOut => Answer::could_not_ask(CouldNotAsk::TimedOut),
        Reply::Unreachable => Answer::could_not_ask(CouldNotAsk::Unreachable),
        Reply::TooLarge => Answer::violation("the answer is larger than is read"),
        Reply::Http {
            status,
            retry_after,
            body,
        } => {
            let why = match status {
                200..=299 => return judge_body(body, req_no),
                404 if not_found_is_unknown => return Answer::Unknown { violation: None },
                404 => CouldNotAsk::NotFound,
                429 => CouldNotAsk::TooManyRequests,
                500..=599 => CouldNotAsk::ServerError,
                _ => CouldNotAsk::Configuration,
            };
            Answer::CouldNotAsk { why, retry_after }
        }
    }
}

/// Everything that we read of an answer; `data` and unknown fields are skipped.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    status: Field<'a>,
    #[serde(borrow, default, rename = "reqNO")]
    req_no: Field<'a>,
    #[serde(borrow, default, rename = "reqNo")]
    req_no_camel: Field<'a>,
    #[serde(borrow, default, rename = "rspNO")]
    rsp_no: Field<'a>,
    #[serde(borrow, default, rename = "rspNo")]
    rsp_no_camel: Field<'a>,
    #[serde(borrow, default, rename = "retCd")]
    ret_cd: Field<'a>,
    #[serde(borrow, default, rename = "retMsg")]
    ret_msg: Field<'a>,
}

fn judge_body(body: &[u8], req_no: &ReqNo) -> Answer {
    let wire = match parse(body) {
        Ok(wire) => wire,
        Err(violation) => return Answer::violation(violation),
    };
    let status = match &wire.status {
        Field::Text(code) => Status::from_code(code),
        Field::Number(code) => Status::from_number(*code),
        Field::Absent | Field::Other(_) => None,
    };
    let Some(status) = status else {
        let shown = wire.status.shown();
        return Answer::violation(format!("status: 1, 2, 3 or 4 is expected, not {shown}"));
    };
    let mut named = false;
    for field in [&wire.req_no, &wire.req_no_camel] {
        match field {
            Field::Absent => {}
            Field::Text(number) if number.as_bytes() == req_no.as_bytes() => named = true,
            other => {
                let shown = other.shown();
                return Answer::violation(format!("reqNO: the number asked about, not {shown}"));
            }
        }
    }
    match status.split() {
        Err(Open::InProgress) => Answer::InProgress,
        Err(Open::Unknown) => Answer::Unknown { violation: None },
        Ok(_) if !named => Answer::violation("reqNO: is missing beside a terminal status"),
        Ok(status) => Answer::Terminal {
            status,
            rsp_no: note(&wire.rsp_no, RSP_NO_MAX).or_else(|| note(&wire.rsp_no_camel, RSP_NO_MAX)),
            ret_cd: note(&wire.ret_cd, RET_CD_MAX),
            ret_msg: note(&wire.ret_msg, RET_MSG_MAX),
        },
    }
}

fn parse(body: &[u8]) -> Result<Wire<'_>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())?;
    // Serde would read an array as a struct, field by field.
    if !text.trim_start().starts_with('{') {
        let shown = echo(cut(text, 16));
        return Err(format!(
            "the body is no JSON object: it begins with {shown}"
        ));
    }
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.is_data() {
            format!("a field occurs twice, at line {line} column {column}")
        } else {
            format!("the body is no JSON at line {line} column {column}")
        }
    })
}

/// What is only passed on never spoils a status: numbers become text, what is longer is cut, other
/// types are left out.
fn note(field: &Field<'_>, max: usize) -> Option<String> {
    match field {
        Field::Text(text) => Some(cut(text, max).to_owned()),
        Field::Number(number) => Some(number.to_string()),
        Field::Absent | Field::Other(_) => None,
    }
}

/// The longest time that a `Retry-After` is obeyed: a mistaken one must not end the asking.
pub const RETRY_AFTER_MAX: Millis = 24 * 3_600_000;

/// Reads a `Retry-After` header: seconds, or an HTTP date (RFC 9110 section 10.2.3) against the wall
/// clock. A day at most; `None` when it is neither.
pub fn retry_after(value: &str, wall: Millis) -> Option<Millis> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // All digits: too large to read is still a number.
        value.parse().unwrap_or(u64::MAX).saturating_mul(1000)
    } else {
        let date = OffsetDateTime::parse(value, &Rfc2822).ok()?;
        let until = u64::try_from(date.unix_timestamp()).unwrap_or(0);
        until.saturating_mul(1000).saturating_sub(wall)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBER: &str = "TX1";

    fn http(status: u16, body: &str) -> Answer {
        let reply = Reply::Http {
            status,
            retry_after: None,
            body: body.as_bytes(),
        };
        judge(&reply, &ReqNo::new(NUMBER).unwrap(), false)
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
        assert_eq!(judge(&bytes, &number, false).label(), "violation");
        assert_eq!(judge(&Reply::TooLarge, &number, false).label(), "violation");
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
            assert_eq!(judge(&reply, &number, true), could_not(why));
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
            judge(&reply, &number, true),
            Answer::Unknown { violation: None }
        );
        assert_eq!(judge(&reply, &number, false).label(), "not_found");
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
                judge(&reply, &number, false),
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
}
