//! The check on the shard core: what `settled verify` makes of both logs and the view. It shares with
//! the worker the reading of records and nothing that decides; it only reads, joins no group and
//! commits nothing. `app::verify` brings the records and says when to look again.
//!
//! **What is compared.** Every order of a shard, by what its events, its results and its record in the
//! view say. What is read first decides what may be in flight: `E` and `R` of the view, then its
//! records, then the results to their real end, then the events. An order leaves the view only after
//! its result was committed, and enters it only after its event, so an order that moves meanwhile is
//! found at the later place; what lies at or beyond `E` is pending, whether or not it was folded. What
//! differs all the same is looked at again, twice, before it is told.
//!
//! **What retention has taken.** An order of the view, or a result, names the event that opened its
//! phase: below the head of `order-events` it proves nothing. An order accepted before the oldest
//! result that is left may have been settled by one that is gone: it is counted as `untold`. A number
//! that was used again after the dedupe window may be a new order or an old one, and both are right.
//!
//! **Memory.** One shard at a time, 16 bytes of hash and 40 of state an order: 65 to 130 MB per
//! million orders of the largest shard, plus 35 to 70 MB per million misplaced events.

pub mod books;
pub mod difference;
pub mod forwards;
pub mod logs;
mod order;
pub mod report;

pub use order::Id;
