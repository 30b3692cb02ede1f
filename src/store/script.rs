//! The scripts that an owner sends to its shard's view, as data: what they compare, what they change
//! and what they answer. Both stores execute these; the Redis store in Lua, the memory store in Rust.
//!
//! Every script compares the view's token and version with its own before anything else; when both
//! agree it writes, moves `E`, stores the clock and sets version + 1 (a [`Body::Lookup`] writes
//! nothing and leaves the version). On a mismatch nothing changes and the reply is
//! [`Reply::Mismatch`]. At most [`BATCH`] entries a script.

use crate::domain::order::{Mark, MarkKey, Millis, OrderId, TypeId, TypeName};
use crate::domain::record::Record;
use crate::domain::status::Terminal;

/// The most entries that any script takes, and the most empty seconds that a claim walks. A hundred
/// orders hold Redis for about a millisecond; twice as many a script gain nothing, and make others wait.
pub const BATCH: usize = 100;

/// A coarse bucket takes orders only while it holds fewer than this, so that rounding makes no herd.
pub const COARSE_MAX: usize = 64;

/// The fencing token of one ownership: random, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// One script. Sending the same script again after a lost reply is harmless: the version has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Compared with the view's.
    pub token: Token,
    /// Compared with the view's; the script sets version + 1.
    pub version: u64,
    /// The owner's shard time, stored as the view's clock.
    pub clock: Millis,
    /// The new `E`: every event below it has had its effect.
    pub e: u64,
    /// Removes the `rebuild` mark.
    pub ends_rebuild: bool,
    /// Order types first seen by this script, with the ids that the owner gives them and the cursor
    /// at which their timer starts. An id that is taken by another name refuses the script as
    /// [`StoreError::Corrupt`](super::StoreError::Corrupt), and so does an entry of an unknown type.
    /// A lookup cannot bring any.
    pub new_types: Vec<(TypeId, TypeName, u32)>,
    /// What it does.
    pub body: Body,
}

/// What a script does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Applies pending and requeue events, in this order.
    Fold(Vec<Fold>),
    /// Tells of each order whether it is settled, pending, exhausted or unknown. Writes nothing.
    Lookup(Vec<Lookup>),
    /// Takes the orders of a type that are due, oldest second first.
    Claim(Claim),
    /// Puts claimed orders into the bucket of their next due second.
    Reschedule(Vec<Reschedule>),
    /// Folds results: removes settled orders and leaves marks, turns pending orders into exhausted ones.
    Settle(Settle),
    /// Ends leases: walks the buckets of `type_id` from `from_second` to `to_second` (both included),
    /// at most [`BATCH`] entries and as many seconds, and makes every leased order whose valid entry
    /// lies there due in second cursor + 1 (claim + 1, not leased, `due` unchanged). Leased orders are
    /// the head of a bucket, so it stops at the first valid entry that is not leased; stale ones
    /// before it are dropped.
    EndLeases {
        /// The type.
        type_id: TypeId,
        /// First second.
        from_second: u32,
        /// Last second.
        to_second: u32,
    },
    /// Checks records, hash after hash until [`BATCH`] records or as many hashes were seen: a record
    /// whose bucket lies more than `slack_seconds` behind its type's cursor has lost its bucket entry
    /// and goes back into second cursor + 1 (claim + 1, not leased), at most [`BATCH`] of them.
    /// Exhausted records with bucket 0 are in no bucket and stay.
    Sweep {
        /// The record hash to begin with.
        hash: u16,
        /// Two leases.
        slack_seconds: u32,
        /// Types whose timer is paused are not swept: their cursor stands.
        types: Vec<TypeId>,
    },
    /// Removes whole hours of marks, every hash of each hour below `before_hour`, at most [`BATCH`]
    /// hashes a script. The meta keeps which hours exist.
    DropMarks {
        /// Unix hours.
        before_hour: u32,
    },
    /// Gives up a view that has lost orders: there is none afterwards, as after a wipe, and the next
    /// [`Store::acquire`](super::Store::acquire) needs a floor.
    Discard,
}

/// One pending or requeue event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Whose.
    pub id: OrderId,
    /// Where a settled order would be remembered.
    pub mark: Mark,
    /// The record to write when the event applies; `claim` is taken as the old record's + 1 where
    /// there is one (1 otherwise), `bucket`, `leased`, and `due` where it is rounded, are set by
    /// [`Placement`]; `exhausted` and `has_query` follow from what the view keeps.
    pub record: Record,
    /// `None`: a pending event, applies to an unknown order only. `Some`: a requeue that opens this
    /// phase; applies unless the order is settled, or pending or exhausted in that phase or a later one.
    /// On an order that is pending in an older phase it keeps `first_seen`.
    pub requeue: Option<u16>,
    /// JSON `{"query":{..},"traceparent":".."}`, stored beside the record when `record.has_query`;
    /// a requeue without it keeps what the view has (and then `has_query` as it is).
    pub query: Option<Box<str>>,
    /// Where it goes.
    pub placement: Placement,
}

