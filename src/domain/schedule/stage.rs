//! One stage of a ladder and its grammar: `20s`, `3s x 10`, `5m until 1h`, `double 1s x 8`,
//! `double 1s to 64s until 1h`, `double 1s to 64s x 20`.

use std::fmt;

use crate::domain::json::echo;
use crate::domain::order::Millis;

/// No schedule is longer: what is meant as such is a mistake, and no sum of delays can overflow.
pub const SCHEDULE_MAX: Millis = 10 * 365 * DAY;

const SECOND: Millis = 1000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

/// A stage that cannot be: one line that names the stage and the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stage}: {why}")]
pub struct StageError {
    index: usize,
    stage: String,
    why: String,
}

impl StageError {
    pub(super) fn new(stage: &str, why: impl Into<String>) -> Self {
        Self {
            index: 0,
            stage: echo(stage),
            why: why.into(),
        }
    }

    pub(super) fn at(self, index: usize) -> Self {
        Self { index, ..self }
    }

    /// Which stage of the list, from 0 on.
    pub fn index(&self) -> usize {
        self.index
    }

    /// For a list without a stage.
    pub(super) fn of_none(why: &str) -> Self {
        Self {
            index: 0,
            stage: "[]".to_owned(),
            why: why.to_owned(),
        }
    }
}

/// A delay, how it grows and when the stage ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    first: Millis,
    growth: Growth,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    Constant,
    Doubling { to: Option<Millis> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// After so many questions.
    Count(u16),
    /// At this age of the order, with a last question exactly then.
    Until(Millis),
}

impl Stage {
    /// `double 1s x 8`.
    pub(super) const DEFAULT: Self = Self {
        first: SECOND,
        growth: Growth::Doubling { to: None },
        end: End::Count(8),
    };

