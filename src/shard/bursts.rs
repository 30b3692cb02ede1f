//! Alarms that one fault may bring by the thousand, an order each: a line per kind and window, with
//! their number and one example. The report adds to it and writes the lines; alarms are counted there
//! one by one all the same.

use crate::domain::order::Millis;

/// After a line of a kind the next one waits for so long.
const WINDOW: Millis = 10_000;

/// What comes in bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An owner's answer contradicts what is being published.
    Contradiction,
    /// A terminal event contradicts what was published.
    Conflict,
    /// A record of `order-results` is none of ours.
    ForeignResult,
    /// An owner's answer was outside the contract.
    Violation,
    /// A question cannot be asked as it is configured, or its owner refuses it.
    QueryConfiguration,
    /// An event's type is not configured.
    UnknownType,
    /// A schedule ended without a terminal answer.
    Exhausted,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Contradiction,
        Self::Conflict,
        Self::ForeignResult,
        Self::Violation,
        Self::QueryConfiguration,
        Self::UnknownType,
        Self::Exhausted,
    ];
}

/// What was not told yet.
#[derive(Debug)]
pub(super) struct Bursts([Burst; Kind::ALL.len()]);

#[derive(Debug)]
struct Burst {
    kind: Kind,
    count: u64,
    example: String,
    quiet_until: Millis,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub kind: Kind,
    /// How many since the line before.
    pub count: u64,
    /// The first of them.
    pub example: String,
}

impl Default for Bursts {
    fn default() -> Self {
        Self(Kind::ALL.map(|kind| Burst {
            kind,
            count: 0,
            example: String::new(),
            quiet_until: 0,
        }))
    }
}

impl Bursts {
    /// One more.
    pub fn add(&mut self, kind: Kind, example: &impl ToString) {
        let burst = &mut self.0[kind as usize];
        if burst.count == 0 {
            burst.example = example.to_string();
        }
        burst.count += 1;
    }

    /// The lines whose time has come at `now`; [`Millis::MAX`] ends all windows.
    pub fn due(&mut self, now: Millis) -> impl Iterator<Item = Line> {
        let due = move |burst: &&mut Burst| burst.count > 0 && burst.quiet_until <= now;
        self.0.iter_mut().filter(due).map(move |burst| {
            burst.quiet_until = now.saturating_add(WINDOW);
            Line {
                kind: burst.kind,
                count: std::mem::take(&mut burst.count),
                example: std::mem::take(&mut burst.example),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bursts: &mut Bursts, now: Millis) -> Vec<(Kind, u64, String)> {
        let lines = bursts.due(now);
        lines.map(|l| (l.kind, l.count, l.example)).collect()
    }

    #[test]
    fn a_storm_is_one_line_a_window_with_its_number_and_its_first() {
        let mut bursts = Bursts::default();
        for n in 1..=3 {
            bursts.add(Kind::Conflict, &format!("transfer/TX{n}"));
        }
        let first = (Kind::Conflict, 3, "transfer/TX1".to_owned());
        assert_eq!(lines(&mut bursts, 5), [first]);
        assert_eq!(lines(&mut bursts, 5), []);
        for n in 4..=9 {
            bursts.add(Kind::Conflict, &format!("transfer/TX{n}"));
            assert_eq!(lines(&mut bursts, 4 + WINDOW), []);
        }
        let second = (Kind::Conflict, 6, "transfer/TX4".to_owned());
        assert_eq!(lines(&mut bursts, 5 + WINDOW), [second]);
    }

    #[test]
    fn one_kind_does_not_silence_another_and_the_end_tells_the_rest() {
        let mut bursts = Bursts::default();
        for kind in Kind::ALL {
            bursts.add(kind, &1);
            assert_eq!(lines(&mut bursts, 1), [(kind, 1, "1".to_owned())]);
            bursts.add(kind, &2);
        }
        assert_eq!(lines(&mut bursts, 2), []);
        assert_eq!(lines(&mut bursts, Millis::MAX).len(), Kind::ALL.len());
    }
}
