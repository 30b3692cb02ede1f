//! What goes into a shard's core and what comes out of it. Everything here is plain data: the actor
//! carries it to Kafka, the store and the query engine; a simulator carries it anywhere else.

use std::sync::Arc;

use crate::domain::answer::Answer;
use crate::domain::event::{Reason, Refusal};
use crate::domain::order::{Millis, OrderId, OrderKey, TypeName};
use crate::domain::result::OrderResult;
use crate::kafka::{Ends, EventRecord, Original, ResultRecord};
use crate::metrics::label::{Asked, EventOutcome, RecoveryCause, ResultKind};
use crate::store::script::{Floor, Meta, Reply, Script, Survey};
use crate::store::{Acquired, StoreError};

/// What happened. All but [`Input::Assigned`], [`Input::Revoked`] and [`Input::Tick`] belong to a
/// generation and are dropped when that is over.
#[derive(Debug)]
pub enum Input {
    /// The member group gave us the shard.
    Assigned,
    /// The member group took it away; nothing of the old generation may start any more.
    Revoked,
    /// Answer to [`Command::Acquire`].
    Acquired(Result<Acquired, StoreError>),
    /// Answer to [`Command::FindFloor`].
    FloorFound(Result<FloorFound, String>),
    /// Answer to [`Command::Fence`].
    Fenced(Result<(), String>),
    /// Answer to [`Command::AskEnds`].
    Ends(Result<LogEnds, String>),
    /// Records of `order-events[p]`; `position` is the reader's, past control records.
    Events(Vec<EventRecord>, u64),
    /// Records of `order-results[p]`.
    Results(Vec<ResultRecord>, u64),
    /// Answer to [`Command::Run`].
    Replied(Result<Reply, StoreError>),
    /// Answer to [`Command::ReadMeta`].
    MetaRead(Result<Option<Meta>, StoreError>),
    /// Answer to [`Command::Ask`].
    Answered(Heard),
    /// Answer to [`Command::Publish`]; any error makes the publisher unusable.
    Published(Result<(), String>),
    /// The forward of this offset was larger than its topic takes: it is being kept as a dead letter.
    NotForwarded(u64, Reason),
    /// A dead letter or a forward of this offset was acknowledged, or failed for good.
    Acknowledged(u64, Result<(), String>),
    /// Answer to [`Command::Survey`].
    Surveyed(Result<Survey, StoreError>),
    /// Time passed.
    Tick,
}

/// What an owner answered to one question.
#[derive(Debug)]
pub struct Heard {
    /// Whom it was about.
    pub id: OrderId,
    /// The claim that the question belonged to.
    pub claim: u32,
    /// What came of it.
    pub answer: Answer,
    /// Monotonic milliseconds at which the question started.
    pub started: Option<Millis>,
}

/// Where a missing or half rebuilt view is folded from.
#[derive(Clone, Copy, Debug)]
pub struct FloorFound {
    /// `E` and `R`.
    pub floor: Floor,
    /// The group's committed `E`: garbage and forwards below it were dealt with before the wipe.
    pub known_below: u64,
}

/// The real ends of both logs.
#[derive(Clone, Copy, Debug)]
pub struct LogEnds {
    /// `order-events[p]`.
    pub events: Ends,
    /// `order-results[p]`.
    pub results: Ends,
}

