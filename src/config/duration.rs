//! Durations as people write them: `500ms`, `2s`, `5m`, `1h`, `7d`, also `1h30m`.

use std::fmt::Write;
use std::time::Duration;

/// What a duration looks like, for messages.
pub(super) const FORM: &str = "a duration like 500ms, 2s, 5m";

/// Reads a duration; `None` unless it has the form and is whole milliseconds.
pub fn parse(text: &str) -> Option<Duration> {
    let duration = humantime::parse_duration(text).ok()?;
    (duration.subsec_nanos() % 1_000_000 == 0).then_some(duration)
}

/// Writes a duration so that [`parse`] reads it again; below a millisecond nothing is written.
pub fn show(duration: Duration) -> String {
    let ms = duration.as_millis();
    let mut text = String::new();
    for (count, unit) in [
        (ms / 86_400_000, "d"),
        (ms / 3_600_000 % 24, "h"),
        (ms / 60_000 % 60, "m"),
        (ms / 1000 % 60, "s"),
        (ms % 1000, "ms"),
    ] {
        if count > 0 {
            // Writing to a String cannot fail.
            write!(text, "{count}{unit}").unwrap_or_default();
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        for (text, ms) in [
            ("500ms", 500),
            ("2s", 2000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1d1h1m1s1ms", 90_061_001),
            ("0s", 0),
        ] {
            let duration = Duration::from_millis(ms);
            assert_eq!(show(duration), text);
            assert_eq!(parse(text), Some(duration), "{text}");
        }
    }

    #[test]
    fn anything_but_whole_milliseconds_with_units_is_refused() {
        for text in ["", "5", "2x", "1,2", "-1s", "500us", "1.0001s", "s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
