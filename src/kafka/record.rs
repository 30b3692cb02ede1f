//! What the reader makes of a record while it still holds it: the decoded event or result, and the
//! original bytes where somebody may need them. Whatever a record holds, the outcome is a value:
//! a refusal becomes a dead letter, a panic in decoding becomes a refusal.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::Message;
use rdkafka::message::Headers;

use super::{Original, place};
use crate::domain::event::{Body, Event, Reason, Refusal, TRACEPARENT_MAX, decode, is_stale};
use crate::domain::order::{Millis, TypeName};
use crate::domain::result::OrderResult;

/// Says that a record was forwarded once; a second misfit is a dead letter.
pub const FORWARDED: &str = "settled-forwarded";

/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

/// A record of `order-events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// Where it lies.
    pub offset: u64,
    /// The broker's append time.
    pub appended: Millis,
    /// Its header `traceparent`, unless that is longer than anybody's trace parent.
    pub traceparent: Option<Box<str>>,
    /// It was forwarded here from another partition.
    pub forwarded: bool,
    /// What it says, or why it cannot be accepted. A stale event was refused here; whether it lies in
    /// its own partition is for the shard to judge.
    pub event: Result<Event, Refusal>,
    /// The record itself, kept for everything but an ordinary pending event of a configured type
    /// that lies in its own partition.
    pub original: Option<Box<Original>>,
}

/// A record of `order-results`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultRecord {
    /// Where it lies.
    pub offset: u64,
    /// The broker's append time.
    pub appended: Millis,
    /// `None`: nothing that this program wrote; to be alarmed and skipped.
    pub result: Option<OrderResult>,
}

/// What decoding an event needs beside the record.
pub struct Decoding<'a> {
    /// N.
    pub shards: u16,
    /// The dedupe window.
    pub window: Millis,
    /// Whether an order type is configured.
    pub configured: &'a dyn Fn(&TypeName) -> bool,
}

impl Decoding<'_> {
    /// Reads a record of `order-events`.
    pub fn event(&self, record: &impl Message) -> EventRecord {
        self.event_by(decode, record)
    }

    fn event_by(
        &self,
        decode: impl Fn(&[u8]) -> Result<Event, Refusal>,
        record: &impl Message,
    ) -> EventRecord {
        let mut traceparent = None;
        let mut forwarded = false;
        visit_headers(record, |name, value| match name {
            TRACEPARENT => traceparent = trace_parent(value),
            FORWARDED => forwarded = true,
            _ => {}
        });
        let appended = appended(record);
        let event = catch_unwind(AssertUnwindSafe(|| {
            decode(record.payload().unwrap_or_default())
        }))
        .unwrap_or_else(|_| {
            Err(Refusal::new(
                Reason::Schema,
                "the decoder panicked on this record; this is a bug of settled",
            ))
        })
        .and_then(|event| self.fresh(event, appended));
        let ordinary = self.is_ordinary(&event, record.partition());
        EventRecord {
            offset: offset(record),
            appended,
            traceparent,
            forwarded,
            event,
            original: (!ordinary).then(|| Box::new(original(record))),
        }
    }

    fn fresh(&self, event: Event, appended: Millis) -> Result<Event, Refusal> {
        if !is_stale(event.at, appended, self.window) {
            return Ok(event);
        }
        Err(Refusal::new(
            Reason::Stale,
            format!(
                "at: {} ms before it was appended; orders are remembered for {} ms only",
                appended.saturating_sub(event.at),
                self.window
            ),
        ))
    }

    fn is_ordinary(&self, event: &Result<Event, Refusal>, partition: i32) -> bool {
        event.as_ref().is_ok_and(|event| {
            matches!(event.body, Body::Pending { .. })
                && i32::from(event.key.shard(self.shards)) == partition
                && (self.configured)(&event.key.order_type)
        })
    }
}

impl ResultRecord {
    /// Reads a record of `order-results`.
    pub fn read(record: &impl Message) -> Self {
        let mut traceparent = None;
        visit_headers(record, |name, value| {
            if name == TRACEPARENT {
                traceparent = trace_parent(value);
            }
        });
        let result = catch_unwind(AssertUnwindSafe(|| {
            OrderResult::decode(record.payload()?, traceparent.as_deref())
        }));
        Self {
            offset: offset(record),
            appended: appended(record),
            result: result.unwrap_or_default(),
        }
    }
}

fn offset(record: &impl Message) -> u64 {
    place::unsigned(record.offset())
}

fn appended(record: &impl Message) -> Millis {
    place::unsigned(record.timestamp().to_millis().unwrap_or_default())
}

fn trace_parent(value: Option<&[u8]>) -> Option<Box<str>> {
    let value = value.filter(|value| value.len() <= TRACEPARENT_MAX)?;
    std::str::from_utf8(value).ok().map(Into::into)
}

fn original(record: &impl Message) -> Original {
    let mut headers = Vec::new();
    visit_headers(record, |name, value| {
        headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
    });
    Original {
        key: record.key().map(<[u8]>::to_vec),
        value: record.payload().map(<[u8]>::to_vec),
        headers,
    }
}

