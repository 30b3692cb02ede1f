//! What a person says of the bank's behaviour: one JSON object, of the flag `--behave` and of
//! `/behaviour` alike. Strict: what it does not know, it refuses in one line.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::latency::Latency;
use super::trick::{Tricks, share};
use super::{BankOptions, OverLimit};

/// Some of the bank's behaviour, for some of its orders, for a while or for good. What is left out
/// stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Change {
    /// Whose `type/reqNO` begins so; empty: the whole bank.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub orders: String,
    /// For how long.
    #[serde(rename = "for", with = "span", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// See [`BankOptions`], here and below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<u32>,
    /// Share.
    #[serde(with = "part", skip_serializing_if = "Option::is_none")]
    pub failures: Option<f64>,
    /// Share.
    #[serde(with = "part", skip_serializing_if = "Option::is_none")]
    pub unknown: Option<f64>,
    /// Share.
    #[serde(with = "part", skip_serializing_if = "Option::is_none")]
    pub flips: Option<f64>,
    /// Distribution.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// All shares anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tricks: Option<Tricks>,
    /// Count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trick_times: Option<u32>,
    /// Whole seconds are told.
    #[serde(with = "span", skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// Address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<SocketAddr>,
    /// Of the whole bank only; 0 takes the limit away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_second: Option<u32>,
    /// Of the whole bank only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_limit: Option<OverLimit>,
}

impl Change {
    /// Reads the JSON object.
    ///
    /// # Errors
    /// One line: the field and what is expected of it.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        // Serde would read an array as a struct, field by field.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(
                r#"expected a JSON object like {"for":"30s","tricks":{"503":1}}"#.to_owned(),
            );
        }
        let mut from = serde_json::Deserializer::from_slice(json);
        let change: Self = serde_path_to_error::deserialize(&mut from).map_err(|error| {
            let path = error.path().to_string();
            match path.as_str() {
                "." | "?" => error.inner().to_string(),
                _ => format!("{path}: {}", error.inner()),
            }
        })?;
        from.end().map_err(|error| error.to_string())?;
        let of_the_bank = change.max_per_second.is_some() || change.over_limit.is_some();
        if of_the_bank && !change.orders.is_empty() {
            let message = "max_per_second and over_limit are the whole bank's: expected no orders";
            return Err(message.to_owned());
        }
        Ok(change)
    }

    /// What `options` are with this.
    pub(super) fn apply(&self, options: &mut BankOptions) {
        set(&mut options.in_progress, self.in_progress);
        set(&mut options.failure_share, self.failures);
        set(&mut options.unknown_share, self.unknown);
        set(&mut options.flip_share, self.flips);
        set(&mut options.latency, self.latency);
        set(&mut options.tricks, self.tricks);
        set(&mut options.trick_times, self.trick_times);
        set(&mut options.retry_after, self.retry_after);
        set(&mut options.redirect, self.redirect);
        set(&mut options.max_per_second, self.max_per_second);
        set(&mut options.over_limit, self.over_limit);
    }

    /// Takes over what `newer` says.
    pub(super) fn merge(&mut self, newer: &Self) {
        renew(&mut self.lasts, newer.lasts.as_ref());
        renew(&mut self.in_progress, newer.in_progress.as_ref());
        renew(&mut self.failures, newer.failures.as_ref());
        renew(&mut self.unknown, newer.unknown.as_ref());
        renew(&mut self.flips, newer.flips.as_ref());
        renew(&mut self.latency, newer.latency.as_ref());
        renew(&mut self.tricks, newer.tricks.as_ref());
        renew(&mut self.trick_times, newer.trick_times.as_ref());
        renew(&mut self.retry_after, newer.retry_after.as_ref());
        renew(&mut self.redirect, newer.redirect.as_ref());
        renew(&mut self.max_per_second, newer.max_per_second.as_ref());
        renew(&mut self.over_limit, newer.over_limit.as_ref());
    }

    /// All that `options` are.
    pub(super) fn of(options: &BankOptions) -> Self {
        Self {
            orders: String::new(),
            lasts: None,
            in_progress: Some(options.in_progress),
            failures: Some(options.failure_share),
            unknown: Some(options.unknown_share),
            flips: Some(options.flip_share),
            latency: Some(options.latency),
            tricks: Some(options.tricks),
            trick_times: Some(options.trick_times),
            retry_after: Some(options.retry_after),
            redirect: Some(options.redirect),
            max_per_second: Some(options.max_per_second),
            over_limit: Some(options.over_limit),
        }
    }
}

impl FromStr for Change {
    type Err = String;

    fn from_str(json: &str) -> Result<Self, String> {
        Self::read(json.as_bytes())
    }
}

fn set<T>(field: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *field = said;
    }
}

fn renew<T: Clone>(field: &mut Option<T>, said: Option<&T>) {
    if let Some(said) = said {
        *field = Some(said.clone());
    }
}

