//! What a rate of orders costs the owner and Redis. Everything is the worst case: each order gets
//! the same answer, which is not terminal, to every question.

use std::fmt::{self, Write};

use crate::cli::figures::{bytes, count, time};
use crate::config::{Config, MAX_SHARDS, OrderTypeConfig};
use crate::domain::order::{Millis, RECORD_HASHES};
use crate::store::key::MARK_HOURS;

/// Measured with 24-character numbers (DESIGN section 5).
const BYTES_PER_PENDING: u64 = 100;
/// The same, in the compact form of hashes; and what a hash of marks takes beside its entries.
const BYTES_PER_MARK: u64 = 26;
const BYTES_PER_MARK_HASH: u64 = 94;

/// Redis keeps a hash in its compact form up to so many entries (`hash-max-listpack-entries`, default).
const LISTPACK_ENTRIES: u64 = 512;
/// Hashes fill unevenly: where a thousand of them hold so many on average, the fullest reach 512.
const AVERAGE_ENTRIES: u64 = 430;

/// Hashes that the marks of [`MARK_HOURS`] are spread over in each shard, as in the view's layout.
const MARK_HASHES: u64 = crate::store::key::MARK_HASHES as u64;

/// What orders of one type cost when none of them is settled before its schedule ends.
pub(super) struct Costs {
    /// Orders a second.
    pub(super) rate: u64,
    /// Questions an order.
    pub(super) questions: u64,
    /// Age at the end of the schedule.
    pub(super) open_ms: Millis,
}

impl Costs {
    fn pending(&self) -> u64 {
        let pending = u128::from(self.rate) * u128::from(self.open_ms) / 1000;
        u64::try_from(pending).unwrap_or(u64::MAX)
    }

    /// Few marks make nearly empty hashes, and hashes cost more than marks.
    fn marks_memory(&self, marks: u64, config: &Config) -> u64 {
        let together = self.rate * 3600 * u64::from(MARK_HOURS);
        let groups = marks.div_ceil(together.max(1));
        let hashes = marks.min(groups * u64::from(config.shards) * MARK_HASHES);
        marks
            .saturating_mul(BYTES_PER_MARK)
            .saturating_add(hashes * BYTES_PER_MARK_HASH)
    }

    pub(super) fn write(
        &self,
        out: &mut String,
        config: &Config,
        order_type: &OrderTypeConfig,
    ) -> fmt::Result {
        let asked = self.rate * self.questions;
        let pending = self.pending();
        let marks = self.rate * config.dedupe_window.as_secs();
        writeln!(
            out,
            "At {} orders/s, none of which is settled before its schedule ends:",
            count(self.rate)
        )?;
        writeln!(out, "  questions  {}/s", count(asked))?;
        let memory = bytes(pending.saturating_mul(BYTES_PER_PENDING));
        writeln!(
            out,
            "  pending    {} orders, {memory} of Redis",
            count(pending)
        )?;
        let memory = bytes(self.marks_memory(marks, config));
        let window = time(config.dedupe_window.as_millis() as Millis);
        writeln!(
            out,
            "  marks      {} of {window}, {memory} of Redis",
            count(marks)
        )?;
        let ceiling = order_type.ceiling.questions_per_second;
        if asked as f64 > ceiling {
            writeln!(
                out,
                "warning: the ceiling of {ceiling} questions/s is lower: orders are asked about later than planned"
            )?;
        }
        let shards = u64::from(config.shards);
        warn_of_hashes(
            out,
            "pending orders",
            pending,
            u64::from(RECORD_HASHES),
            shards,
        )?;
        let together = marks.min(self.rate * 3600 * u64::from(MARK_HOURS));
        let what = format!("marks of {MARK_HOURS} hours");
        warn_of_hashes(out, &what, together, MARK_HASHES, shards)
    }
}

fn warn_of_hashes(
    out: &mut String,
    what: &str,
    entries: u64,
    hashes: u64,
    shards: u64,
) -> fmt::Result {
    let room = hashes * AVERAGE_ENTRIES;
    if entries <= room * shards {
        return Ok(());
    }
    write!(
        out,
        "warning: {} {what} make {} a hash; beyond {LISTPACK_ENTRIES} Redis gives up the compact form: ",
        count(entries),
        count(entries.div_ceil(hashes * shards)),
    )?;
    match entries.div_ceil(room) {
        enough if enough <= u64::from(MAX_SHARDS) => writeln!(out, "{enough} shards would do"),
        _ => writeln!(out, "even {MAX_SHARDS} shards would not do"),
    }
}
