//! The keys of one shard's view, by purpose. Their Redis names are made here and nowhere else; the
//! memory store uses the same words to say which part of a view is damaged. Nothing here does I/O.

use std::fmt;

use crate::domain::order::{Mark, TypeId, TypeName};

/// Unix hours whose marks are kept, and dropped, together under the first of them. Every order that
/// is new to the view is looked for in each such group: by single hours, a window of a day took 25
/// look-ups of 1.2 microseconds.
pub const MARK_HOURS: u32 = 3;

/// Mark hashes per group of [`MARK_HOURS`], part of the view's layout. 4096, all that two characters
/// name, keep each below the 128 entries at which Redis gives up its compact encoding until a shard
/// settles 524,288 orders in that time.
pub const MARK_HASHES: u16 = 4096;

/// What a view says about its own shape; a view of another layout is not touched. Layout 1, then the
/// record hashes and the mark hashes.
pub const LAYOUT: &str = "1 1024 4096";

/// One key of a shard's view. Each lives as long as the view does unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// HASH: what [`Meta`](super::script::Meta) tells, the exhausted orders of each type and the
    /// hours that have marks. No view without it.
    Meta,
    /// HASH: type id + number -> packed record. One of
    /// [`RECORD_HASHES`](crate::domain::order::RECORD_HASHES).
    Records(u16),
    /// HASH: type id + number -> query fields and trace parent, where an order has them.
    Queries(u16),
    /// LIST: the orders of a type that are due, or whose lease ends, in this second; leased ones
    /// stand before all others. Gone when it was claimed.
    Bucket(TypeId, u32),
    /// HASH: mark -> status and result offset, of [`MARK_HOURS`]; one of [`MARK_HASHES`].
    Marks(u32, u16),
    /// ZSET: type id + number of exhausted orders, by the offset of their result.
    Exhausted,
    /// HASH: `<type id>.<slot>` -> count, `E` and earliest first sight of the pending orders.
    Slots,
}

impl Key {
    /// The key's name in Redis; the shard in braces keeps all keys of a shard in one slot.
    pub fn name(self, prefix: &str, shard: u16) -> String {
        let base = format!("{prefix}s{{{shard}}}");
        match self {
            Self::Meta => format!("{base}meta"),
            Self::Records(hash) => format!("{base}o{}", hash_name(hash)),
            Self::Queries(hash) => format!("{base}q{}", hash_name(hash)),
            Self::Bucket(type_id, second) => format!("{base}d{}.{second}", type_id.0),
            Self::Marks(hour, hash) => format!("{base}m{hour}.{}", hash_name(hash)),
            Self::Exhausted => format!("{base}x"),
            Self::Slots => format!("{base}h"),
        }
    }
}

/// STRING: a type's ceiling and breaker in ten numbers, as `reserve.lua` tells them; of no shard.
/// Expires an hour after its last use.
pub fn ceiling(prefix: &str, order_type: &TypeName) -> String {
    format!("{prefix}t{order_type}")
}

/// HASH: order type -> the last word on its pause; of no shard, never expires. A word is its time in
/// milliseconds, `1` paused or `0` resumed, and a JSON array of actor and reason, spaces between.
pub fn pauses(prefix: &str) -> String {
    format!("{prefix}paused")
}

/// The two characters that name one of several hashes. Scripts and bucket entries carry them as they
/// stand in the key, because Lua spends more on turning a number into text than on a look-up.
pub(super) fn hash_name(hash: u16) -> HashName {
    let [high, low] = [hash >> 6, hash & 0x3f].map(|n| HASH_NAME[usize::from(n & 0x3f)]);
    HashName([high, low])
}

/// See [`hash_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashName(pub [u8; 2]);

impl fmt::Display for HashName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

const HASH_NAME: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// Which of an hour's hashes keeps this mark. Marks are hashes themselves: their first bytes do.
pub fn mark_hash(mark: &Mark) -> u16 {
    u16::from_be_bytes([mark.0[0], mark.0[1]]) % MARK_HASHES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_names_the_numbers_of_hashes() {
        use crate::domain::order::RECORD_HASHES;
        assert_eq!(LAYOUT, format!("1 {RECORD_HASHES} {MARK_HASHES}"));
    }

    #[test]
    fn every_hash_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            (0..MARK_HASHES).map(|n| hash_name(n).to_string()).collect();
        assert_eq!(names.len(), usize::from(MARK_HASHES));
    }

    #[test]
    fn every_key_of_a_shard_has_its_number_as_hash_tag() {
        for key in [
            Key::Meta,
            Key::Records(3),
            Key::Queries(3),
            Key::Bucket(TypeId(2), 1_800_000_000),
            Key::Marks(500_000, 9),
            Key::Exhausted,
            Key::Slots,
        ] {
            assert!(key.name("app:", 7).starts_with("app:s{7}"), "{key:?}");
        }
    }
}
