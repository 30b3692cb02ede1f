//! What becomes of an order and of a question about it: drawn from the seed and the order's name, so
//! that a run can be repeated whatever the order of arrivals. Pure.

use std::time::Duration;

use super::BankOptions;

/// An order, reduced to what its fate is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(pub(super) u64);

/// What a question gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Status 1 to 4, as its digit.
    Answer(u8),
    /// 500.
    ServerError,
    /// Silence.
    Hang,
}

/// Keeps draws for different purposes apart.
#[derive(Clone, Copy)]
enum Draw {
    Fails = 1,
    Unknown,
    ServerError,
    Hang,
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
        if self.draw(Draw::Hang, questions) < options.hang_share {
            return Fate::Hang;
        }
        if self.draw(Draw::ServerError, questions) < options.server_error_share {
            return Fate::ServerError;
        }
        if answered >= options.in_progress {
            let fails = self.draw(Draw::Fails, 0) < options.failure_share;
            return Fate::Answer(if fails { 2 } else { 1 });
        }
        let unknown = self.draw(Draw::Unknown, answered) < options.unknown_share;
        Fate::Answer(if unknown { 4 } else { 3 })
    }

    /// How long the answer takes: exponential, as service times are, but no longer than ten means.
    pub(super) fn latency(self, options: &BankOptions, questions: u32) -> Duration {
        if options.latency.is_zero() {
            return Duration::ZERO;
        }
        let unit = 1.0 - self.draw(Draw::Latency, questions);
        options.latency.mul_f64((-unit.ln()).clamp(0.0, 10.0))
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
            server_error_share: 0.05,
            hang_share: 0.01,
            ..BankOptions::default()
        };
        let count = |seed, questions, answered, fate| {
            let of = |name: Name| name.fate(&options, questions, answered);
            share(names(seed).filter(|name| of(*name) == fate).count())
        };
        assert!((count(1, 0, 0, Fate::Hang) - 0.01).abs() < 0.004);
        assert!((count(1, 0, 0, Fate::ServerError) - 0.05).abs() < 0.008);
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
    fn latency_has_its_mean_and_its_bound() {
        let options = BankOptions {
            latency: Duration::from_millis(20),
            ..BankOptions::default()
        };
        let all: Vec<_> = names(3).map(|name| name.latency(&options, 0)).collect();
        let mean = all.iter().sum::<Duration>() / 20_000;
        assert!((19..=21).contains(&mean.as_millis()), "{mean:?}");
        assert!(all.iter().all(|d| *d <= Duration::from_millis(200)));
    }
}