/// Into which bucket an order goes. Second = second of `record.due`. When `granule` > 1: the second
/// rounded up to a multiple of `granule`, keeping the milliseconds, if that bucket holds fewer than
/// [`COARSE_MAX`] entries, else the exact second. When that second is at or behind the type's cursor:
/// with `lease_second` > 0 the order is claimed at once (claim + 1 once more is *not* added; it is
/// leased, its bucket is `lease_second`, and the reply returns it), else it goes to cursor + 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Seconds; 1 for delays below 32 s.
    pub granule: u32,
    /// 0: do not claim. Otherwise above every cursor that the owner has sent; one that is not becomes
    /// cursor + 1, so that no order is put behind the cursor.
    pub lease_second: u32,
}

/// One question about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Whose; `None` when the view knows no such type.
    pub id: Option<OrderId>,
    /// Where a settled order would be remembered.
    pub mark: Mark,
}

/// Takes due orders: from the type's cursor + 1 up to `to_second`, at most `limit` orders, [`BATCH`]
/// entries and [`BATCH`] seconds; pops each entry, drops it when its claim number is not the record's or the
/// record names another bucket, else claim + 1, leased, into the bucket of `lease_second`. The cursor moves to the last second that was
/// found (or left) empty; it never passes a bucket that still holds entries. With `after` beyond the
/// cursor the buckets between the two are left to other claims, and the cursor stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The type.
    pub type_id: TypeId,
    /// The second to begin behind, where it lies beyond the cursor.
    pub after: u32,
    /// The last second to take from.
    pub to_second: u32,
    /// The most orders to claim, 1 to [`BATCH`].
    pub limit: u16,
    /// Above `to_second`.
    pub lease_second: u32,
}

/// One claimed order to put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reschedule {
    /// Whose.
    pub id: OrderId,
    /// Applies only when the record still has this claim number.
    pub claim: u32,
    /// The new record; `claim` becomes the compared one + 1, `bucket` is set by the placement;
    /// `exhausted`, `has_query` and `first_seen` stay as the view has them.
    pub record: Record,
    /// Where it goes.
    pub placement: Placement,
}

/// Folds a run of results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Compared with the view's `R` (an assertion: token and version already hold it); another one is
    /// a [`Reply::Mismatch`].
    pub from_r: u64,
    /// The new `R`.
    pub to_r: u64,
    /// In the order of the log.
    pub results: Vec<SettleOne>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleOne {
    /// Whose; `None` when the view knows no such type (then only the mark is written). An exhausted
    /// order needs one: its type comes with [`Script::new_types`].
    pub id: Option<OrderId>,
    /// Where a settled order is remembered.
    pub mark: Mark,
    /// What became of it.
    pub outcome: SettleOutcome,
    /// The result's offset.
    pub offset: u64,
}

/// What became of it, for the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// Removes record, query and exhaustion.
    Settled {
        /// 1 or 2.
        status: Terminal,
        /// The unix hour under which the mark is kept, a multiple of [`MARK_HOURS`](super::key::MARK_HOURS); `None` writes none (older than the window).
        mark_hour: Option<u32>,
    },
    /// Unless the order is settled, or pending in a later phase, or exhausted in this phase or a
    /// later one: the record becomes this one (claim = old + 1, or 1), the order joins the exhausted
    /// set with the result's offset as score. `record.bucket` = 0 unless it is still asked slowly,
    /// then placed like any other (never claimed at once).
    Exhausted {
        /// `exhausted` is set.
        record: Record,
        /// As in [`Fold::query`]; `None` keeps what the view has.
        query: Option<Box<str>>,
        /// `Some(granule)`: still asked slowly, put into a bucket.
        granule: Option<u32>,
    },
}

/// What a script answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Token or version differ, or there is no view. Nothing changed.
    Mismatch,
    /// [`Body::Fold`]: per entry what happened, and what was claimed at once.
    Folded {
        /// In the order of the entries.
        outcomes: Vec<Folded>,
        /// Those claimed at once.
        claimed: Vec<Claimed>,
    },
    /// [`Body::Lookup`], in the order of the entries.
    Found(Vec<Found>),
    /// [`Body::Claim`].
    Claimed {
        /// The orders taken.
        claimed: Vec<Claimed>,
        /// Entries dropped because their claim number was stale.
        stale: u32,
        /// The cursor after the script.
        cursor: u32,
    },
    /// [`Body::Reschedule`]: how many still had their claim, and what was claimed at once.
    Rescheduled {
        /// In the order of the entries: whether it applied.
        applied: Vec<bool>,
        /// Those claimed at once.
        claimed: Vec<Claimed>,
    },
    /// [`Body::Settle`].
    Settled,
    /// [`Body::EndLeases`]: orders made due; `next_second` from where to go on, `None` when done.
    LeasesEnded {
        /// How many.
        ended: u32,
        /// Go on from here.
        next_second: Option<u32>,
    },
    /// [`Body::Sweep`]: records put back into a bucket.
    Swept {
        /// How many; stays 0 unless keys were lost.
        repaired: u32,
        /// The first hash that was not seen; the number of hashes after the last one.
        next_hash: u16,
    },
    /// [`Body::Discard`].
    Discarded,
    /// [`Body::DropMarks`]: `more` when hashes remain.
    MarksDropped {
        /// Send it again.
        more: bool,
    },
}

