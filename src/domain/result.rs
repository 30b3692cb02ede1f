//! Records of `order-results`: resolutions and exhaustions.

use super::order::{Millis, OrderKey};
use super::status::{Open, Terminal};

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

impl OrderResult {
    /// The result's id: the first 16 bytes, in hex, of SHA-256 of `<type>/<reqNO>/settled` or
    /// `<type>/<reqNO>/exhausted/<phase>`.
    pub fn id(&self) -> String {
        String::new()
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Reads a record's value; `None` when it is none of ours (the caller alarms and skips it).
    pub fn decode(_value: &[u8], _traceparent: Option<&str>) -> Option<Self> {
        None
    }
}
