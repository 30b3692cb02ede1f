//! The bank's books: how far each order has come, the log of its questions and their counts. One
//! lock, held for the time of a few updates, never across an await.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::change::Change;
use super::fate::{Fate, Name};
use super::layers::{Layers, Left};
use super::trick::{Played, Trick};
use super::window::{Limit, Slots, Window};
use super::{BankOptions, OverLimit};
use crate::clock::Clock;
use crate::domain::order::Millis;

/// The most questions that the log keeps (about 100 bytes each); then the oldest go, and are counted
/// as dropped.
pub const LOG_MAX: usize = 500_000;

/// The most orders whose progress is kept (about 40 bytes each). An order beyond it is answered by
/// the attempt that the question names.
pub const ORDERS_MAX: usize = 2_000_000;

/// The books.
#[derive(Debug)]
pub(super) struct Ledger {
    seed: u64,
    counters_only: bool,
    clock: Clock,
    /// Wall time at which `clock` stood at 0, so that arrivals compare with other processes' times.
    wall_start: Millis,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    orders: HashMap<Name, Progress>,
    log: VecDeque<Entry>,
    /// The number of the oldest entry in `log`.
    log_start: u64,
    /// By status; the first is not used.
    answers: [u64; 5],
    tricks: Played,
    layers: Layers,
    limit: Limit,
    window: Window,
    slots: Slots,
    /// Of the first question and of the last, in wall time.
    first: Millis,
    last: Millis,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    questions: u32,
    answered: u32,
}

#[derive(Debug)]
struct Entry {
    order: Box<str>,
    attempt: Option<u16>,
    arrived: Millis,
    given: Fate,
}

/// A question as it arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) order_type: &'a str,
    pub(super) req_no: &'a str,
    pub(super) attempt: Option<u16>,
}

/// What a question gets, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) name: Name,
    pub(super) fate: Fate,
    pub(super) latency: Duration,
    /// Seconds; 0: nothing is said of it.
    pub(super) retry_after: u64,
    pub(super) redirect: SocketAddr,
}

/// The counts of a bank.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Questions that arrived.
    pub questions: u64,
    /// Orders that they were about; stops at [`ORDERS_MAX`].
    pub orders: u64,
    /// The most questions within any 1000 consecutive milliseconds.
    pub max_per_second: u64,
    /// The most questions within one slot of 100 ms, by their `arrived` in the log.
    pub max_per_100ms: u64,
    /// Questions a second from the first to the last, but over one second at least; to a hundredth.
    pub mean_per_second: f64,
    /// When the first arrived, in milliseconds of wall time; 0: none did.
    pub first: Millis,
    /// When the last arrived.
    pub last: Millis,
    /// Questions given 1.
    pub success: u64,
    /// Questions given 2.
    pub failure: u64,
    /// Questions given 3.
    pub in_progress: u64,
    /// Questions given 4.
    pub unknown: u64,
    /// Questions given a 5xx.
    pub server_errors: u64,
    /// Questions never answered.
    pub hangs: u64,
    /// Questions given no status, by what they were given; those two among them.
    pub tricks: Played,
    /// Entries that the log could not keep; without a log, 0.
    pub dropped: u64,
}

impl Ledger {
    pub(super) fn new(options: &BankOptions, clock: Clock) -> Self {
        Self {
            seed: options.seed,
            counters_only: options.counters_only,
            clock,
            wall_start: clock.wall().saturating_sub(clock.monotonic()),
            books: Mutex::new(Books {
                orders: HashMap::new(),
                log: VecDeque::new(),
                log_start: 0,
                answers: [0; 5],
                tricks: Played::default(),
                layers: Layers::new(options),
                limit: Limit::default(),
                window: Window::default(),
                slots: Slots::default(),
                first: 0,
                last: 0,
            }),
        }
    }

    /// Books a question and says what it gets.
    pub(super) fn book(&self, asked: Asked<'_>) -> Verdict {
        let name = Name::new(self.seed, asked.order_type, asked.req_no);
        let order: Option<Box<str>> =
            (!self.counters_only).then(|| format!("{}/{}", asked.order_type, asked.req_no).into());
        let mut books = self.books();
        // Read under the lock, so that the log and the window see time in order.
        let now_us = self.clock.monotonic_us();
        let now = now_us / 1000;
        let options = books.layers.of(asked.order_type, asked.req_no, now);
        let (fate, latency) = match books.turn(&options, now_us) {
            // Above the limit it counts for the log only: the order's fate stays its own.
            None => (Fate::Trick(Trick::Code(429)), Duration::ZERO),
            Some(wait) => {
                let progress = books.progress(name, asked.attempt);
                let fate = name.fate(&options, progress.questions, progress.answered);
                books.note(name, fate);
                (fate, wait + name.latency(&options, progress.questions))
            }
        };
        let arrived = self.wall_start + now;
        books.count(fate, now, arrived);
        if let Some(order) = order {
            if books.log.len() == LOG_MAX {
                books.log.pop_front();
                books.log_start += 1;
            }
            books.log.push_back(Entry {
                order,
                attempt: asked.attempt,
                arrived,
                given: fate,
            });
        }
        Verdict {
            name,
            fate,
            latency,
            retry_after: options.retry_after.as_secs(),
            redirect: options.redirect,
        }
    }

    /// Changes what questions get from now on.
    pub(super) fn change(&self, change: Change, left: Left) -> Result<(), String> {
        let now = self.clock.monotonic();
        self.books().layers.change(change, left, now)
    }