/// Shows every header that can be read: the library panics on a name that is no UTF-8, and such a
/// header is left out.
fn visit_headers(record: &impl Message, mut visit: impl FnMut(&str, Option<&[u8]>)) {
    let Some(headers) = record.headers() else {
        return;
    };
    for index in 0..headers.count() {
        let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
        if let Ok(Some(header)) = header {
            visit(header.key, header.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;
    use crate::domain::order::{OrderKey, ReqNo};
    use crate::domain::result::Outcome;
    use crate::domain::status::Open;

    const SHARDS: u16 = 4;

    fn pending(value: &[u8]) -> Result<Event, Refusal> {
        let number = std::str::from_utf8(value).ok().and_then(ReqNo::new);
        let req_no = number.ok_or(Refusal {
            reason: Reason::NotJson,
            detail: String::new(),
        })?;
        Ok(Event {
            key: OrderKey {
                order_type: TypeName::new("pay").unwrap(),
                req_no,
            },
            at: 1_000,
            body: Body::Pending {
                status: Open::InProgress,
                ask_at: None,
                query: None,
            },
        })
    }

    fn record(value: &str, partition: u16, appended: i64) -> OwnedMessage {
        OwnedMessage::new(
            Some(value.as_bytes().to_vec()),
            Some(b"key".to_vec()),
            "order-events".to_owned(),
            Timestamp::LogAppendTime(appended),
            i32::from(partition),
            7,
            Some(OwnedHeaders::new().insert(Header {
                key: TRACEPARENT,
                value: Some("00-1-2-01"),
            })),
        )
    }

    const DECODING: Decoding<'_> = Decoding {
        shards: SHARDS,
        window: 500,
        configured: &|name| name.as_str() == "pay",
    };

    fn home(value: &str) -> u16 {
        OrderKey::parse(&format!("pay/{value}"))
            .unwrap()
            .shard(SHARDS)
    }

    #[test]
    fn only_an_ordinary_event_is_not_kept() {
        let home = home("TX1");
        let read = DECODING.event_by(pending, &record("TX1", home, 1_000));
        assert_eq!(read.original, None);
        assert_eq!((read.offset, read.appended), (7, 1_000));
        assert_eq!(read.traceparent.as_deref(), Some("00-1-2-01"));
        assert!(!read.forwarded);

        let misplaced = DECODING.event_by(pending, &record("TX1", (home + 1) % SHARDS, 1_000));
        let kept = misplaced.original.unwrap();
        assert_eq!(kept.key.as_deref(), Some(&b"key"[..]));
        assert_eq!(kept.value.as_deref(), Some(&b"TX1"[..]));
        assert_eq!(kept.headers[0].0, TRACEPARENT);

        let unconfigured = Decoding {
            configured: &|_| false,
            ..DECODING
        };
        let read = unconfigured.event_by(pending, &record("TX1", home, 1_000));
        assert!(read.original.is_some());
    }

    #[test]
    fn a_trace_parent_that_no_result_could_carry_is_ignored() {
        let with = |length: usize| {
            let value = "0".repeat(length);
            let header = OwnedHeaders::new().insert(Header {
                key: TRACEPARENT,
                value: Some(&value),
            });
            record("TX1", 0, 1_000).replace_headers(Some(header))
        };
        let read = |length| DECODING.event_by(pending, &with(length)).traceparent;
        assert_eq!(read(TRACEPARENT_MAX).map(|it| it.len()), Some(128));
        assert_eq!(read(TRACEPARENT_MAX + 1), None);
        let result = OrderResult {
            key: OrderKey::parse("pay/TX1").unwrap(),
            phase: 0,
            outcome: Outcome::Exhausted {
                status: Open::Unknown,
                reason: "schedule ended".to_owned(),
                query: None,
            },
            asked: 1,
            first_seen: 1,
            at: 2,
            event: (0, 1),
            traceparent: None,
        };
        let value = String::from_utf8(result.encode()).unwrap();
        let headers = with(TRACEPARENT_MAX + 1).headers().cloned();
        let read = ResultRecord::read(&record(&value, 0, 1_000).replace_headers(headers));
        assert_eq!(read.result, Some(result));
    }

    #[test]
    fn an_event_older_than_the_window_is_stale() {
        let read = DECODING.event_by(pending, &record("TX1", home("TX1"), 1_501));
        assert_eq!(read.event.unwrap_err().reason, Reason::Stale);
        assert!(read.original.is_some());
    }

    #[test]
    fn a_panic_in_decoding_is_a_refusal() {
        let read = DECODING.event_by(|_| panic!("as the test wants"), &record("TX1", 0, 1_000));
        assert!(read.event.is_err());
        assert!(read.original.is_some());
    }

    #[test]
    fn a_forwarded_record_says_so() {
        let record =
            record("TX1", 0, 1_000).replace_headers(Some(OwnedHeaders::new().insert(Header {
                key: FORWARDED,
                value: Some("1"),
            })));
        assert!(DECODING.event_by(pending, &record).forwarded);
    }
}
