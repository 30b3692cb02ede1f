//! The view behind one trait: Redis, and memory for the embedded default and as the reference model.

pub mod ceiling;
mod field;
pub mod key;
mod limits;
pub mod memory;
pub mod operator;
pub mod redis;
pub mod script;

use std::collections::BTreeMap;
use std::future::Future;

use crate::domain::order::{Mark, MarkKey, OrderKey, TypeName};
use ceiling::{Reserve, Slots};
use script::{Floor, Found, Meta, Reply, Script, Survey, Token};

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The command may or may not have run: read the meta before anything else is sent.
    #[error("the reply was lost: {0}")]
    Lost(String),
    /// The command did not run; try again later (loading, read-only, cluster moving, not connected).
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The store is full; nothing was written. Drains may still succeed.
    #[error("the store is full: {0}")]
    Full(String),
    /// A key of the wrong type, an unknown layout, another number of shards: nothing was written.
    #[error("the view is damaged: {0}")]
    Corrupt(String),
}

/// What [`Store::acquire`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The shard is ours. `rebuilding` when the view was made now or is half rebuilt.
    Owned(Meta),
    /// There is no view and no floor was given; nothing was written.
    Absent,
}

/// What acquiring a shard needs.
#[derive(Clone, Copy, Debug)]
pub struct Acquire {
    /// The shard.
    pub shard: u16,
    /// N; compared with what the view recorded ([`StoreError::Corrupt`] when it differs).
    pub shards: u16,
    /// Drawn anew for every try.
    pub token: Token,
    /// Where to fold from when there is no view.
    pub floor: Option<Floor>,
    /// The secret of a view that is made now.
    pub mark_key: MarkKey,
}

/// The view. Cancelling any of these futures leaves the command's fate unknown, as a lost reply does.
pub trait Store: Send + Sync + 'static {
    /// Takes the shard: epoch + 1 and the new token; makes the view when there is none and a floor is
    /// given; with a `rebuild` mark, `R` goes back to it.
    fn acquire(
        &self,
        acquire: Acquire,
    ) -> impl Future<Output = Result<Acquired, StoreError>> + Send;

    /// Runs one script of the shard's owner.
    fn run(
        &self,
        shard: u16,
        script: &Script,
    ) -> impl Future<Output = Result<Reply, StoreError>> + Send;

    /// Reads the meta data; `None` without a view.
    fn meta(&self, shard: u16) -> impl Future<Output = Result<Option<Meta>, StoreError>> + Send;

    /// Reads what gauges and the floor are computed from.
    fn survey(&self, shard: u16) -> impl Future<Output = Result<Survey, StoreError>> + Send;

    /// Reads what the view knows of orders of one shard, in their order and not at one moment, for
    /// the API; not fenced.
    fn find_all(
        &self,
        shard: u16,
        orders: &[OrderKey],
    ) -> impl Future<Output = Result<Vec<Found>, StoreError>> + Send;

    /// As [`Store::find_all`], of one order.
    fn find(
        &self,
        shard: u16,
        order: &OrderKey,
    ) -> impl Future<Output = Result<Found, StoreError>> + Send {
        async move {
            let found = self.find_all(shard, std::slice::from_ref(order)).await?;
            Ok(found.into_iter().next().unwrap_or(Found::Unknown))
        }
    }

    /// Reserves start times of a type's ceiling, on the store's own time, none more than a second
    /// ahead, and takes the report of what the worker heard.
    fn reserve(
        &self,
        order_type: &TypeName,
        reserve: &Reserve,
    ) -> impl Future<Output = Result<Slots, StoreError>> + Send;

    /// Everything that the view of a shard holds, in a form that is the same for every store.
    fn dump(&self, shard: u16) -> impl Future<Output = Result<Dump, StoreError>> + Send;
}

/// A complete picture of one shard's view, for tests and for `verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Meta fields but for the epoch's wall time.
    pub meta: BTreeMap<String, String>,
    /// Records by `<type id>/<reqNO>`.
    pub records: BTreeMap<String, crate::domain::record::Record>,
    /// Query values by `<type id>/<reqNO>`.
    pub queries: BTreeMap<String, String>,
    /// Bucket entries, in order, by `<type id>.<second>`: claim number and reqNO. Only the buckets
    /// that some record names; others hold nothing but stale entries.
    pub buckets: BTreeMap<String, Vec<(u32, String)>>,
    /// Marks by hour: status code and result offset.
    pub marks: BTreeMap<u32, BTreeMap<Mark, (String, u64)>>,
    /// Exhausted orders `<type id>/<reqNO>` with their result's offset.
    pub exhausted: BTreeMap<String, u64>,
    /// Slots of first sight by `<type id>.<slot>`: count, `E`, first sight.
    pub slots: BTreeMap<String, (u64, u64, u64)>,
}
