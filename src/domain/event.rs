//! Records of `order-events`: what they say, and why one cannot be accepted.
//!
//! The shard's core reads every record through [`decode`]; the API writes its own through
//! [`Event::encode`]. Nothing here decides what an event does to an order.

mod decode;
mod encode;
mod query;

pub use decode::decode;
pub use encode::Author;

use super::order::{Millis, OrderKey};
use super::status::{Open, Terminal};

/// The largest value of a record, in bytes.
pub const VALUE_MAX: usize = 64 * 1024;
/// The largest `query` object, in bytes as it came.
pub const QUERY_MAX: usize = 1024;
/// The longest `source`, in characters.
pub const SOURCE_MAX: usize = 64;
/// The longest `actor` of a command, in characters.
pub const ACTOR_MAX: usize = 128;
/// The longest `reason` of a command, in characters.
pub const REASON_MAX: usize = 512;
/// The longest `rspNO`, in characters.
pub const RSP_NO_MAX: usize = 128;
/// The longest `retCd`, in characters.
pub const RET_CD_MAX: usize = 64;
/// `retMsg` is cut after this many characters.
pub const RET_MSG_MAX: usize = 256;

/// The longest header `traceparent`, in bytes (W3C's own is 55); a longer one is ignored. It goes into
/// the view and into the result's headers, which must fit whatever was sent.
pub const TRACEPARENT_MAX: usize = 128;

/// The closed set of reasons for a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The value is no JSON object.
    NotJson,
    /// A field is missing, of the wrong type or out of its limits.
    Schema,
    /// The order type does not have the wire's form.
    BadType,
    /// The request number does not have the wire's form, or came as a number.
    BadNumber,
    /// The value or the query fields are larger than allowed.
    TooLarge,
    /// Appended more than the dedupe window after its own `at`.
    Stale,
    /// Forwarded once and still in the wrong partition.
    Misrouted,
    /// A terminal status that contradicts the published one.
    Conflict,
    /// More than 200 order types that are not configured.
    TypeLimit,
}

impl Reason {
    /// All of them, for metrics.
    pub const ALL: [Self; 9] = [
        Self::NotJson,
        Self::Schema,
        Self::BadType,
        Self::BadNumber,
        Self::TooLarge,
        Self::Stale,
        Self::Misrouted,
        Self::Conflict,
        Self::TypeLimit,
    ];

    /// The name on the wire (header `settled-reason`) and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::Schema => "schema",
            Self::BadType => "bad-type",
            Self::BadNumber => "bad-number",
            Self::TooLarge => "too-large",
            Self::Stale => "stale",
            Self::Misrouted => "misrouted",
            Self::Conflict => "conflict",
            Self::TypeLimit => "type-limit",
        }
    }
}

/// Why an event cannot be accepted, for a person: what, where, how it should look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the closed set.
    pub reason: Reason,
    /// One line, without control characters; repeats at most 64 characters of the event.
    pub detail: String,
}

impl Refusal {
    /// A refusal; `detail` is one line.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whom it is about.
    pub key: OrderKey,
    /// When the emitter said it.
    pub at: Millis,
    /// What it says.
    pub body: Body,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Status 3 or 4: the order is pending.
    Pending {
        /// 3 or 4.
        status: Open,
        /// The first question is not asked before it.
        ask_at: Option<Millis>,
        /// The `query` object as it came, 1 KiB at most, a JSON object of strings. An empty one
        /// counts as none.
        query: Option<Box<str>>,
    },
    /// Status 1 or 2, said by the business system, by the API or by hand (`command: settle`).
    Terminal(Box<TerminalEvent>),
    /// `command: requeue`.
    Requeue {
        /// The phase that it opens, 1 or more.
        phase: u16,
        /// As in `Pending`.
        query: Option<Box<str>>,
    },
}

/// A terminal event's content, which goes into its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalEvent {
    /// 1 or 2.
    pub status: Terminal,
    /// Who said it.
    pub source: String,
    /// The owner's own number.
    pub rsp_no: Option<String>,
    /// The owner's return code.
    pub ret_cd: Option<String>,
    /// The owner's message, cut at 256 characters.
    pub ret_msg: Option<String>,
}

/// Whether an event was appended more than `window` after its own `at`. The dedupe window may have
/// forgotten such an order, so it is a dead letter instead of a new order.
pub fn is_stale(event_at: Millis, appended: Millis, window: Millis) -> bool {
    appended.saturating_sub(event_at) > window
}

#[cfg(test)]
mod tests;
