//! What can go wrong with a question beside its answer, by the names that flags, JSON and the log have
//! for it, and how often each of it happens. Pure; `reply` and `stray` carry it out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A way to be a bad owner. None of them brings an order on: its next question is as far as this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// This HTTP status: 3xx with a `Location`, 429 and 503 with the bank's `Retry-After`.
    Code(u16),
    /// Silence.
    Hang,
    /// The connection ends without a byte.
    Close,
    /// Half of an answer, then RST.
    Reset,
    /// A whole answer, a byte a second.
    Drip,
    /// 60 KiB that say they are gzip and unpack to 63 MB.
    ZipBomb,
    /// A header line of 10 MB before the answer.
    HugeHeader,
    /// An answer of 10 MB whose length is not announced.
    HugeBody,
    /// A page of HTML with status 200.
    Html,
    /// 200 and nothing else.
    Empty,
    /// Success, of another order.
    OtherNumber,
    /// Success, of no order.
    NoNumber,
    /// Status 7 of this order.
    OtherStatus,
}

const COUNT: usize = 26;

/// All of them; a trick is known by its place here.
const ALL: [(Trick, &str); COUNT] = [
    (Trick::Code(301), "301"),
    (Trick::Code(302), "302"),
    (Trick::Code(303), "303"),
    (Trick::Code(307), "307"),
    (Trick::Code(308), "308"),
    (Trick::Code(400), "400"),
    (Trick::Code(401), "401"),
    (Trick::Code(403), "403"),
    (Trick::Code(404), "404"),
    (Trick::Code(429), "429"),
    (Trick::Code(500), "500"),
    (Trick::Code(502), "502"),
    (Trick::Code(503), "503"),
    (Trick::Code(504), "504"),
    (Trick::Hang, "hang"),
    (Trick::Close, "close"),
    (Trick::Reset, "reset"),
    (Trick::Drip, "drip"),
    (Trick::ZipBomb, "zip-bomb"),
    (Trick::HugeHeader, "huge-header"),
    (Trick::HugeBody, "huge-body"),
    (Trick::Html, "html"),
    (Trick::Empty, "empty"),
    (Trick::OtherNumber, "other-number"),
    (Trick::NoNumber, "no-number"),
    (Trick::OtherStatus, "other-status"),
];

impl Trick {
    /// As flags, JSON and the log name it.
    pub fn as_str(self) -> &'static str {
        ALL[self.place()].1
    }

    fn place(self) -> usize {
        let place = ALL.iter().position(|(trick, _)| *trick == self);
        // Every trick comes out of the table.
        place.unwrap_or_default()
    }
}

impl FromStr for Trick {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = ALL.iter().find(|(_, known)| *known == name);
        found.map(|(trick, _)| *trick).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|(_, known)| *known).collect();
            format!(
                "\"{name}\": no such trick, expected one of {}",
                known.join(", ")
            )
        })
    }
}

/// How large a part of the questions each trick hits: shares from 0 to 1 that sum up to 1 at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tricks([f64; COUNT]);

impl Tricks {
    /// A trick for this share of the questions.
    ///
    /// # Errors
    /// The shares sum up to more than 1; one line that says so.
    pub fn with(mut self, trick: Trick, share: f64) -> Result<Self, String> {
        self.0[trick.place()] = share;
        let sum: f64 = self.0.iter().sum();
        if sum > 1.0 + 1e-9 {
            return Err(format!("the shares sum up to {sum}, expected 1 at most"));
        }
        Ok(self)
    }

    /// The trick that `unit`, drawn from 0 to 1, hits.
    pub(super) fn hit(&self, unit: f64) -> Option<Trick> {
        let mut below = 0.0;
        let place = self.0.iter().position(|share| {
            below += share;
            unit < below
        })?;
        Some(ALL[place].0)
    }
}

/// `html` or `html=0.1`, as the flag has it.
pub(super) fn with_share(text: &str) -> Result<(Trick, f64), String> {
    let (name, number) = text.split_once('=').unwrap_or((text, "1"));
    Ok((name.parse()?, share(number)?))
}

/// A number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("\"{text}\": expected a number from 0 to 1"))
}

/// `{"html":0.1}`.
impl<'de> Deserialize<'de> for Tricks {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut tricks = Self::default();
        for (name, number) in BTreeMap::<String, f64>::deserialize(from)? {
            let trick = name.parse().map_err(D::Error::custom)?;
            let number = share(&number.to_string()).map_err(D::Error::custom)?;
            tricks = tricks.with(trick, number).map_err(D::Error::custom)?;
        }
        Ok(tricks)
    }
}

impl Serialize for Tricks {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let named = ALL.iter().zip(&self.0).filter(|(_, share)| **share > 0.0);
        to.collect_map(named.map(|((_, name), share)| (name, share)))
    }
}

/// How often each trick was played; told without those that were not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played([u64; COUNT]);

impl Played {
    pub(super) fn note(&mut self, trick: Trick) {
        self.0[trick.place()] += 1;
    }

    /// How often this one was.
    pub fn of(&self, trick: Trick) -> u64 {
        self.0[trick.place()]
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that are a 5xx.
    pub(super) fn server_errors(&self) -> u64 {
        let counted = ALL.iter().zip(self.0);
        counted
            .filter(|((trick, _), _)| matches!(trick, Trick::Code(500..)))
            .map(|(_, count)| count)
            .sum()
    }
}

impl Serialize for Played {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let named = ALL.iter().zip(self.0).filter(|(_, count)| *count > 0);
        to.collect_map(named.map(|((_, name), count)| (name, count)))
    }
}

impl fmt::Display for Trick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trick_is_read_by_the_name_that_it_has() {
        for (trick, name) in ALL {
            assert_eq!(name.parse(), Ok(trick));
            assert_eq!(trick.as_str(), name);
        }
        let error = Trick::from_str("htlm").unwrap_err();
        assert!(error.starts_with("\"htlm\": no such trick, expected one of 301, "));
    }

    #[test]
    fn the_flag_has_a_share_or_hits_every_question() {
        assert_eq!(with_share("drip"), Ok((Trick::Drip, 1.0)));
        assert_eq!(with_share("429=0.25"), Ok((Trick::Code(429), 0.25)));
        let error = with_share("drip=much").unwrap_err();
        assert_eq!(error, "\"much\": expected a number from 0 to 1");
    }

    #[test]
    fn a_draw_hits_each_trick_as_often_as_its_share_says() {
        let tricks = Tricks::default().with(Trick::Html, 0.25).unwrap();
        let tricks = tricks.with(Trick::Code(500), 0.5).unwrap();
        assert_eq!(tricks.hit(0.49), Some(Trick::Code(500)));
        assert_eq!(tricks.hit(0.51), Some(Trick::Html));
        assert_eq!(tricks.hit(0.76), None);
        let error = tricks.with(Trick::Drip, 0.5).unwrap_err();
        assert_eq!(error, "the shares sum up to 1.25, expected 1 at most");
    }
}
