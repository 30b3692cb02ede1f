//! What is said of one order, as `schemas/` describes it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::order::{Millis, OrderKey};
use crate::domain::record::Record;
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::{Status, Terminal};
use crate::domain::wire_time;

use super::question::Told;

/// What is known of an order at this moment.
#[derive(Debug, Serialize)]
pub(super) struct OrderAnswer {
    v: u8,
    #[serde(rename = "type")]
    order_type: String,
    #[serde(rename = "reqNO")]
    req_no: String,
    known: bool,
    state: State,
    status: &'static str,
    #[serde(rename = "final")]
    is_final: bool,
    fresh: bool,
    source: Source,
    #[serde(rename = "rspNO", skip_serializing_if = "Option::is_none")]
    rsp_no: Option<String>,
    #[serde(rename = "retCd", skip_serializing_if = "Option::is_none")]
    ret_cd: Option<String>,
    #[serde(rename = "retMsg", skip_serializing_if = "Option::is_none")]
    ret_msg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<u16>,
    #[serde(rename = "firstSeenAt", skip_serializing_if = "Option::is_none")]
    first_seen_at: Option<String>,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Settled,
    Pending,
    Exhausted,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    View,
    Inquiry,
}

/// Whether a terminal answer stands in `order-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// The answer is not terminal.
    NotTerminal,
    /// It is on its way to the broker.
    UnderWay,
    /// The broker has acknowledged it.
    Appended,
    /// The broker has not acknowledged it.
    NotAcknowledged,
    /// The view does not know the order: it is answered, not published.
    NotKnown,
}

impl OrderAnswer {
    fn new(key: &OrderKey, at: Millis) -> Self {
        Self {
            v: 1,
            order_type: key.order_type.as_str().to_owned(),
            req_no: key.req_no.as_str().to_owned(),
            known: false,
            state: State::Unknown,
            status: Status::Unknown.code(),
            is_final: false,
            fresh: false,
            source: Source::View,
            rsp_no: None,
            ret_cd: None,
            ret_msg: None,
            data: None,
            asked: None,
            first_seen_at: None,
            at: wire_time::format(at),
            reason: None,
        }
    }

    /// A settled order; `result` where it could be read in time.
    pub fn settled(
        key: &OrderKey,
        status: Terminal,
        result: Option<OrderResult>,
        at: Millis,
    ) -> Self {
        let mut answer = Self {
            known: true,
            state: State::Settled,
            status: Status::from(status).code(),
            is_final: true,
            ..Self::new(key, at)
        };
        if let Some(result) = result {
            answer.asked = Some(result.asked);
            answer.first_seen_at = Some(wire_time::format(result.first_seen));
            if let Outcome::Settled {
                rsp_no,
                ret_cd,
                ret_msg,
                ..
            } = result.outcome
            {
                (answer.rsp_no, answer.ret_cd, answer.ret_msg) = (rsp_no, ret_cd, ret_msg);
            }
        }
        answer
    }

    /// An order that is not settled, as far as the view knows it; `reason`: why it is no better.
    pub fn known(key: &OrderKey, record: Option<&Record>, reason: String, at: Millis) -> Self {
        Self {
            reason: Some(reason),
            ..Self::of(key, record, at)
        }
    }

    fn of(key: &OrderKey, record: Option<&Record>, at: Millis) -> Self {
        let mut answer = Self::new(key, at);
        if let Some(record) = record {
            answer.known = true;
            answer.state = if record.exhausted {
                State::Exhausted
            } else {
                State::Pending
            };
            answer.status = Status::from(record.last).code();
            answer.asked = Some(record.asked);
            answer.first_seen_at = Some(wire_time::format(record.first_seen));
        }
        answer
    }

    /// An order that is not settled, after its owner was asked; `record` when the view has it.
    pub fn asked(key: &OrderKey, record: Option<&Record>, told: &Told) -> Self {
        let (said, mut answer) = (&told.said, Self::of(key, record, told.at));
        if let Answer::CouldNotAsk { why, .. } = &said.answer {
            answer.reason = Some(format!("the owner could not be asked: {}", why_not(*why)));
            return answer;
        }
        answer.fresh = true;
        answer.source = Source::Inquiry;
        answer.data.clone_from(&said.data);
        match &said.answer {
            Answer::Terminal {
                status,
                rsp_no,
                ret_cd,
                ret_msg,
            } => {
                answer.status = Status::from(*status).code();
                answer.rsp_no.clone_from(rsp_no);
                answer.ret_cd.clone_from(ret_cd);
                answer.ret_msg.clone_from(ret_msg);
                answer.conclude(told.recorded);
            }
            Answer::InProgress => answer.status = Status::InProgress.code(),
            Answer::Unknown { violation } => {
                answer.status = Status::Unknown.code();
                answer.reason.clone_from(violation);
            }
            Answer::CouldNotAsk { .. } => {}
        }
        answer
    }

    /// A terminal answer is final only once it cannot be forgotten any more.
    fn conclude(&mut self, recorded: Recorded) {
        match recorded {
            Recorded::Appended => {
                self.state = State::Settled;
                self.is_final = true;
            }
            Recorded::UnderWay => {
                self.reason = Some("the answer is being recorded; ask again".into());
            }
            Recorded::NotAcknowledged | Recorded::NotTerminal => {
                self.reason = Some("the answer could not be recorded yet; ask again".into());
            }
            // It may have had events: not read yet, while a view is folded again, or no longer
            // remembered.
            Recorded::NotKnown => {
                self.reason = Some(
                    "no event of this order is known at this moment; nothing is recorded".into(),
                );
            }
        }
    }
}

fn why_not(why: CouldNotAsk) -> &'static str {
    match why {
        CouldNotAsk::TimedOut => "no answer in time",
        CouldNotAsk::Unreachable => "not reachable",
        CouldNotAsk::ServerError => "it answered with a server error",
        CouldNotAsk::TooManyRequests => "it asked for fewer questions",
        CouldNotAsk::NotFound => "it answered 404",
        CouldNotAsk::Configuration => "it refuses our questions; an operator must look",
        CouldNotAsk::NotStarted => "no question may start at this moment",
        CouldNotAsk::Paused => "an operator has paused this order type",
        CouldNotAsk::OverCeiling => "it is asked as often as it may be; try again later",
        CouldNotAsk::BreakerOpen => "it has not answered for a while and is tried once a second",
    }
}
