//! What the view keeps of one order: 36 bytes beside its number, packed so that a script can compare
//! the claim number and move the order to another bucket without decoding the rest.

use super::order::Millis;
use super::status::Open;

/// How many bytes [`Record::pack`] writes.
pub const PACKED_LEN: usize = 36;

/// An order that is pending or exhausted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// Grows by one whenever the order changes its bucket; a bucket entry or an answer that names
    /// another number is stale.
    pub claim: u32,
    /// The second whose bucket holds the one valid entry of this order; 0: it is in no bucket.
    pub bucket: u32,
    /// Taken for asking; `bucket` is then the second in which the lease ends.
    pub leased: bool,
    /// Its schedule ended without a terminal answer.
    pub exhausted: bool,
    /// The view also keeps query fields or a trace parent for it.
    pub has_query: bool,
    /// What was last said about it: by its event, then by each answer.
    pub last: Open,
    /// From when the next attempt may start.
    pub due: Millis,
    /// 0, then one more with each requeue.
    pub phase: u16,
    /// Questions that got an answer, in this phase.
    pub asked: u16,
    /// Draws taken so far from the «in progress» ladder.
    pub drawn_in_progress: u16,
    /// Draws taken so far from the «unknown» ladder.
    pub drawn_unknown: u16,
    /// Times in a row that the owner could not be asked; stops at 255.
    pub streak: u8,
    /// When its first event was appended.
    pub first_seen: Millis,
    /// The event that opened this phase, in partition = shard of `order-events`.
    pub event_offset: u64,
}

const LEASED: u8 = 1;
const EXHAUSTED: u8 = 2;
const HAS_QUERY: u8 = 4;
const LAST_UNKNOWN: u8 = 8;

impl Record {
    /// Layout, big-endian: claim u32, bucket u32, flags u8, due u48, then what no script reads
    /// except for `first_seen` (offset 15, u48): first sight u48, event offset u48, phase u16,
    /// asked u16, drawn u16 twice, streak u8.
    pub fn pack(&self) -> [u8; PACKED_LEN] {
        let mut out = [0; PACKED_LEN];
        out[0..4].copy_from_slice(&self.claim.to_be_bytes());
        out[4..8].copy_from_slice(&self.bucket.to_be_bytes());
        out[8] = (u8::from(self.leased) * LEASED)
            | (u8::from(self.exhausted) * EXHAUSTED)
            | (u8::from(self.has_query) * HAS_QUERY)
            | (u8::from(self.last == Open::Unknown) * LAST_UNKNOWN);
        out[9..15].copy_from_slice(&self.due.to_be_bytes()[2..]);
        out[15..21].copy_from_slice(&self.first_seen.to_be_bytes()[2..]);
        out[21..27].copy_from_slice(&self.event_offset.to_be_bytes()[2..]);
        out[27..29].copy_from_slice(&self.phase.to_be_bytes());
        out[29..31].copy_from_slice(&self.asked.to_be_bytes());
        out[31..33].copy_from_slice(&self.drawn_in_progress.to_be_bytes());
        out[33..35].copy_from_slice(&self.drawn_unknown.to_be_bytes());
        out[35] = self.streak;
        out
    }

    /// `None` unless the bytes are a whole record.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let packed: &[u8; PACKED_LEN] = packed.try_into().ok()?;
        let u16_at = |at: usize| u16::from_be_bytes([packed[at], packed[at + 1]]);
        let u32_at = |at: usize| {
            u32::from_be_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]])
        };
        let u48_at = |at: usize| {
            packed[at..at + 6]
                .iter()
                .fold(0_u64, |n, byte| (n << 8) | u64::from(*byte))
        };
        let flags = packed[8];
        Some(Self {
            claim: u32_at(0),
            bucket: u32_at(4),
            leased: flags & LEASED != 0,
            exhausted: flags & EXHAUSTED != 0,
            has_query: flags & HAS_QUERY != 0,
            last: if flags & LAST_UNKNOWN == 0 {
                Open::InProgress
            } else {
                Open::Unknown
            },
            due: u48_at(9),
            first_seen: u48_at(15),
            event_offset: u48_at(21),
            phase: u16_at(27),
            asked: u16_at(29),
            drawn_in_progress: u16_at(31),
            drawn_unknown: u16_at(33),
            streak: packed[35],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_what_it_packs() {
        let record = Record {
            claim: 0x0102_0304,
            bucket: 1_800_000_000,
            leased: true,
            exhausted: true,
            has_query: true,
            last: Open::Unknown,
            due: 1_800_000_000_123,
            phase: 3,
            asked: 500,
            drawn_in_progress: 7,
            drawn_unknown: 65_535,
            streak: 255,
            first_seen: 1_799_999_999_999,
            event_offset: 0xffff_ffff_fff0,
        };
        assert_eq!(Record::unpack(&record.pack()), Some(record));
        assert_eq!(Record::unpack(&record.pack()[1..]), None);
    }
}
