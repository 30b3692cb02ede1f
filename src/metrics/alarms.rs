//! The alarms of one order type that are open. One fault brings them by the thousand, an order or a
//! question each: that is one line when it begins, one a minute while it goes on and one when it is
//! over, for all shards of a worker together. Pure; `app` tells the lines.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;

use super::label::Alarm;
use crate::domain::order::Millis;

/// An alarm that goes on says so once in this time, and is over when it was silent for so long.
const WINDOW: Millis = 60_000;

/// What is to be told of an alarm. The counts of its lines add up to its total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmLine {
    /// What.
    pub kind: Alarm,
    /// How it stands.
    pub stage: Stage,
    /// How many since the line before.
    pub count: u64,
    /// The first of them, where it is one of orders.
    pub example: Option<String>,
}

/// How an alarm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has begun.
    Began,
    /// It goes on.
    GoesOn,
    /// It is over.
    Over {
        /// How many there were.
        total: u64,
        /// Monotonic milliseconds of its first.
        from: Millis,
        /// Those of its last, or of its end where that was said.
        to: Millis,
    },
}

/// The open alarms of one order type, a kind each.
#[derive(Debug)]
pub(super) struct OpenAlarms {
    all: Mutex<BTreeMap<Alarm, Open>>,
    /// A bit a kind that is open, as most answers find none and need no lock to see it.
    kinds: AtomicU32,
    gauges: BTreeMap<Alarm, IntGauge>,
}

#[derive(Debug)]
struct Open {
    from: Millis,
    to: Millis,
    /// It is not taken for silent before.
    until: Millis,
    total: u64,
    untold: u64,
    example: Option<String>,
    told: Option<Millis>,
    /// Its end was said.
    ended: bool,
}

impl OpenAlarms {
    /// `gauge` makes the one of a kind: 1 while it is open.
    pub fn new(gauge: impl Fn(Alarm) -> IntGauge) -> Self {
        let gauges = Alarm::OF_A_TYPE.map(|kind| (kind, gauge(kind)));
        Self {
            all: Mutex::default(),
            kinds: AtomicU32::new(0),
            gauges: gauges.into(),
        }
    }

    /// One more, which opens it.
    pub fn add(&self, kind: Alarm, example: &dyn Display, now: Millis) {
        let mut all = self.all();
        let open = self.open_in(&mut all, kind, now);
        if open.untold == 0 {
            open.example = Some(example.to_string());
        }
        open.more(1, now);
    }

    /// Opens it, with `count` so far, until its end is said or it was silent for a window after
    /// `until`. Whether it was not open before; if it was, nothing is counted.
    pub fn open(&self, kind: Alarm, count: u64, now: Millis, until: Millis) -> bool {
        let mut all = self.all();
        let is_new = !self.is_open(kind);
        let open = self.open_in(&mut all, kind, now);
        open.until = open.until.max(until);
        if is_new {
            open.more(count, now);
        }
        is_new
    }

    /// One more of each of these kinds that is open.
    pub fn add_to_open(&self, kinds: &[Alarm], now: Millis) {
        if kinds.iter().any(|kind| self.is_open(*kind)) {
            let mut all = self.all();
            for kind in kinds {
                if let Some(open) = all.get_mut(kind).filter(|open| !open.ended) {
                    open.more(1, now);
                }
            }
        }
    }

    /// Its end is known; of no effect on one that is not open.
    pub fn end(&self, kind: Alarm, now: Millis) {
        if self.is_open(kind) {
            let mut all = self.all();
            if let Some(open) = all.get_mut(&kind) {
                (open.ended, open.to) = (true, now);
            }
            self.show(kind, false);
        }
    }

    pub fn is_open(&self, kind: Alarm) -> bool {
        self.kinds.load(Relaxed) & bit(kind) != 0
    }

    /// The lines whose time has come.
    pub fn lines(&self, now: Millis) -> Vec<AlarmLine> {
        let mut lines = Vec::new();
        self.all().retain(|kind, open| {
            let is_over = open.ended || open.until.saturating_add(WINDOW) <= now;
            // The last line tells what the ones before it did not.
            if open.told.is_none() || (!is_over && open.is_due(now)) {
                lines.push(open.tell(*kind, now));
            }
            if is_over {
                lines.push(open.over(*kind));
                self.show(*kind, false);
            }
            !is_over
        });
        lines
    }

