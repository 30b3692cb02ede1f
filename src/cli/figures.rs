//! Numbers as people read them.

use std::time::Duration;

use crate::config::duration;
use crate::domain::order::Millis;

/// `1h30m`.
pub(super) fn time(ms: Millis) -> String {
    duration::show(Duration::from_millis(ms))
}

/// As [`time`], rounded up to what people tell apart: tenths of a second, seconds from a minute on,
/// minutes from an hour on.
pub(super) fn time_rounded_up(ms: Millis) -> String {
    match ms {
        0..60_000 => {
            let tenths = ms.div_ceil(100);
            match tenths % 10 {
                0 => format!("{}s", tenths / 10),
                tenth => format!("{}.{tenth}s", tenths / 10),
            }
        }
        60_000..3_600_000 => time(ms.div_ceil(1_000) * 1_000),
        _ => time(ms.div_ceil(60_000) * 60_000),
    }
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `999,999`, then `1.5 M`: seven characters at most below 1,000 T.
pub(super) fn short(number: u64) -> String {
    let units = [
        (1_000_000_000_000, "T"),
        (1_000_000_000, "G"),
        (1_000_000, "M"),
    ];
    match units.iter().find(|(size, _)| number >= *size) {
        None => count(number),
        Some((size, unit)) => {
            let tenths = number / (size / 10);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

/// `1.5 GB`, in powers of 1000, one digit after the point.
pub(super) fn bytes(number: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut size) = (0, 1_u128);
    while u128::from(number) >= size * 1000 && unit + 1 < units.len() {
        unit += 1;
        size *= 1000;
    }
    let tenths = (u128::from(number) * 10 + size / 2) / size;
    match unit {
        0 => format!("{number} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_cut_where_people_read_them() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [999, 1000, 1999, 2_550_000, u64::MAX].map(bytes),
            ["999 B", "1.0 kB", "2.0 kB", "2.6 MB", "18446.7 PB"]
        );
        assert_eq!(time(5_400_000), "1h30m");
        assert_eq!(
            [1, 4_250, 59_901, 60_001, 3_600_001].map(time_rounded_up),
            ["0.1s", "4.3s", "60s", "1m1s", "1h1m"]
        );
        assert_eq!(
            [0, 999_999, 1_000_000, 12_345_678_901, 1_550_000_000_000].map(short),
            ["0", "999,999", "1.0 M", "12.3 G", "1.5 T"]
        );
    }
}
