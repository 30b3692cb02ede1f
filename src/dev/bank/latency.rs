//! How long an answer takes: a distribution, as flags and JSON write it. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use humantime::{format_duration, parse_duration};

/// No answer of a distribution without an end takes longer than so many times its mean or its p99.
const TAIL: f64 = 10.0;

/// A distribution of times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// `20ms`: exponential with this mean, as service times are; at most ten times as long.
    Mean(Duration),
    /// `fixed 20ms`.
    Fixed(Duration),
    /// `10ms..50ms`: all times between them alike.
    Between(Duration, Duration),
    /// `p50 20ms p99 500ms`: log-logistic through these two, at most ten times the p99.
    Percentiles {
        /// Half of the answers are faster.
        p50: Duration,
        /// One answer in a hundred is slower.
        p99: Duration,
    },
}

impl Latency {
    /// The time that `unit`, drawn from 0 (included) to 1 (excluded), stands for.
    pub(super) fn at(self, unit: f64) -> Duration {
        match self {
            Self::Mean(mean) => mean.mul_f64((-(1.0 - unit).ln()).clamp(0.0, TAIL)),
            Self::Fixed(time) => time,
            Self::Between(least, most) => least + most.saturating_sub(least).mul_f64(unit),
            Self::Percentiles { p50, p99 } => {
                let steepness = (p99.as_secs_f64() / p50.as_secs_f64()).ln() / 99_f64.ln();
                let time = p50.as_secs_f64() * (unit / (1.0 - unit)).powf(steepness);
                Duration::from_secs_f64(time.min(p99.as_secs_f64() * TAIL))
            }
        }
    }
}

impl Default for Latency {
    /// At once.
    fn default() -> Self {
        Self::Mean(Duration::ZERO)
    }
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "\"{text}\": expected a mean like 20ms, or \"fixed 20ms\", \"10ms..50ms\" or \
                 \"p50 20ms p99 500ms\""
            )
        };
        let time = |text: &str| parse_duration(text).map_err(|_| expected());
        if let Some(fixed) = text.strip_prefix("fixed ") {
            return Ok(Self::Fixed(time(fixed)?));
        }
        if let Some((least, most)) = text.split_once("..") {
            let (least, most) = (time(least)?, time(most)?);
            if least > most {
                return Err(expected());
            }
            return Ok(Self::Between(least, most));
        }
        if let Some(both) = text.strip_prefix("p50 ") {
            let (p50, p99) = both.split_once(" p99 ").ok_or_else(expected)?;
            let (p50, p99) = (time(p50)?, time(p99)?);
            if p50.is_zero() || p50 > p99 {
                return Err(expected());
            }
            return Ok(Self::Percentiles { p50, p99 });
        }
        Ok(Self::Mean(time(text)?))
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Mean(mean) => write!(f, "{}", format_duration(mean)),
            Self::Fixed(time) => write!(f, "fixed {}", format_duration(time)),
            Self::Between(least, most) => {
                write!(f, "{}..{}", format_duration(least), format_duration(most))
            }
            Self::Percentiles { p50, p99 } => {
                let (p50, p99) = (format_duration(p50), format_duration(p99));
                write!(f, "p50 {p50} p99 {p99}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(text: &str) -> Latency {
        text.parse().unwrap()
    }

    /// Times in ms at even draws.
    fn times(text: &str) -> Vec<f64> {
        let at = |n: u32| latency(text).at((f64::from(n) + 0.5) / 10_000.0);
        (0..10_000).map(|n| at(n).as_secs_f64() * 1e3).collect()
    }

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "0s",
            "20ms",
            "fixed 1m 30s",
            "10ms..50ms",
            "p50 20ms p99 500ms",
        ] {
            assert_eq!(latency(text).to_string(), text);
        }
        for text in [
            "",
            "soon",
            "fixed",
            "50ms..10ms",
            "p50 1s",
            "p50 0s p99 1s",
            "p50 2s p99 1s",
        ] {
            let error = Latency::from_str(text).unwrap_err();
            assert!(error.contains("expected a mean like 20ms, or"), "{error}");
        }
    }

    #[test]
    fn a_mean_is_met_and_bounded() {
        let times = times("20ms");
        let mean = times.iter().sum::<f64>() / 10_000.0;
        assert!((19.5..20.5).contains(&mean), "{mean}");
        assert!(times[9_999] <= 200.0);
    }

    #[test]
    fn percentiles_are_met() {
        let times = times("p50 20ms p99 500ms");
        assert!((19.9..20.1).contains(&times[4_999]), "{}", times[4_999]);
        assert!((480.0..520.0).contains(&times[9_899]), "{}", times[9_899]);
        assert!(times[9_999] <= 5_000.0);
    }

    #[test]
    fn fixed_and_even_times_stay_in_their_bounds() {
        assert!(
            times("fixed 7ms")
                .iter()
                .all(|time| (*time - 7.0).abs() < 1e-9)
        );
        let times = times("10ms..50ms");
        assert!(times[0] >= 10.0 && times[9_999] < 50.0);
        assert!((29.9..30.1).contains(&times[5_000]));
    }
}
