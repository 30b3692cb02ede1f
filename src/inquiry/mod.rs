//! The query engine: asks an order's owner once, within the type's ceiling, and says what came of it.
//! The shards hand it their due orders, the API its callers' questions; it never decides what an
//! answer means (`domain::answer`) nor when an order is asked next (`domain::schedule`).

mod budget;
mod ceiling;
mod condition;
mod dispatch;
mod engine;
mod flights;
mod http;
mod job;
mod lane;
mod names;
mod owner;
mod pause;
mod placeholder;
mod tally;
mod template;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use self::engine::{Around, Engine, EngineError};
pub use self::http::{BODY_MAX, Http, Outcome};
pub use self::job::AnswerNow;
pub use self::template::{Subject, Template, Unaskable};

use crate::domain::answer::Answer;
use crate::domain::order::{Millis, OrderKey};

/// One question to an order's owner.
#[derive(Debug)]
pub struct Question {
    /// Whom it is about.
    pub key: OrderKey,
    /// The query object as the event carried it (a JSON object of strings).
    pub query: Option<Box<str>>,
    /// W3C trace parent, passed on.
    pub traceparent: Option<Box<str>>,
    /// 1 for the first; goes into the header `settled-attempt`.
    pub attempt: u16,
    /// It came due only lately: a first question then goes before a backlog.
    pub fresh: bool,
    /// Monotonic milliseconds of the process clock after which the question must not start (the
    /// lease ends too soon then); it comes back as `NotStarted`.
    pub start_before: Millis,
    /// Who asked; travels back with the answer.
    pub asker: Asker,
}

/// Where the answer goes.
#[derive(Debug)]
pub struct Asker {
    /// Says whether the asker's ownership still stands; looked at right before the question starts.
    pub standing: Arc<dyn Standing>,
    /// The claim that the question belongs to, handed back as it is.
    pub ticket: Ticket,
    /// Answers go here; when it is full or closed the answer is dropped (the lease's end brings the
    /// order back).
    pub answers: mpsc::Sender<Answered>,
}

/// Whether a question may still start.
pub trait Standing: std::fmt::Debug + Send + Sync {
    /// False once the asker's generation was revoked.
    fn stands(&self) -> bool;
}

/// What the asker knows its question by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The asking shard's generation.
    pub generation: u64,
    /// The order in that shard's view.
    pub id: crate::domain::order::OrderId,
    /// The claim number.
    pub claim: u32,
}

/// An answer on its way back.
#[derive(Debug)]
pub struct Answered {
    /// Whose.
    pub ticket: Ticket,
    /// What came of it.
    pub answer: Answer,
    /// Monotonic milliseconds at which the question started; `None`: it never did.
    pub started: Option<Millis>,
    /// From the start to the last byte of the answer, or to giving up; zero when it never started.
    pub took: Duration,
}
