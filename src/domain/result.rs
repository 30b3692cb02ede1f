//! Records of `order-results`: resolutions and exhaustions.
//!
//! The publisher writes them, the reader reads them back; both once per order, so neither half
//! builds a tree in between.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::json::ObjectWriter;
use super::order::{Millis, OrderKey, ReqNo, TypeName};
use super::status::{Open, Status, Terminal};
use super::wire_time;

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderResult {
    /// Whom it is about.
    pub key: OrderKey,
    /// The phase in which it was settled or exhausted.
    pub phase: u16,
    /// Settled or exhausted.
    pub outcome: Outcome,
    /// Questions that got an answer.
    pub asked: u16,
    /// When the order's first event was appended.
    pub first_seen: Millis,
    /// When this result was made.
    pub at: Millis,
    /// `order-events` partition and offset of the event that opened the phase.
    pub event: (u16, u64),
    /// W3C trace parent of that event; travels as a header.
    pub traceparent: Option<Box<str>>,
}

/// The two outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A resolution.
    Settled {
        /// 1 or 2.
        status: Terminal,
        /// `inquiry`, or the source of the terminal event.
        source: String,
        /// The owner's own number.
        rsp_no: Option<String>,
        /// The owner's return code.
        ret_cd: Option<String>,
        /// The owner's message.
        ret_msg: Option<String>,
    },
    /// The schedule ended without a terminal answer.
    Exhausted {
        /// What was last known: 3 or 4.
        status: Open,
        /// Why, for a person.
        reason: String,
        /// The order's query object, so that a rebuilt view can ask again.
        query: Option<Box<str>>,
    },
}

impl Outcome {
    /// The name on the wire and in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Settled { .. } => "settled",
            Self::Exhausted { .. } => "exhausted",
        }
    }

    /// The status that the result carries.
    pub fn status(&self) -> Status {
        match self {
            Self::Settled { status, .. } => (*status).into(),
            Self::Exhausted { status, .. } => (*status).into(),
        }
    }
}

impl OrderResult {
    /// The result's id: the first 16 bytes, in hex, of SHA-256 of `<type>/<reqNO>/settled` or
    /// `<type>/<reqNO>/exhausted/<phase>`.
    pub fn id(&self) -> String {
        let mut digest = Sha256::new()
            .chain_update(self.key.order_type.as_str())
            .chain_update("/")
            .chain_update(self.key.req_no.as_bytes())
            .chain_update("/")
            .chain_update(self.outcome.as_str());
        if let Outcome::Exhausted { .. } = self.outcome {
            digest.update("/");
            digest.update(self.phase.to_string());
        }
        let mut id = String::with_capacity(32);
        for byte in &digest.finalize()[..16] {
            for digit in [byte >> 4, byte & 15] {
                id.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        id
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = ObjectWriter::new(512);
        out.number("v", 1);
        out.text("id", &self.id());
        out.text("type", self.key.order_type.as_str());
        out.text("reqNO", self.key.req_no.as_str());
        out.number("phase", u64::from(self.phase));
        out.text("outcome", self.outcome.as_str());
        out.text("status", self.outcome.status().code());
        match &self.outcome {
            Outcome::Settled {
                source,
                rsp_no,
                ret_cd,
                ret_msg,
                ..
            } => {
                out.text_if("rspNO", rsp_no.as_deref());
                out.text_if("retCd", ret_cd.as_deref());
                out.text_if("retMsg", ret_msg.as_deref());
                out.text("source", source);
                out.number("asked", u64::from(self.asked));
            }
            Outcome::Exhausted { reason, query, .. } => {
                out.text("source", "schedule");
                out.number("asked", u64::from(self.asked));
                out.text("reason", reason);
                if let Some(query) = query {
                    out.raw("query", query);
                }
            }
        }
        out.time("firstSeenAt", self.first_seen);
        out.time("at", self.at);
        let mut event = ObjectWriter::new(48);
        event.number("partition", u64::from(self.event.0));
        event.number("offset", self.event.1);
        out.object("event", event);
        out.finish()
    }

    /// The record's headers. `app` is the configured prefix of groups and transactional ids.
    pub fn headers(&self, app: &str) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(4);
        headers.push(("settled-app", app.to_owned()));
        headers.push(("settled-outcome", self.outcome.as_str().to_owned()));
        headers.push(("settled-status", self.outcome.status().code().to_owned()));
        if let Some(traceparent) = &self.traceparent {
            headers.push(("traceparent", traceparent.to_string()));
        }
        headers
    }

    /// Reads a record's value; `None` when it is none of ours (the caller alarms and skips it).
    /// Unknown fields are skipped.
    pub fn decode(value: &[u8], traceparent: Option<&str>) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_slice(value).ok()?;
        if wire.v != 1 {
            return None;
        }
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let outcome = match (wire.outcome, Status::from_code(wire.status)?.split()) {
            ("settled", Ok(status)) => Outcome::Settled {
                status,
                source: wire.source.into_owned(),
                rsp_no: owned(wire.rsp_no),
                ret_cd: owned(wire.ret_cd),
                ret_msg: owned(wire.ret_msg),
            },
            ("exhausted", Err(status)) => Outcome::Exhausted {
                status,
                reason: owned(wire.reason)?,
                query: wire.query.map(|query| query.get().into()),
            },
            _ => return None,
        };
        Some(Self {
            key: OrderKey {
                order_type: TypeName::new(wire.order_type)?,
                req_no: ReqNo::new(&wire.req_no)?,
            },
            phase: wire.phase,
            outcome,
            asked: wire.asked,
            first_seen: wire_time::parse(wire.first_seen)?,
            at: wire_time::parse(wire.at)?,
            event: (wire.event.partition, wire.event.offset),
            traceparent: traceparent.map(Into::into),
        })
    }
}