    /// What no line has told, at the end of the process.
    pub fn untold(&self) -> Vec<AlarmLine> {
        let mut all = self.all();
        let mut lines = Vec::new();
        for (kind, open) in all.iter_mut() {
            if open.told.is_none() || (!open.ended && open.untold > 0) {
                lines.push(open.tell(*kind, open.to));
            }
            if open.ended {
                lines.push(open.over(*kind));
            }
        }
        all.retain(|_, open| !open.ended);
        lines
    }

    fn open_in<'a>(
        &self,
        all: &'a mut BTreeMap<Alarm, Open>,
        kind: Alarm,
        now: Millis,
    ) -> &'a mut Open {
        let open = all.entry(kind).or_insert_with(|| Open {
            from: now,
            to: now,
            until: now,
            total: 0,
            untold: 0,
            example: None,
            told: None,
            ended: false,
        });
        open.ended = false;
        self.show(kind, true);
        open
    }

    fn show(&self, kind: Alarm, is_open: bool) {
        if is_open {
            self.kinds.fetch_or(bit(kind), Relaxed);
        } else {
            self.kinds.fetch_and(!bit(kind), Relaxed);
        }
        if let Some(gauge) = self.gauges.get(&kind) {
            gauge.set(i64::from(is_open));
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Alarm, Open>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bit(kind: Alarm) -> u32 {
    1 << kind as u32
}

impl Open {
    fn more(&mut self, count: u64, now: Millis) {
        self.total += count;
        self.untold += count;
        self.to = now;
        self.until = self.until.max(now);
    }

    fn is_due(&self, now: Millis) -> bool {
        self.untold > 0 && self.told.is_none_or(|at| at + WINDOW <= now)
    }

    fn tell(&mut self, kind: Alarm, now: Millis) -> AlarmLine {
        let stage = match self.told.replace(now) {
            None => Stage::Began,
            Some(_) => Stage::GoesOn,
        };
        self.line(kind, stage)
    }

    fn over(&mut self, kind: Alarm) -> AlarmLine {
        let (total, from, to) = (self.total, self.from, self.to);
        self.line(kind, Stage::Over { total, from, to })
    }

    fn line(&mut self, kind: Alarm, stage: Stage) -> AlarmLine {
        AlarmLine {
            kind,
            stage,
            count: std::mem::take(&mut self.untold),
            example: self.example.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::label::Label;

    const TICK: Millis = 1_000;

    fn alarms() -> OpenAlarms {
        OpenAlarms::new(|_| IntGauge::new("open", "1 while it is open").unwrap())
    }

    fn shown(alarms: &OpenAlarms, kind: Alarm) -> i64 {
        alarms.gauges[&kind].get()
    }

    fn line(kind: Alarm, stage: Stage, count: u64, example: Option<&str>) -> AlarmLine {
        let example = example.map(str::to_owned);
        AlarmLine {
            kind,
            stage,
            count,
            example,
        }
    }

    #[test]
    fn a_thousand_at_once_are_one_line_and_its_end() {
        let alarms = alarms();
        for n in 1..=1_000 {
            alarms.add(Alarm::Exhausted, &format!("pay/TX{n}"), n);
        }
        let began = line(Alarm::Exhausted, Stage::Began, 1_000, Some("pay/TX1"));
        assert_eq!(alarms.lines(TICK), [began]);
        assert_eq!(shown(&alarms, Alarm::Exhausted), 1);
        assert_eq!(alarms.lines(999 + WINDOW), []);
        let over = Stage::Over {
            total: 1_000,
            from: 1,
            to: 1_000,
        };
        let over = line(Alarm::Exhausted, over, 0, None);
        assert_eq!(alarms.lines(1_000 + WINDOW), [over]);
        assert_eq!(shown(&alarms, Alarm::Exhausted), 0);
        assert_eq!(alarms.lines(Millis::MAX), []);
    }

    #[test]
    fn what_goes_on_is_one_line_a_window_whatever_the_number() {
        let alarms = alarms();
        let (mut lines, mut now) = (Vec::new(), 0);
        // One every 59 s keeps it open, a hundred a second are told no more often.
        for n in 0..600 {
            let (count, step) = if n < 300 { (100, TICK) } else { (1, 59_000) };
            for _ in 0..count {
                alarms.add(Alarm::Conflict, &n, now);
            }
            now += step;
            lines.extend(alarms.lines(now));
        }
        let windows = now / WINDOW;
        assert!(lines.len() as u64 <= windows + 1, "{} lines", lines.len());
        let began = |line: &&AlarmLine| line.stage == Stage::Began;
        assert_eq!(lines.iter().filter(began).count(), 1);
        assert_eq!(lines.iter().map(|line| line.count).sum::<u64>(), 30_299);
        let over = alarms.lines(now + WINDOW);
        assert_eq!(over.last().unwrap().count, 1, "the last one was not told");
        let Stage::Over { total, .. } = over.last().unwrap().stage else {
            panic!("{over:?}");
        };
        assert_eq!(total, 30_300);
    }

    #[test]
    fn an_alarm_whose_end_is_said_is_over_then_and_may_begin_anew() {
        let alarms = alarms();
        let kinds = [Alarm::BreakerOpen, Alarm::OwnerRefuses];
        assert!(alarms.open(Alarm::BreakerOpen, 0, 5, Millis::MAX));
        assert!(!alarms.open(Alarm::BreakerOpen, 0, 6, Millis::MAX));
        alarms.add_to_open(&kinds, 7);
        let began = line(Alarm::BreakerOpen, Stage::Began, 1, None);
        assert_eq!(alarms.lines(TICK), [began]);
        alarms.add_to_open(&kinds, 8);
        let goes_on = line(Alarm::BreakerOpen, Stage::GoesOn, 1, None);
        assert_eq!(alarms.lines(TICK + WINDOW), [goes_on]);
        assert_eq!(alarms.lines(WINDOW * 9), [], "silence does not end it");
        alarms.add_to_open(&kinds, WINDOW * 9);
        alarms.end(Alarm::BreakerOpen, WINDOW * 9 + 1);
        assert!(!alarms.is_open(Alarm::BreakerOpen));
        let end = Stage::Over {
            total: 3,
            from: 5,
            to: WINDOW * 9 + 1,
        };
        let lines = alarms.lines(WINDOW * 9 + 2);
        assert_eq!(lines.last().unwrap().stage, end);
        assert_eq!(lines.iter().map(|line| line.count).sum::<u64>(), 1);
        assert!(alarms.open(Alarm::BreakerOpen, 0, WINDOW * 10, Millis::MAX));
    }

    #[test]
    fn a_silence_that_was_announced_ends_nothing() {
        let alarms = alarms();
        alarms.open(Alarm::OwnerSaidLater, 1, 0, WINDOW);
        assert_eq!(alarms.lines(TICK).len(), 1);
        assert_eq!(alarms.lines(WINDOW * 2 - 1), []);
        assert_eq!(alarms.lines(WINDOW * 2).len(), 1);
    }

    #[test]
    fn one_kind_does_not_silence_another_and_the_end_of_the_process_tells_the_rest() {
        let alarms = alarms();
        for kind in Alarm::OF_A_TYPE {
            alarms.add(kind, &1, 0);
        }
        assert_eq!(alarms.lines(1).len(), Alarm::OF_A_TYPE.len());
        alarms.add(Alarm::Exhausted, &2, 2);
        assert_eq!(alarms.lines(3), []);
        let rest = line(Alarm::Exhausted, Stage::GoesOn, 1, Some("2"));
        alarms.end(Alarm::Violation, 4);
        let over = Stage::Over {
            total: 1,
            from: 0,
            to: 4,
        };
        let over = line(Alarm::Violation, over, 0, None);
        assert_eq!(alarms.untold(), [rest, over]);
        assert_eq!(alarms.untold(), []);
    }

    #[test]
    fn every_kind_has_a_bit_of_its_own() {
        assert!(Alarm::ALL.len() <= 32);
    }
}
