//! What an answer means: the one table that decides about money (DESIGN section 6).

use super::order::Millis;
use super::status::Terminal;

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