    /// What questions get, as JSON.
    pub(super) fn behaviour(&self) -> String {
        let told = self.books().layers.told(self.clock.monotonic());
        serde_json::to_string(&told).unwrap_or_default()
    }

    pub(super) fn summary(&self) -> Summary {
        let books = self.books();
        let questions = books.answers.iter().sum::<u64>() + books.tricks.sum();
        let seconds = (books.last - books.first).max(1_000) as f64 / 1000.0;
        Summary {
            questions,
            orders: books.orders.len() as u64,
            max_per_second: books.window.most,
            max_per_100ms: books.slots.most,
            mean_per_second: (questions as f64 / seconds * 100.0).round() / 100.0,
            first: books.first,
            last: books.last,
            success: books.answers[1],
            failure: books.answers[2],
            in_progress: books.answers[3],
            unknown: books.answers[4],
            server_errors: books.tricks.server_errors(),
            hangs: books.tricks.of(Trick::Hang),
            tricks: books.tricks.clone(),
            dropped: books.log_start,
        }
    }

    /// One past the number of the newest entry.
    pub(super) fn log_end(&self) -> u64 {
        let books = self.books();
        books.log_start + books.log.len() as u64
    }

    /// Entries from number `from` on as NDJSON, at most `count` and none from `end` on, and the number
    /// to go on from; entries that were dropped meanwhile are left out.
    pub(super) fn log(&self, from: u64, end: u64, count: usize) -> (String, u64) {
        let books = self.books();
        let from = from.max(books.log_start);
        let mut lines = String::new();
        let skip = (from - books.log_start) as usize;
        let count = count.min(end.saturating_sub(from) as usize);
        let mut next = from;
        for entry in books.log.iter().skip(skip).take(count) {
            entry.write_line(&mut lines);
            next += 1;
        }
        (lines, next)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// How long a question waits for its turn; `None`: it is more than the bank takes.
    fn turn(&mut self, options: &BankOptions, now_us: u64) -> Option<Duration> {
        let most = options.max_per_second;
        match options.over_limit {
            _ if most == 0 => Some(Duration::ZERO),
            OverLimit::Refuse => {
                let takes = self.limit.takes(most, now_us / 1000);
                takes.then_some(Duration::ZERO)
            }
            OverLimit::Queue => self.limit.queues(most, now_us).map(Duration::from_micros),
        }
    }

    fn count(&mut self, fate: Fate, now: Millis, arrived: Millis) {
        self.window.add(now);
        self.slots.add(arrived);
        self.last = arrived;
        if self.first == 0 {
            self.first = arrived;
        }
        match fate {
            Fate::Answer(status) => self.answers[usize::from(status)] += 1,
            Fate::Trick(trick) => self.tricks.note(trick),
        }
    }

    fn progress(&self, name: Name, attempt: Option<u16>) -> Progress {
        match self.orders.get(&name) {
            Some(progress) => *progress,
            None if self.orders.len() < ORDERS_MAX => Progress::default(),
            None => {
                let before = u32::from(attempt.unwrap_or(1).saturating_sub(1));
                Progress {
                    questions: before,
                    answered: before,
                }
            }
        }
    }

    fn note(&mut self, name: Name, fate: Fate) {
        if self.orders.len() >= ORDERS_MAX && !self.orders.contains_key(&name) {
            return;
        }
        let progress = self.orders.entry(name).or_default();
        progress.questions = progress.questions.saturating_add(1);
        if matches!(fate, Fate::Answer(_)) {
            progress.answered = progress.answered.saturating_add(1);
        }
    }
}

impl Entry {
    /// `{"order":"transfer/TX1","attempt":2,"arrived":1795417200123,"given":"3"}`.
    fn write_line(&self, out: &mut String) {
        let order = serde_json::to_string(&self.order).unwrap_or_default();
        let attempt = self
            .attempt
            .map_or_else(|| "null".to_owned(), |n| n.to_string());
        let (arrived, given) = (self.arrived, self.given.as_str());
        // Writing to a String cannot fail.
        if writeln!(
            out,
            "{{\"order\":{order},\"attempt\":{attempt},\"arrived\":{arrived},\"given\":\"{given}\"}}"
        )
        .is_err()
        {
            out.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_cannot_keep_is_dropped_from_its_old_end_and_counted() {
        let ledger = Ledger::new(&BankOptions::default(), Clock::start());
        let asked = Asked {
            order_type: "t",
            req_no: "1",
            attempt: Some(1),
        };
        for _ in 0..LOG_MAX + 3 {
            ledger.book(asked);
        }
        assert_eq!(ledger.summary().dropped, 3);
        let (lines, next) = ledger.log(0, ledger.log_end(), 2);
        assert_eq!((lines.lines().count(), next), (2, 5));
        let (lines, _) = ledger.log(ledger.log_end() - 1, ledger.log_end(), 100);
        assert_eq!(lines.lines().count(), 1);
    }

    #[test]
    fn a_bank_that_only_counts_keeps_no_log() {
        let options = BankOptions {
            counters_only: true,
            ..BankOptions::default()
        };
        let ledger = Ledger::new(&options, Clock::start());
        ledger.book(Asked {
            order_type: "t",
            req_no: "1",
            attempt: None,
        });
        assert_eq!(ledger.log_end(), 0);
        assert_eq!(ledger.summary().questions, 1);
    }
}
