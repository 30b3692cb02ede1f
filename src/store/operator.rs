//! What people on call ask of a store: which orders are exhausted, and which order types are paused.
//! Nothing here writes to a shard's view; a pause is of no shard.

use std::future::Future;

use super::StoreError;
use crate::domain::order::{Millis, OrderKey, TypeName};
use crate::domain::record::Record;

/// A store as operators see it. Cancelling a reading leaves nothing behind, cancelling
/// [`put_pause`](OperatorStore::put_pause) leaves its fate unknown.
pub trait OperatorStore: Send + Sync + 'static {
    /// Exhausted orders of one shard whose result lies in `span`, in the order of their results; at
    /// most `limit` and at most [`BATCH`](super::script::BATCH). Not fenced: what is settled or
    /// requeued meanwhile may be there or not.
    fn exhausted(
        &self,
        shard: u16,
        span: Span,
        limit: usize,
    ) -> impl Future<Output = Result<ExhaustedPage, StoreError>> + Send;

    /// The last word on each order type that was ever paused, in the order of the names.
    fn pauses(&self) -> impl Future<Output = Result<Vec<TypePause>, StoreError>> + Send;

    /// Keeps `pause` unless a later word stands, and gives what stands. Repeating it is harmless.
    fn put_pause(
        &self,
        pause: &TypePause,
    ) -> impl Future<Output = Result<TypePause, StoreError>> + Send;
}

/// Offsets of `order-results`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub from: u64,
    /// The one past the last; `None`: to the end.
    pub to: Option<u64>,
}

/// A page of exhausted orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExhaustedPage {
    /// By the offset of their result. Fewer than were asked for, even none, says nothing.
    pub orders: Vec<Exhausted>,
    /// From where to go on; `None`: there is nothing more.
    pub next: Option<u64>,
}

/// An exhausted order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Who.
    pub key: OrderKey,
    /// Its record.
    pub record: Record,
    /// Where its result lies in its shard's `order-results`.
    pub offset: u64,
}

impl Exhausted {
    /// When its result was appended; `None` where the order is still asked, slowly: its record then
    /// has the time of the next question instead.
    pub fn since(&self) -> Option<Millis> {
        (self.record.bucket == 0).then_some(self.record.due)
    }
}

/// The last word on whether an order type is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePause {
    /// Which type.
    pub order_type: TypeName,
    /// When it was said; the latest counts.
    pub at: Millis,
    /// Paused, or resumed.
    pub paused: bool,
    /// Who said it.
    pub actor: String,
    /// Why.
    pub reason: String,
}
