//! What the API needs of the rest of the program, as functions that `app` fills in: the view, the
//! query engine, the producer, the results log. So the API knows none of them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::domain::answer::Answer;
use crate::domain::order::OrderKey;
use crate::domain::result::OrderResult;
use crate::kafka::At;
use crate::store::StoreError;
use crate::store::script::Found;

/// An asynchronous function; its future owns all that it needs.
pub type Port<In, Out> = Arc<dyn Fn(In) -> Pin<Box<dyn Future<Output = Out> + Send>> + Send + Sync>;

/// The rest of the program, as the API sees it.
#[derive(Clone)]
pub struct Ports {
    /// Reads what the view knows of orders of one shard, in their order.
    pub find: Port<(u16, Vec<OrderKey>), Result<Vec<Found>, StoreError>>,
    /// Reads a shard's result at an offset; `None` when it is not there (any more). The API gives it
    /// 200 ms.
    pub read_result: Port<(u16, u64), Option<OrderResult>>,
    /// Asks the order's owner within the type's ceiling.
    pub ask_now: Port<AskNow, Said>,
    /// Appends to `order-events` with acks=all and answers after the acknowledgement.
    pub append_event: Port<AppendEvent, Result<At, AppendError>>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

/// Makes a [`Port`] of an async closure.
pub fn port<In, Out, F>(function: impl Fn(In) -> F + Send + Sync + 'static) -> Port<In, Out>
where
    F: Future<Output = Out> + Send + 'static,
{
    Arc::new(move |input| Box::pin(function(input)))
}

/// A question that somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskNow {
    /// Whom it is about.
    pub key: OrderKey,
    /// The order's query object, a JSON object of strings.
    pub query: Option<Box<str>>,
    /// W3C trace parent of the order's event.
    pub traceparent: Option<Box<str>>,
    /// How long the question may take, the ceiling's slot included.
    pub deadline: Duration,
}

/// What the owner said.
#[derive(Clone, Debug)]
pub struct Said {
    /// What it means.
    pub answer: Answer,
    /// The answer's `data`: handed to the callers, never stored or logged.
    pub data: Option<Box<RawValue>>,
    /// How long the question took; zero when it never started.
    pub took: Duration,
}

/// A record for `order-events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendEvent {
    /// The order's shard, which is the partition to write to.
    pub shard: u16,
    /// The record's key.
    pub key: OrderKey,
    /// The record's value, an event.
    pub value: Vec<u8>,
    /// For the record's header.
    pub traceparent: Option<Box<str>>,
}

/// The broker did not acknowledge an event; it may have been written all the same. Appending it again
/// is harmless.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the event was not acknowledged: {0}")]
pub struct AppendError(pub String);
