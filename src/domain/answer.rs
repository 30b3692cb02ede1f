//! What an answer means: the one table that decides about money (DESIGN section 6).
//!
//! The query engine hands over what came back; nothing else in this crate may turn an HTTP reply
//! into a status.

mod body;
mod mapping;
mod retry_after;

pub use mapping::{Mapping, MappingFault, Place};
pub use retry_after::{RETRY_AFTER_MAX, retry_after};

use serde_json::value::RawValue;

use super::event::{RET_CD_MAX, RET_MSG_MAX, RSP_NO_MAX};
use super::json::{Field, cut};
use super::order::{Millis, ReqNo};
use super::status::{Open, Terminal};

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
    /// An operator has paused the order type: never left this process.
    Paused,
    /// A caller's question that the type's ceiling or cap in flight had no room for: not started.
    OverCeiling,
    /// A caller's question while the owner is asked once a second only: not started.
    BreakerOpen,
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
    /// Whether the question never left this process: the owner had no part in it, and the order is
    /// due as before.
    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Self::NotStarted | Self::Paused | Self::OverCeiling | Self::BreakerOpen
        )
    }

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
            Self::Paused => "paused",
            Self::OverCeiling => "over_ceiling",
            Self::BreakerOpen => "breaker_open",
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

/// What an order type agreed with its owner about answers. By default the protocol's own form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Whether a 404 reads as a 4.
    pub not_found_is_unknown: bool,
    /// Where a foreign answer says what; `None`: the protocol's own form.
    pub mapping: Option<Mapping>,
}

impl Contract {
    /// The `data` of an answer that kept to the contract, as the owner wrote it: for a caller only,
    /// never kept or logged. `body` is what `answer` was judged by.
    pub fn data(&self, answer: &Answer, body: &[u8]) -> Option<Box<RawValue>> {
        match answer {
            Answer::CouldNotAsk { .. } | Answer::Unknown { violation: Some(_) } => None,
            Answer::Terminal { .. } | Answer::InProgress | Answer::Unknown { violation: None } => {
                match &self.mapping {
                    None => body::data(body),
                    Some(mapping) => mapping.data(body),
                }
            }
        }
    }
}

/// The table. `req_no` is the number that was asked about.
pub fn judge(reply: &Reply<'_>, req_no: &ReqNo, contract: &Contract) -> Answer {
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
                200..=299 => return judge_body(body, req_no, contract.mapping.as_ref()),
                404 if contract.not_found_is_unknown => return Answer::Unknown { violation: None },
                404 => CouldNotAsk::NotFound,
                429 => CouldNotAsk::TooManyRequests,
                500..=599 => CouldNotAsk::ServerError,
                _ => CouldNotAsk::Configuration,
            };
            Answer::CouldNotAsk { why, retry_after }
        }
    }
}

/// Both forms say the same four things, and one rule follows: a terminal status counts only beside
/// this order's number. Nothing else shows that an answer is about this order: a cache, a default
/// page or a mixed up connection may answer any URL with a well-formed 1.
fn judge_body(body: &[u8], req_no: &ReqNo, mapping: Option<&Mapping>) -> Answer {
    let said = match mapping {
        None => body::read(body),
        Some(mapping) => mapping.read(body),
    };
    let said = match said {
        Ok(said) => said,
        Err(violation) => return Answer::violation(violation),
    };
    let mut named = false;
    for field in &said.numbers {
        match field {
            Field::Absent => {}
            Field::Text(number) if number.as_bytes() == req_no.as_bytes() => named = true,
            other => {
                let (place, shown) = (said.number_place, other.shown());
                return Answer::violation(format!("{place}: the number asked about, not {shown}"));
            }
        }
    }
    match said.status.split() {
        Err(Open::InProgress) => Answer::InProgress,
        Err(Open::Unknown) => Answer::Unknown { violation: None },
        Ok(_) if !named => {
            let place = said.number_place;
            Answer::violation(format!("{place}: is missing beside a terminal status"))
        }
        Ok(status) => {
            let [rsp_no, other_rsp_no] = &said.rsp_nos;
            Answer::Terminal {
                status,
                rsp_no: note(rsp_no, RSP_NO_MAX).or_else(|| note(other_rsp_no, RSP_NO_MAX)),
                ret_cd: note(&said.ret_cd, RET_CD_MAX),
                ret_msg: note(&said.ret_msg, RET_MSG_MAX),
            }
        }
    }
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

#[cfg(test)]
mod tests;
