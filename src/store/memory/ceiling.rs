//! The twin of `reserve.lua`: the same numbers, step by step, with the time handed in.

use super::super::ceiling::{
    AHEAD_US, BURST_US, Breaker, FIRST_STEP, HOLD_MAX_US, Known, LENT_US, LIFETIME_US, PROBE_US,
    ROW_MAX, Reserve, STEP_US, Slots, Spacing, nothing,
};

/// One type's ceiling, in microseconds of the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ceiling {
    born: u64,
    at: u64,
    /// The next start time that nobody has.
    free: u64,
    /// The next start time of each share's own part.
    own: [u64; 3],
    mode: Mode,
    /// Since when it is in this mode.
    since: u64,
    /// Questions in a row without an answer.
    row: u64,
    /// Until when the owner is left alone.
    hold: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Closed = 0,
    Open = 1,
    Closing = 2,
}

impl Ceiling {
    /// Reserves at `now`; a ceiling that is not there, or has outlived itself, is made.
    pub fn reserve(kept: &mut Option<Self>, reserve: &Reserve, now: u64) -> Slots {
        let Some(spacing) = Spacing::of(reserve) else {
            return nothing(reserve);
        };
        let mut ceiling = kept
            .filter(|kept| now < kept.lives_until())
            .unwrap_or(Self::new(now));
        ceiling.recall(reserve, now);
        ceiling.hear(reserve, now);
        let slots = ceiling.give(reserve, spacing, now);
        *kept = Some(ceiling);
        slots
    }

    fn new(now: u64) -> Self {
        Self {
            born: now,
            at: 0,
            free: 0,
            own: [0; 3],
            mode: Mode::Closed,
            since: now,
            row: 0,
            hold: 0,
        }
    }

    fn lives_until(&self) -> u64 {
        self.at.max(self.free) + LIFETIME_US
    }

    /// What the store has forgotten and its worker has not.
    fn recall(&mut self, reserve: &Reserve, now: u64) {
        let Some(known) = reserve.known.filter(|known| known.born_us > 0) else {
            return;
        };
        if known.born_us == self.born && known.at_us <= self.at {
            return;
        }
        // What was given away and is not known here lies no further ahead.
        self.free = self.free.max(now + LENT_US);
        match (known.breaker, self.mode) {
            (Breaker::Open, Mode::Closed | Mode::Closing) => {
                (self.mode, self.since) = (Mode::Open, now);
            }
            (Breaker::Closing { for_us }, Mode::Closed) => {
                (self.mode, self.since) = (Mode::Closing, now.saturating_sub(for_us));
            }
            (Breaker::Closing { for_us }, Mode::Closing) => {
                self.since = self.since.max(now.saturating_sub(for_us));
            }
            _ => {}
        }
    }

    fn hear(&mut self, reserve: &Reserve, now: u64) {
        if reserve.hold_us > 0 {
            self.hold = self.hold.max(now + reserve.hold_us.min(HOLD_MAX_US));
        }
        // Of a master whose clock was ahead.
        if self.hold > now + HOLD_MAX_US {
            self.hold = 0;
        }
        let failures = u64::from(reserve.heard.failures);
        if reserve.heard.answered {
            if self.mode == Mode::Open {
                (self.mode, self.since) = (Mode::Closing, now);
                self.free = self.free.min(now + LENT_US);
            }
            self.row = failures;
        } else {
            self.row += failures;
        }
        self.row = self.row.min(ROW_MAX);
        if self.row == ROW_MAX && self.mode != Mode::Open {
            (self.mode, self.since) = (Mode::Open, now);
        }
    }

    fn give(&mut self, reserve: &Reserve, spacing: Spacing, now: u64) -> Slots {
        let between = self.between(spacing.all, now);
        let begin = self.free.max(now);
        // A master whose clock is behind its predecessor's must not stop the questions for that long.
        let begin = if begin > now + AHEAD_US + between {
            now
        } else {
            begin
        };
        let (mut next, mut counts) = (begin, [0; 3]);
        let mut left = match self.mode {
            _ if self.hold > now => 0,
            Mode::Open => u64::from(reserve.most.min(1)),
            Mode::Closed | Mode::Closing => u64::from(reserve.most),
        };
        let ahead = if self.mode == Mode::Open {
            LENT_US
        } else {
            AHEAD_US
        };
        let room = |next: u64, ahead: u64| match (now + ahead).checked_sub(next) {
            Some(room) => room / between + 1,
            None => 0,
        };
        // Each share's own part, first of the one that went without for longest, then what is left.
        let mut order = [0, 1, 2];
        order.sort_by_key(|share| self.own[*share]);
        for share in order {
            let every = spacing.own[share] * between / spacing.all;
            let own_next = self.own[share]
                .max(now.saturating_sub(BURST_US))
                .min(now + every);
            let own = match now.checked_sub(own_next) {
                Some(unused) if every > 0 => unused / every + 1,
                _ => 0,
            };
            let given = u64::from(reserve.wanted[share])
                .min(own)
                .min(room(next, ahead))
                .min(left);
            self.own[share] = own_next + given * every;
            next += given * between;
            left -= given;
            counts[share] = given as u32;
        }
        for (wanted, count) in reserve.wanted.into_iter().zip(&mut counts) {
            let given = u64::from(wanted - *count)
                .min(room(next, LENT_US))
                .min(left);
            next += given * between;
            left -= given;
            *count += given as u32;
        }
        self.free = next;
        self.at = now;
        Slots {
            first_in_us: begin.max(self.hold) - now,
            counts,
            spacing_us: between,
            held_us: self.hold.saturating_sub(now),
            known: Known {
                born_us: self.born,
                at_us: now,
                breaker: match self.mode {
                    Mode::Closed => Breaker::Closed,
                    Mode::Open => Breaker::Open,
                    Mode::Closing => Breaker::Closing {
                        for_us: now.saturating_sub(self.since),
                    },
                },
            },
        }
    }

    /// Microseconds between two start times as things stand; ends the closing when it is over.
    fn between(&mut self, all: u64, now: u64) -> u64 {
        let slowest = all.max(PROBE_US);
        match self.mode {
            Mode::Closed => all,
            Mode::Open => slowest,
            Mode::Closing => {
                let steps = now.saturating_sub(self.since) / STEP_US;
                let between = (all * FIRST_STEP).min(slowest) >> steps.min(63);
                if between > all {
                    return between;
                }
                self.mode = Mode::Closed;
                all
            }
        }
    }
}

/// As the script writes it.
impl std::fmt::Display for Ceiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [callers, first, rest] = self.own;
        let (born, at, free, since) = (self.born, self.at, self.free, self.since);
        let (row, hold) = (self.row, self.hold);
        let mode = self.mode as u8;
        write!(
            f,
            "{born} {at} {free} {callers} {first} {rest} {mode} {since} {row} {hold}"
        )
    }
}

impl std::str::FromStr for Ceiling {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers: Vec<u64> = text
            .split_whitespace()
            .map(|number| number.parse().map_err(|_| ()))
            .collect::<Result<_, _>>()?;
        let [born, at, free, callers, first, rest, mode, since, row, hold] = numbers[..] else {
            return Err(());
        };
        let mode = match mode {
            0 => Mode::Closed,
            1 => Mode::Open,
            2 => Mode::Closing,
            _ => return Err(()),
        };
        Ok(Self {
            born,
            at,
            free,
            own: [callers, first, rest],
            mode,
            since,
            row,
            hold,
        })
    }
}

#[cfg(test)]
mod tests;