/// What is to be done. Commands of one step are carried out in order.
#[derive(Debug)]
pub enum Command {
    /// Take the shard in the store, with a token drawn for this try.
    Acquire(Option<Floor>),
    /// Read the floor and the group's committed `E`.
    FindFloor,
    /// Throw the old publisher away and open a new one: `init_transactions` fences the old owner.
    Fence,
    /// Ask both logs for their real ends.
    AskEnds,
    /// Start reading `order-results[p]` at this offset.
    ReadResults(u64),
    /// Start reading `order-events[p]` at this offset.
    ReadEvents(u64),
    /// Stop reading both and throw the publisher away.
    Release,
    /// Send this script; the same bytes may be sent again.
    Run(Arc<Script>),
    /// Read the meta data after a lost reply.
    ReadMeta,
    /// Ask the owner.
    Ask(Ask),
    /// Publish these in one transaction.
    Publish(Vec<OrderResult>),
    /// Keep this event as a dead letter, then acknowledge its offset.
    DeadLetter {
        /// Where it lies.
        offset: u64,
        /// When it was appended.
        appended: Millis,
        /// Why.
        refusal: Refusal,
        /// The record.
        original: Box<Original>,
    },
    /// Send this event to the shard that it belongs to, then acknowledge its offset.
    Forward {
        /// Where it lies.
        offset: u64,
        /// The record.
        original: Box<Original>,
        /// Its shard.
        to: u16,
        /// When it was appended.
        appended: Millis,
    },
    /// Read what gauges and the floor are computed from.
    Survey,
    /// Commit the floor.
    CommitFloor(Floor),
    /// Commit `E` as the member group's offset, for lag monitors.
    CommitGroup(u64),
}

/// One question to start now.
#[derive(Debug)]
pub struct Ask {
    /// In this view.
    pub id: OrderId,
    /// On the wire.
    pub key: OrderKey,
    /// Comes back with the answer.
    pub claim: u32,
    /// 1 for the first.
    pub attempt: u16,
    /// It came due only lately, and belongs to no backlog.
    pub fresh: bool,
    /// The query object.
    pub query: Option<Box<str>>,
    /// W3C trace parent.
    pub traceparent: Option<Box<str>>,
    /// Monotonic milliseconds after which it must not start.
    pub start_before: Millis,
}

/// What happened inside, for logs and metrics. Never a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A recovery began.
    Recovering(RecoveryCause),
    /// The timer opened, this long after the recovery began.
    Opened(Millis),
    /// «view is empty, rebuilding from E=.., R=..».
    Rebuilding {
        /// Next event.
        e: u64,
        /// Next result.
        r: u64,
        /// Events below were folded before; 0: none ever were.
        known_below: u64,
    },
    /// An event had its effect.
    Event(EventOutcome),
    /// An event was kept as a dead letter, acknowledged.
    DeadLetter(Reason),
    /// A question came back.
    Asked {
        /// Index into `Plan::types`.
        type_index: usize,
        /// What came of it.
        answer: Asked,
        /// Due to start; `None`: it never started.
        lateness: Option<Millis>,
        /// Start to answer.
        took: Option<Millis>,
    },
    /// Results were committed: how many, and how long the commit took.
    Committed(usize, Millis),
    /// A result was read back and folded, for the first time as far as this worker knows.
    Result(ResultKind),
    /// Records that the sweep put back into a bucket.
    Swept(u32),
    /// A person should look.
    Alarm(Alarm),
}

/// What a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The next position lies outside the log: the shard stands still rather than skip.
    OutOfRange {
        /// `order-events` or `order-results`.
        log: &'static str,
        /// Where we would go on.
        position: u64,
        /// What is there.
        ends: Ends,
    },
    /// An owner's answer contradicts what is being published.
    Contradiction(OrderKey),
    /// A terminal event contradicts a published status.
    Conflict(OrderKey),
    /// An owner's answer was outside the contract, in these words.
    Violation(OrderKey, String),
    /// The question cannot be asked as it is configured, or the owner refuses it.
    QueryConfiguration(OrderKey),
    /// A recovery reads nothing more, though the log goes on: somebody's transaction is open.
    OpenTransaction,
    /// Events of a type that is not configured are kept, but nobody is asked.
    UnknownType(TypeName),
    /// An order's schedule ended without a terminal answer.
    Exhausted(OrderKey),
    /// A record of `order-results` is none of ours.
    ForeignResult(u64),
    /// A step of the recovery failed and is tried again.
    Step(&'static str, String),
    /// So many orders are in the view's counts and not in the view, or the other way round.
    Unaccounted(u64),
    /// The view is damaged.
    Damaged(String),
    /// The store is full: intake waits, draining goes on.
    StoreFull(String),
}

/// One step's commands and notes, in order.
#[derive(Debug, Default)]
pub struct Output {
    /// To be carried out.
    pub commands: Vec<Command>,
    /// To be told.
    pub notes: Vec<Note>,
}