/// A share that may be left out.
mod part {
    use super::{Deserialize, Deserializer, Serialize, Serializer, share};
    use serde::de::Error as _;

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(part: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        part.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        let number = f64::deserialize(from)?;
        share(&number.to_string())
            .map(Some)
            .map_err(D::Error::custom)
    }
}

/// A duration that may be left out, as humantime writes it.
mod span {
    use super::{Deserialize, Deserializer, Duration, Serializer};
    use serde::de::Error as _;

    #[expect(clippy::ref_option, reason = "serde asks for this form")]
    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(span.unwrap_or_default()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(from)?;
        let span = humantime::parse_duration(&text).map_err(|_| {
            D::Error::custom(format_args!(
                "\"{text}\": expected a duration like 500ms, 2s, 5m"
            ))
        })?;
        Ok(Some(span))
    }
}

/// What has a textual form of its own and may be left out.
mod text {
    use super::{Deserialize, Deserializer, Latency, Serializer};
    use serde::de::Error as _;

    #[expect(clippy::ref_option, reason = "serde asks for this form")]
    pub(super) fn serialize<S: Serializer>(
        latency: &Option<Latency>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&latency.unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Latency>, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Some).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::bank::Trick;

    const ALL: &str = r#"{"orders":"html/","for":"30s","in_progress":3,"failures":0.5,"unknown":0.25,"flips":1.0,"latency":"fixed 20ms","tricks":{"html":0.5},"trick_times":1,"retry_after":"7s","redirect":"127.0.0.1:9"}"#;

    #[test]
    fn every_field_is_written_as_it_is_read() {
        let change = Change::from_str(ALL).unwrap();
        assert_eq!(serde_json::to_string(&change).unwrap(), ALL);
        let bank = r#"{"max_per_second":100,"over_limit":"queue"}"#;
        let change = Change::from_str(bank).unwrap();
        assert_eq!(serde_json::to_string(&change).unwrap(), bank);
    }

    #[test]
    fn every_field_changes_the_behaviour_and_nothing_else_does() {
        let mut options = BankOptions::default();
        Change::default().apply(&mut options);
        assert_eq!(options, BankOptions::default());
        Change::from_str(ALL).unwrap().apply(&mut options);
        let bank = r#"{"max_per_second":100,"over_limit":"queue"}"#;
        Change::from_str(bank).unwrap().apply(&mut options);
        let expected = BankOptions {
            in_progress: 3,
            failure_share: 0.5,
            unknown_share: 0.25,
            flip_share: 1.0,
            latency: Latency::Fixed(Duration::from_millis(20)),
            tricks: Tricks::default().with(Trick::Html, 0.5).unwrap(),
            trick_times: 1,
            retry_after: Duration::from_secs(7),
            redirect: "127.0.0.1:9".parse().unwrap(),
            max_per_second: 100,
            over_limit: OverLimit::Queue,
            ..BankOptions::default()
        };
        assert_eq!(options, expected);
        let mut again = BankOptions::default();
        Change::of(&expected).apply(&mut again);
        assert_eq!(again, expected);
        let mut merged = Change::default();
        merged.merge(&Change::of(&expected));
        assert_eq!(merged, Change::of(&expected));
    }

    #[test]
    fn a_mistake_is_told_in_one_line_with_its_place() {
        for (json, told) in [
            ("", "expected a JSON object like"),
            ("[]", "expected a JSON object like"),
            ("{", "EOF while parsing"),
            ("{} {}", "trailing characters"),
            (
                r#"{"trick":{}}"#,
                "trick: unknown field `trick`, expected one of `orders`, `for`",
            ),
            (
                r#"{"failures":1.5}"#,
                "failures: \"1.5\": expected a number from 0 to 1",
            ),
            (
                r#"{"tricks":{"htlm":1}}"#,
                "tricks: \"htlm\": no such trick, expected one of 301",
            ),
            (
                r#"{"tricks":{"html":0.7,"drip":0.7}}"#,
                "tricks: the shares sum up to 1.4",
            ),
            (
                r#"{"latency":"soon"}"#,
                "latency: \"soon\": expected a mean like 20ms",
            ),
            (
                r#"{"for":30}"#,
                "for: invalid type: integer `30`, expected a string",
            ),
            (
                r#"{"for":"soon"}"#,
                "for: \"soon\": expected a duration like",
            ),
            (r#"{"redirect":"home"}"#, "redirect: invalid socket address"),
            (
                r#"{"over_limit":"hang"}"#,
                "over_limit: unknown variant `hang`, expected `429` or",
            ),
            (
                r#"{"orders":"a/","max_per_second":5}"#,
                "max_per_second and over_limit are the whole bank's: expected no orders",
            ),
        ] {
            let error = Change::from_str(json).unwrap_err();
            assert!(error.contains(told), "{json}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
