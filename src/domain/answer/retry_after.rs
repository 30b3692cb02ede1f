//! `Retry-After`: how long an owner asks to be left alone.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::domain::order::Millis;

/// The longest time that a `Retry-After` is obeyed: a mistaken one must not end the asking.
pub const RETRY_AFTER_MAX: Millis = 24 * 3_600_000;

/// Reads a `Retry-After` header: seconds, or an HTTP date (RFC 9110 section 10.2.3) against the wall
/// clock. A day at most; `None` when it is neither.
pub fn retry_after(value: &str, wall: Millis) -> Option<Millis> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // All digits: too large to read is still a number.
        value.parse().unwrap_or(u64::MAX).saturating_mul(1000)
    } else {
        let date = OffsetDateTime::parse(value, &Rfc2822).ok()?;
        let until = u64::try_from(date.unix_timestamp()).unwrap_or(0);
        until.saturating_mul(1000).saturating_sub(wall)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}
