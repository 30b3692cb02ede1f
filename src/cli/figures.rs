//! Numbers as people read them.

use std::time::Duration;

use crate::config::duration;
use crate::domain::order::Millis;

/// `1h30m`.
pub(super) fn time(ms: Millis) -> String {
    duration::show(Duration::from_millis(ms))
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
    }
}