/// A result as it stands on the wire. Fields that hold no escapes in our own records are borrowed.
#[derive(Deserialize)]
struct Wire<'a> {
    v: u8,
    #[serde(rename = "type")]
    order_type: &'a str,
    #[serde(borrow, rename = "reqNO")]
    req_no: Cow<'a, str>,
    phase: u16,
    outcome: &'a str,
    status: &'a str,
    #[serde(borrow, rename = "rspNO")]
    rsp_no: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "retCd")]
    ret_cd: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "retMsg")]
    ret_msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    asked: u16,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    query: Option<&'a RawValue>,
    #[serde(rename = "firstSeenAt")]
    first_seen: &'a str,
    at: &'a str,
    event: WireEvent,
}

#[derive(Deserialize)]
struct WireEvent {
    partition: u16,
    offset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option;
    use proptest::prelude::*;

    fn settled() -> OrderResult {
        OrderResult {
            key: OrderKey::parse("transfer/TX20261123000017").unwrap(),
            phase: 0,
            outcome: Outcome::Settled {
                status: Terminal::Success,
                source: "inquiry".into(),
                rsp_no: Some("B88213".into()),
                ret_cd: Some("0000".into()),
                ret_msg: Some("success".into()),
            },
            asked: 3,
            first_seen: 1_795_417_200_123,
            at: 1_795_417_204_001,
            event: (7, 1_234_567),
            traceparent: None,
        }
    }

    fn exhausted(phase: u16) -> OrderResult {
        OrderResult {
            phase,
            outcome: Outcome::Exhausted {
                status: Open::Unknown,
                reason: "schedule ended".into(),
                query: Some("{\"bank\":\"CMB\"}".into()),
            },
            ..settled()
        }
    }

    #[test]
    fn fields_stand_in_the_documented_order() {
        assert_eq!(
            String::from_utf8(settled().encode()).unwrap(),
            concat!(
                r#"{"v":1,"id":"a84e9a2fd909e36ccfc8d6f061fd4fe2","type":"transfer","#,
                r#""reqNO":"TX20261123000017","phase":0,"outcome":"settled","status":"1","#,
                r#""rspNO":"B88213","retCd":"0000","retMsg":"success","source":"inquiry","asked":3,"#,
                r#""firstSeenAt":"2026-11-23T07:00:00.123Z","at":"2026-11-23T07:00:04.001Z","#,
                r#""event":{"partition":7,"offset":1234567}}"#
            )
        );
        let text = String::from_utf8(exhausted(2).encode()).unwrap();
        assert!(
            text.contains(concat!(
                r#""phase":2,"outcome":"exhausted","status":"4","source":"schedule","asked":3,"#,
                r#""reason":"schedule ended","query":{"bank":"CMB"},"firstSeenAt":"#
            )),
            "{text}"
        );
    }

    #[test]
    fn a_phase_changes_the_id_of_an_exhaustion_only() {
        let later = OrderResult {
            phase: 1,
            ..settled()
        };
        assert_eq!(settled().id(), later.id());
        assert_ne!(exhausted(0).id(), exhausted(1).id());
        assert_ne!(exhausted(0).id(), settled().id());
    }

