//! A dead letter as a record: the original bytes, the reason, and where it came from.

use rdkafka::message::{Header, OwnedHeaders};

use super::Original;
use crate::domain::event::Reason;
use crate::domain::order::Millis;
use crate::domain::wire_time;

/// An event that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record as it came.
    pub original: Original,
    /// Its partition of `order-events`.
    pub partition: u16,
    /// Its offset there.
    pub offset: u64,
    /// When it was appended there: the same letter sent twice is the same to the byte.
    pub appended: Millis,
    /// Which of the closed set.
    pub reason: Reason,
    /// What, where, how it should look.
    pub detail: String,
}

impl DeadLetter {
    /// `<topic>/<partition>/<offset>`: by it a reader drops a letter that was sent twice.
    pub fn key(&self, topic: &str) -> String {
        format!("{topic}/{}/{}", self.partition, self.offset)
    }

    /// Ours, then the original ones prefixed `orig-`.
    pub fn headers(&self, topic: &str) -> OwnedHeaders {
        let partition = self.partition.to_string();
        let offset = self.offset.to_string();
        let at = wire_time::format(self.appended);
        let ours = [
            ("settled-reason", self.reason.as_str()),
            ("settled-detail", &self.detail),
            ("settled-topic", topic),
            ("settled-partition", &partition),
            ("settled-offset", &offset),
            ("settled-at", &at),
        ];
        let mut headers =
            OwnedHeaders::new_with_capacity(ours.len() + 1 + self.original.headers.len());
        for (key, value) in ours {
            headers = headers.insert(Header {
                key,
                value: Some(value),
            });
        }
        headers = headers.insert(Header {
            key: "settled-key",
            value: self.original.key.as_ref(),
        });
        for (name, value) in &self.original.headers {
            headers = headers.insert(Header {
                key: &format!("orig-{name}"),
                value: value.as_ref(),
            });
        }
        headers
    }
}

/// The original headers of a record and one that says that it was forwarded.
pub fn forwarded_headers(original: &Original) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(original.headers.len() + 1);
    for (name, value) in &original.headers {
        headers = headers.insert(Header {
            key: name,
            value: value.as_ref(),
        });
    }
    headers.insert(Header {
        key: super::record::FORWARDED,
        value: Some("1"),
    })
}