/// What a fold entry came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    /// The order is pending now.
    Added,
    /// It was already pending or exhausted (in that phase or a later one).
    Known,
    /// It is settled.
    Settled,
    /// A requeue opened a phase.
    Requeued,
}

/// What the view knows of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Unknown,
    /// It is settled with this status; the result stands at `offset`.
    Settled {
        /// 1 or 2.
        status: Terminal,
        /// In `order-results`.
        offset: u64,
    },
    /// It is pending or exhausted.
    Open {
        /// Its record.
        record: Record,
        /// As in [`Fold::query`].
        query: Option<Box<str>>,
    },
}

/// An order that was taken for asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Whose.
    pub id: OrderId,
    /// As it stands in the view after the claim.
    pub record: Record,
    /// As in [`Fold::query`].
    pub query: Option<Box<str>>,
}

/// A view's meta data, as [`acquire`](super::Store::acquire) and [`meta`](super::Store::meta) return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// N, recorded when the view was made.
    pub shards: u16,
    /// Counter of ownerships, for people.
    pub epoch: u64,
    /// The owner's token.
    pub token: Token,
    /// Moved by every script.
    pub version: u64,
    /// Next event.
    pub e: u64,
    /// Next result.
    pub r: u64,
    /// The `R` that the results are read from again while a rebuild runs.
    pub rebuild: Option<u64>,
    /// The clock stored by the last script.
    pub clock: Millis,
    /// The store's own time at this call.
    pub now: Millis,
    /// The secret of the marks.
    pub mark_key: MarkKey,
    /// Name, id and cursor of each type.
    pub types: Vec<(TypeId, TypeName, u32)>,
}

/// Where a missing view is folded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Next event.
    pub e: u64,
    /// Next result; also the `rebuild` mark.
    pub r: u64,
}

/// What gauges and the floor are computed from; a plain read, not fenced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The owner's token, 0 without a view.
    pub token: u64,
    /// Next event.
    pub e: u64,
    /// Next result.
    pub r: u64,
    /// Whether a rebuild runs.
    pub rebuilding: bool,
    /// Pending orders by type and slot of first sight, oldest slot first within a type.
    pub slots: Vec<Slot>,
    /// Exhausted orders by type.
    pub exhausted: Vec<(TypeId, u64)>,
    /// Pending orders of all slots, as the meta counts them; `None`: the view is older than that count.
    pub pending: Option<u64>,
    /// Exhausted orders as the list of them has it.
    pub listed: u64,
    /// Records, pending and exhausted.
    pub records: u64,
    /// The result offset of the oldest open exhaustion.
    pub oldest_exhaustion: Option<u64>,
    /// Name, id and cursor of each type.
    pub types: Vec<(TypeId, TypeName, u32)>,
}

impl Survey {
    /// How many orders the view has lost, or holds beside its own count of them. Scripts change
    /// records, slots, list and the counts in the meta together, so anything but 0 is damage from
    /// outside. The counts in the meta tell when records went together with their slots or their list.
    pub fn unaccounted(&self) -> u64 {
        let counted: u64 = self.slots.iter().map(|slot| slot.count).sum();
        let exhausted: u64 = self.exhausted.iter().map(|(_, count)| count).sum();
        let pending = self.pending.unwrap_or(counted);
        (counted + self.listed)
            .abs_diff(self.records)
            .max(pending.abs_diff(counted))
            .max(exhausted.abs_diff(self.listed))
    }
}

/// The pending orders of one type whose first event was appended within one slot of
/// [`SLOT_SECONDS`]. Exhausted orders are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The type.
    pub type_id: TypeId,
    /// Unix time / [`SLOT_SECONDS`].
    pub slot: u32,
    /// How many; a slot with none is removed.
    pub count: u64,
    /// A position from which folding meets every order of this slot: the smaller of `E` before the
    /// script that opened the slot and the smallest event offset put into it since.
    pub e: u64,
    /// The earliest first sight that was put into it.
    pub first_seen: Millis,
}

/// The length of a slot of first sight.
pub const SLOT_SECONDS: u32 = 60;