    #[test]
    fn headers_repeat_what_a_router_needs() {
        let mut result = settled();
        assert_eq!(result.headers("app").len(), 3);
        result.traceparent = Some("00-ab-cd-01".into());
        let shown: Vec<_> = result.headers("app");
        assert_eq!(
            shown,
            [
                ("settled-app", "app".to_owned()),
                ("settled-outcome", "settled".to_owned()),
                ("settled-status", "1".to_owned()),
                ("traceparent", "00-ab-cd-01".to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_none_of_ours_is_not_read() {
        let good = String::from_utf8(settled().encode()).unwrap();
        assert!(OrderResult::decode(good.as_bytes(), None).is_some());
        for (from, to) in [
            ("\"v\":1", "\"v\":2"),
            ("\"status\":\"1\"", "\"status\":\"3\""),
            ("\"status\":\"1\"", "\"status\":\"5\""),
            ("\"outcome\":\"settled\"", "\"outcome\":\"exhausted\""),
            ("\"phase\":0,", ""),
            ("transfer", "Transfer"),
            ("23T07:00:04", "33T07:00:04"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            assert_eq!(OrderResult::decode(bad.as_bytes(), None), None, "{bad}");
        }
        let newer = good.replacen('{', "{\"later\":[{}],", 1);
        assert_eq!(
            OrderResult::decode(newer.as_bytes(), None),
            Some(settled()),
            "fields of later writers are skipped"
        );
    }

    #[test]
    fn the_largest_result_fits_what_every_handle_and_topic_takes() {
        use crate::domain::event::{
            QUERY_MAX, RET_CD_MAX, RET_MSG_MAX, RSP_NO_MAX, SOURCE_MAX, TRACEPARENT_MAX,
        };
        // A control character takes six bytes on the wire, more than any other.
        let text = |length: usize| "\u{1}".repeat(length);
        let key = format!("{}/{}", "z".repeat(32), "9".repeat(ReqNo::MAX));
        let largest = |outcome| OrderResult {
            key: OrderKey::parse(&key).unwrap(),
            phase: u16::MAX,
            outcome,
            asked: u16::MAX,
            first_seen: 253_402_300_799_999,
            at: 253_402_300_799_999,
            event: (u16::MAX, u64::MAX),
            traceparent: Some("0".repeat(TRACEPARENT_MAX).into()),
        };
        for outcome in [
            Outcome::Settled {
                status: Terminal::Success,
                source: text(SOURCE_MAX),
                rsp_no: Some(text(RSP_NO_MAX)),
                ret_cd: Some(text(RET_CD_MAX)),
                ret_msg: Some(text(RET_MSG_MAX)),
            },
            Outcome::Exhausted {
                status: Open::Unknown,
                reason: "schedule ended".into(),
                query: Some("q".repeat(QUERY_MAX).into()),
            },
        ] {
            let result = largest(outcome);
            let headers = result.headers("settled").into_iter();
            let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
            let bytes = key.len() + result.encode().len() + headers;
            assert!(bytes < 5_000, "{bytes}");
        }
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        let text = || ".{0,30}|[\\x00-\\x1f\"\\\\]{1,4}";
        prop_oneof![
            (
                prop_oneof![Just(Terminal::Success), Just(Terminal::Failure)],
                text(),
                option::of(text()),
                option::of(text()),
                option::of(text()),
            )
                .prop_map(|(status, source, rsp_no, ret_cd, ret_msg)| {
                    Outcome::Settled {
                        status,
                        source,
                        rsp_no,
                        ret_cd,
                        ret_msg,
                    }
                }),
            (
                prop_oneof![Just(Open::InProgress), Just(Open::Unknown)],
                text(),
                option::of(
                    "[a-z]{1,9}".prop_map(|name| format!("{{ \"{name}\":\"\\n\" }}").into())
                ),
            )
                .prop_map(|(status, reason, query)| Outcome::Exhausted {
                    status,
                    reason,
                    query,
                }),
        ]
    }

    proptest! {
        #[test]
        fn every_result_reads_back_what_it_encodes(
            key in ("[a-z0-9_-]{1,32}", "[!-.0-~]{1,48}"),
            outcome in any_outcome(),
            (phase, asked, partition, offset) in any::<(u16, u16, u16, u64)>(),
            (first_seen, at) in (0..253_402_300_800_000_u64, 0..253_402_300_800_000_u64),
            traceparent in option::of("[0-9a-f-]{55}"),
        ) {
            let result = OrderResult {
                key: OrderKey {
                    order_type: TypeName::new(&key.0).unwrap(),
                    req_no: ReqNo::new(&key.1).unwrap(),
                },
                phase, outcome, asked, first_seen, at,
                event: (partition, offset),
                traceparent: traceparent.map(Into::into),
            };
            let read = OrderResult::decode(&result.encode(), result.traceparent.as_deref());
            prop_assert_eq!(read, Some(result));
        }
    }
}
