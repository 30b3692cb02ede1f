//! Records of `order-events`: what they say, and why one cannot be accepted.

use super::order::{Millis, OrderKey};
use super::status::{Open, Terminal};

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

/// Why an event cannot be accepted, for a person: what, where, how it should look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the closed set.
    pub reason: Reason,
    /// One line.
    pub detail: String,
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
        /// The `query` object as it came, 1 KiB at most, a JSON object of strings.
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

/// Reads the value of a record of `order-events`.
///
/// # Errors
/// The reason and one line for a person; the caller keeps the record as a dead letter.
pub fn decode(_value: &[u8]) -> Result<Event, Refusal> {
    Err(Refusal {
        reason: Reason::NotJson,
        detail: String::new(),
    })
}
