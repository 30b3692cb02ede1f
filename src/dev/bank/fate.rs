//! What becomes of an order and of a question about it: drawn from the seed and the order's name, so
//! that a run can be repeated whatever the order of arrivals. Pure.

use std::time::Duration;

use super::BankOptions;
use super::trick::Trick;

/// An order, reduced to what its fate is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(pub(super) u64);

/// What a question gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Status 1 to 4.
    Answer(u8),
    /// Anything else.
    Trick(Trick),
}

impl Fate {
    /// As the log names it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Answer(1) => "1",
            Self::Answer(2) => "2",
            Self::Answer(3) => "3",
            Self::Answer(_) => "4",
            Self::Trick(trick) => trick.as_str(),
        }
    }
}

/// Keeps draws for different purposes apart.
#[derive(Clone, Copy)]
enum Draw {
    Fails = 1,
    Unknown,
    Trick,
    Flips,
    Latency,
}

impl Name {
    /// FNV-1a over type and number, mixed with the seed.
    pub(super) fn new(seed: u64, order_type: &str, req_no: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let bytes = order_type.bytes().chain([b'/']).chain(req_no.bytes());
        for byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(mix(hash ^ mix(seed)))
    }

    /// The fate of a question about an order that has been asked about `questions` times before, of
    /// which `answered` got a status.
    pub(super) fn fate(self, options: &BankOptions, questions: u32, answered: u32) -> Fate {
        let trick = options.tricks.hit(self.draw(Draw::Trick, questions));
        if let Some(trick) = trick
            && (options.trick_times == 0 || questions < options.trick_times)
        {
            return Fate::Trick(trick);
        }
        if answered >= options.in_progress {
            let fails = self.draw(Draw::Fails, 0) < options.failure_share;
            let flips = self.draw(Draw::Flips, 0) < options.flip_share;
            let flipped = flips && !(answered - options.in_progress).is_multiple_of(2);
            return Fate::Answer(if fails == flipped { 1 } else { 2 });
        }
        let unknown = self.draw(Draw::Unknown, answered) < options.unknown_share;
        Fate::Answer(if unknown { 4 } else { 3 })
    }

    /// How long the answer takes.
    pub(super) fn latency(self, options: &BankOptions, questions: u32) -> Duration {
        options.latency.at(self.draw(Draw::Latency, questions))
    }

    /// From 0 (included) to 1 (excluded).
    fn draw(self, what: Draw, nth: u32) -> f64 {
        let bits = mix(self.0 ^ mix((what as u64) << 32 | u64::from(nth)));
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The finalizer of `SplitMix64`.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::bank::{Latency, Tricks};

    fn names(seed: u64) -> impl Iterator<Item = Name> {
        (0..20_000).map(move |i| Name::new(seed, "transfer", &format!("TX{i}")))
    }

    fn share(hits: usize) -> f64 {
        hits as f64 / 20_000.0
    }

    #[test]
    fn an_order_is_in_progress_k_times_and_then_ends_for_good() {
        let options = BankOptions::default();
        for name in names(1).take(100) {
            assert_eq!(name.fate(&options, 0, 0), Fate::Answer(3));
            assert_eq!(name.fate(&options, 1, 1), Fate::Answer(3));
            let end = name.fate(&options, 2, 2);
            assert!(matches!(end, Fate::Answer(1 | 2)));
            assert_eq!(name.fate(&options, 50, 50), end);
        }
    }

    #[test]
    fn shares_come_out_as_asked_for_and_another_seed_hits_other_orders() {
        let options = BankOptions {
            failure_share: 0.1,
            unknown_share: 0.2,
            tricks: Tricks::default()
                .with(Trick::Hang, 0.01)
                .and_then(|tricks| tricks.with(Trick::Code(500), 0.05))
                .unwrap(),
            ..BankOptions::default()
        };
        let count = |seed, questions, answered, fate| {
            let of = |name: Name| name.fate(&options, questions, answered);
            share(names(seed).filter(|name| of(*name) == fate).count())
        };
        assert!((count(1, 0, 0, Fate::Trick(Trick::Hang)) - 0.01).abs() < 0.004);
        assert!((count(1, 0, 0, Fate::Trick(Trick::Code(500))) - 0.05).abs() < 0.008);
        assert!((count(1, 0, 0, Fate::Answer(4)) - 0.2 * 0.94).abs() < 0.015);
        assert!((count(1, 0, 2, Fate::Answer(2)) - 0.1 * 0.94).abs() < 0.012);
        let fails = |name: Name| name.fate(&options, 0, 2) == Fate::Answer(2);
        let both = names(1)
            .zip(names(2))
            .filter(|(a, b)| fails(*a) && fails(*b))
            .count();
        assert!(share(both) < 0.02, "the seeds are not independent");
    }

    #[test]
    fn the_same_question_takes_the_same_time_and_another_one_another() {
        let options = BankOptions {
            latency: Latency::Mean(Duration::from_millis(20)),
            ..BankOptions::default()
        };
        let name = Name::new(3, "transfer", "TX1");
        let first = name.latency(&options, 0);
        assert_eq!(name.latency(&options, 0), first);
        assert_ne!(name.latency(&options, 1), first);
    }

    #[test]
    fn an_order_that_flips_contradicts_itself_with_every_terminal_answer() {
        let options = BankOptions {
            flip_share: 1.0,
            in_progress: 1,
            ..BankOptions::default()
        };
        for name in names(1).take(100) {
            let digits = (1..5).map(|n| match name.fate(&options, n, n) {
                Fate::Answer(digit) => digit,
                Fate::Trick(trick) => unreachable!("{trick}"),
            });
            let digits: Vec<_> = digits.collect();
            assert!(
                digits == [1, 2, 1, 2] || digits == [2, 1, 2, 1],
                "{digits:?}"
            );
        }
    }

    #[test]
    fn only_the_first_questions_of_an_order_are_tricked_where_that_is_said() {
        let options = BankOptions {
            tricks: Tricks::default().with(Trick::Html, 1.0).unwrap(),
            trick_times: 2,
            in_progress: 0,
            failure_share: 0.0,
            ..BankOptions::default()
        };
        let name = Name::new(1, "transfer", "TX1");
        let fates = (0..3).map(|questions| name.fate(&options, questions, 0));
        let html = Fate::Trick(Trick::Html);
        assert_eq!(fates.collect::<Vec<_>>(), [html, html, Fate::Answer(1)]);
    }
}
