//! Events that this process writes itself: what came in by `POST /v1/orders`, terminal answers that
//! the API got, and commands by hand.

use super::{Body, Event};
use crate::domain::json::ObjectWriter;
use crate::domain::status::Status;

/// Who says an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author<'a> {
    /// A business system, or this process (`api`); the name becomes `source`.
    System(&'a str),
    /// A person. A terminal status becomes `command: settle`, and the source is `operator`.
    Operator {
        /// Who, 1 to 128 characters.
        actor: &'a str,
        /// Why, 1 to 512 characters.
        reason: &'a str,
    },
}

impl Event {
    /// The record's value. [`decode`](super::decode) reads it back as an equal event, as long as the
    /// author keeps the limits named there; the source of a terminal event becomes the author's.
    /// A requeue is a command whoever says it: a system is then its own actor.
    pub fn encode(&self, author: Author<'_>) -> Vec<u8> {
        let (source, by_hand) = match author {
            Author::System(source) => (source, None),
            Author::Operator { actor, reason } => ("operator", Some((actor, reason))),
        };
        let mut out = ObjectWriter::new(256);
        out.number("v", 1);
        out.text("type", self.key.order_type.as_str());
        out.text("reqNO", self.key.req_no.as_str());
        match &self.body {
            Body::Pending {
                status,
                ask_at,
                query,
            } => {
                out.text("status", Status::from(*status).code());
                if let Some(ask_at) = ask_at {
                    out.time("askAt", *ask_at);
                }
                raw_if(&mut out, query.as_deref());
            }
            Body::Terminal(terminal) => {
                if by_hand.is_some() {
                    out.text("command", "settle");
                }
                out.text("status", Status::from(terminal.status).code());
                out.text_if("rspNO", terminal.rsp_no.as_deref());
                out.text_if("retCd", terminal.ret_cd.as_deref());
                out.text_if("retMsg", terminal.ret_msg.as_deref());
            }
            Body::Requeue { phase, query } => {
                out.text("command", "requeue");
                out.number("phase", u64::from(*phase));
                raw_if(&mut out, query.as_deref());
            }
        }
        out.time("at", self.at);
        out.text("source", source);
        let is_requeue = matches!(self.body, Body::Requeue { .. });
        if let Some((actor, reason)) = by_hand.or(is_requeue.then_some((source, "requeued"))) {
            out.text("actor", actor);
            out.text("reason", reason);
        }
        out.finish()
    }
}

fn raw_if(out: &mut ObjectWriter, query: Option<&str>) {
    if let Some(query) = query {
        out.raw("query", query);
    }
}