    pub(super) fn parse(text: &str) -> Result<Self, StageError> {
        Self::read(text).map_err(|why| StageError::new(text, why))
    }

    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (doubling, rest) = match text.strip_prefix("double ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (rest, end) = if let Some((rest, count)) = rest.split_once(" x ") {
            let count = count.trim().parse().ok().filter(|count| *count > 0);
            (rest, End::Count(count.ok_or(EXPECTED_COUNT)?))
        } else if let Some((rest, age)) = rest.split_once(" until ") {
            (rest, End::Until(duration(age)?))
        } else if doubling {
            return Err(EXPECTED.to_owned());
        } else {
            (rest, End::Count(1))
        };
        let (first, growth) = match (doubling, rest.split_once(" to ")) {
            (false, _) => (duration(rest)?, Growth::Constant),
            (true, None) => (duration(rest)?, Growth::Doubling { to: None }),
            (true, Some((first, to))) => {
                let (first, to) = (duration(first)?, duration(to)?);
                if to < first {
                    return Err("the delay after \"to\" must not be below the first".to_owned());
                }
                (first, Growth::Doubling { to: Some(to) })
            }
        };
        let stage = Self { first, growth, end };
        if let End::Until(until) = end
            && first > until
        {
            return Err("its delay is longer than the age at which it ends".to_owned());
        }
        Ok(stage)
    }

    /// The delay before the question `k`, from 0 on.
    fn delay(&self, k: u16) -> Millis {
        match self.growth {
            Growth::Constant => self.first,
            Growth::Doubling { to } => {
                // 2^40 ms are 34 years: more than any schedule.
                let grown = self.first.saturating_mul(1 << k.min(40));
                to.map_or(grown, |to| grown.min(to))
            }
        }
    }

    /// From which question on the delay stays the same.
    fn settles_at(&self) -> u16 {
        let most = match (self.growth, self.end) {
            (Growth::Constant, _) => self.first,
            (Growth::Doubling { to: Some(to) }, End::Count(_)) => to,
            (Growth::Doubling { to: None }, End::Count(_)) => SCHEDULE_MAX,
            (Growth::Doubling { to }, End::Until(until)) => to.map_or(until, |to| to.min(until)),
        };
        let mut k = 0;
        while self.delay(k) < most {
            k += 1;
        }
        k
    }

    /// How many positions of the ladder it takes: one a question where questions are counted, else
    /// one for each different delay.
    pub(super) fn positions(&self) -> u16 {
        match self.end {
            End::Count(count) => count,
            End::Until(_) => self.settles_at() + 1,
        }
    }

    /// How many questions it holds for every order, however late it comes.
    pub(super) fn counted(&self) -> u16 {
        match self.end {
            End::Count(count) => count,
            End::Until(_) => 0,
        }
    }

    /// The next delay of an order of this age that stands at position `k` of this stage, and the
    /// position after it; `None` when the stage is over.
    pub(super) fn draw(&self, k: u16, age: Millis) -> Option<(Millis, u16)> {
        match self.end {
            End::Count(count) if k < count => Some((self.delay(k), k + 1)),
            End::Until(until) if age < until => {
                let next = (k + 1).min(self.positions() - 1);
                Some((self.delay(k).min(until - age), next))
            }
            _ => None,
        }
    }

    /// The first question that is ideally due at `age` or later, when the stage begins at `elapsed`:
    /// its position and age, or else the age at which the stage is over. Does not walk question by
    /// question, so that a rebuild can ask it for each order.
    pub(super) fn place(&self, mut elapsed: Millis, age: Millis) -> Result<(u16, Millis), Millis> {
        let settles_at = self.settles_at();
        let mut k = 0;
        while let Some((delay, next)) = self.draw(k, elapsed) {
            let steps = if k < settles_at {
                1
            } else {
                age.saturating_sub(elapsed).div_ceil(self.delay(k)).max(1)
            };
            match self.end {
                End::Count(count) => {
                    let steps = steps.min(u64::from(count - k));
                    k += steps as u16;
                    elapsed += steps * delay;
                }
                End::Until(until) => {
                    elapsed =
                        until.min(elapsed.saturating_add(steps.saturating_mul(self.delay(k))));
                    k = next;
                }
            }
            if elapsed >= age {
                return Ok((k, elapsed));
            }
        }
        Err(elapsed)
    }

    /// The ideal age at its end when it begins at `elapsed`.
    pub(super) fn end(&self, elapsed: Millis) -> Millis {
        match self.end {
            End::Until(until) => until.max(elapsed),
            End::Count(count) => (0..count).fold(elapsed, |end, k| {
                end.saturating_add(self.delay(k)).min(SCHEDULE_MAX + 1)
            }),
        }
    }

    /// The same, or why it cannot be.
    pub(super) fn ends_at(&self, elapsed: Millis) -> Result<Millis, StageError> {
        let refuse = |why: String| Err(StageError::new(&self.to_string(), why));
        if let End::Until(until) = self.end
            && until <= elapsed
        {
            let begins = Duration(elapsed);
            return refuse(format!("must end later than {begins}, when it begins"));
        }
        let end = self.end(elapsed);
        if end > SCHEDULE_MAX {
            return refuse("ends later than 10 years after the event".to_owned());
        }
        Ok(end)
    }
}

const EXPECTED: &str = "expected a stage like 20s, 3s x 10, 5m until 1h, double 1s x 8 or \
                        double 1s to 64s until 1h";
const EXPECTED_COUNT: &str = "expected a count from 1 to 65000 after \"x\", as in 3s x 10";

/// Whole milliseconds above zero.
fn duration(text: &str) -> Result<Millis, String> {
    let Ok(duration) = humantime::parse_duration(text.trim()) else {
        return Err(EXPECTED.to_owned());
    };
    let whole = duration.subsec_nanos().is_multiple_of(1_000_000);
    match Millis::try_from(duration.as_millis()) {
        _ if !whole => Err("a delay must be of whole milliseconds".to_owned()),
        Ok(0) => Err("a delay must be above zero".to_owned()),
        Ok(millis) if millis <= SCHEDULE_MAX => Ok(millis),
        _ => Err("a delay must be at most 10 years".to_owned()),
    }
}

/// As it is written in the configuration, `1h30m`.
pub(super) struct Duration(pub(super) Millis);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, name) in [
            (DAY, "d"),
            (HOUR, "h"),
            (MINUTE, "m"),
            (SECOND, "s"),
            (1, "ms"),
        ] {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Duration(self.first);
        match self.growth {
            Growth::Constant => write!(f, "{first}")?,
            Growth::Doubling { to: None } => write!(f, "double {first}")?,
            Growth::Doubling { to: Some(to) } => write!(f, "double {first} to {}", Duration(to))?,
        }
        match (self.growth, self.end) {
            (Growth::Constant, End::Count(1)) => Ok(()),
            (_, End::Count(count)) => write!(f, " x {count}"),
            (_, End::Until(until)) => write!(f, " until {}", Duration(until)),
        }
    }
}
