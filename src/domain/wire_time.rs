//! Times on the wire: RFC 3339 in UTC with milliseconds, `2026-11-23T07:00:00.123Z`.
//!
//! Each event read and each result written passes here, so that exact form is read and written by
//! hand; any other RFC 3339 form is left to the `time` crate.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::order::Millis;

/// The last millisecond with a four-digit year; later ones are written as this one.
const LAST: Millis = 253_402_300_799_999;
const DAY_MS: Millis = 86_400_000;

/// The written form's length.
pub const LEN: usize = 24;

/// Writes `2026-11-23T07:00:00.123Z`.
pub fn format(millis: Millis) -> String {
    write(millis).iter().map(|byte| char::from(*byte)).collect()
}

/// As [`format()`], without an allocation; the bytes are ASCII.
pub fn write(millis: Millis) -> [u8; LEN] {
    let millis = millis.min(LAST);
    let (year, month, day) = civil_from_days(millis / DAY_MS);
    let of_day = millis % DAY_MS;
    let mut out = *b"0000-00-00T00:00:00.000Z";
    put(&mut out[0..4], year);
    put(&mut out[5..7], month);
    put(&mut out[8..10], day);
    put(&mut out[11..13], of_day / 3_600_000);
    put(&mut out[14..16], of_day / 60_000 % 60);
    put(&mut out[17..19], of_day / 1000 % 60);
    put(&mut out[20..23], of_day % 1000);
    out
}

/// Reads any RFC 3339 time, cut to milliseconds; `None` when it is none or lies before 1970.
pub fn parse(text: &str) -> Option<Millis> {
    parse_exact(text.as_bytes()).or_else(|| {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let nanos = u128::try_from(time.unix_timestamp_nanos()).ok()?;
        Millis::try_from(nanos / 1_000_000).ok()
    })
}

/// The exact form; `None` sends everything else, leap seconds included, the long way.
fn parse_exact(text: &[u8]) -> Option<Millis> {
    let text: &[u8; LEN] = text.try_into().ok()?;
    let frame = [4, 7, 10, 13, 16, 19, 23].map(|at| text[at]);
    if frame != *b"--T::.Z" {
        return None;
    }
    let (year, month, day) = (take(text, 0, 4)?, take(text, 5, 2)?, take(text, 8, 2)?);
    let (hour, minute, second) = (take(text, 11, 2)?, take(text, 14, 2)?, take(text, 17, 2)?);
    let good = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    good.then_some(())?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000 + take(text, 20, 3)?)
}

fn put(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn take(text: &[u8; LEN], at: usize, len: usize) -> Option<u64> {
    text[at..at + len].iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date; Hinnant's `days_from_civil`, whose years begin in March.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year % 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since 1970: the inverse of [`days_from_civil`].
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let year = days / 146_097 * 400 + year + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_wires_form_is_written_and_read() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_417_200_123, "2026-11-23T07:00:00.123Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(millis), text);
            assert_eq!(parse_exact(text.as_bytes()), Some(millis), "{text}");
        }
        assert_eq!(format(u64::MAX), format(LAST));
    }

    #[test]
    fn other_forms_of_rfc_3339_are_read_as_the_same_instant() {
        let instant = 1_795_417_200_123;
        for text in [
            "2026-11-23T15:00:00.123+08:00",
            "2026-11-23T07:00:00.123456789Z",
            "2026-11-23t07:00:00.123z",
            "2026-11-23T06:30:00.123-00:30",
        ] {
            assert_eq!(parse(text), Some(instant), "{text}");
        }
        assert_eq!(parse("2026-11-23T07:00:00Z"), Some(1_795_417_200_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T07:00:00.123",
            "2026-02-29T07:00:00.123Z",
            "2026-13-01T07:00:00.123Z",
            "2026-11-00T07:00:00.123Z",
            "2026-11-23T24:00:00.123Z",
            "2026-11-23T07:60:00.123Z",
            "2026-11-23T07:00:61.123Z",
            "1969-12-31T23:59:59.999Z",
            "1969-12-31T23:59:59.999999Z",
            "20a6-11-23T07:00:00.123Z",
            "1795417200123",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_reads_back(millis in 0..=LAST) {
            let text = format(millis);
            prop_assert_eq!(parse_exact(text.as_bytes()), Some(millis));
            let slow = OffsetDateTime::parse(&text, &Rfc3339).unwrap();
            prop_assert_eq!(slow.unix_timestamp_nanos(), i128::from(millis) * 1_000_000);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}|[0-9TZ:.+-]{20,30}") {
            prop_assert!(parse(&text).is_none_or(|millis| millis <= LAST + DAY_MS));
        }
    }
}
