//! The bank's books: how far each order has come, the log of its questions and their counts. One
//! lock, held for the time of a few updates, never across an await.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::BankOptions;
use super::fate::{Fate, Name};
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
    options: BankOptions,
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
    given: [u64; 6],
    window: Window,
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
    given: Given,
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
}

/// What a question was given, as the log and the summary name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// `1`.
    Success,
    /// `2`.
    Failure,
    /// `3`.
    InProgress,
    /// `4`.
    Unknown,
    /// `500`.
    ServerError,
    /// `hang`.
    Hang,
}

/// The counts of a bank.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Questions that arrived.
    pub questions: u64,
    /// Orders that they were about; stops at [`ORDERS_MAX`].
    pub orders: u64,
    /// The most questions within any 1000 consecutive milliseconds.
    pub max_per_second: u64,
    /// Questions given 1.
    pub success: u64,
    /// Questions given 2.
    pub failure: u64,
    /// Questions given 3.
    pub in_progress: u64,
    /// Questions given 4.
    pub unknown: u64,
    /// Questions given 500.
    pub server_errors: u64,
    /// Questions never answered.
    pub hangs: u64,
    /// Entries that the log could not keep; without a log, 0.
    pub dropped: u64,
}

impl Ledger {
    pub(super) fn new(options: BankOptions, clock: Clock) -> Self {
        Self {
            options,
            clock,
            wall_start: clock.wall().saturating_sub(clock.monotonic()),
            books: Mutex::new(Books {
                orders: HashMap::new(),
                log: VecDeque::new(),
                log_start: 0,
                given: [0; 6],
                window: Window::default(),
            }),
        }
    }

    /// Books a question and says what it gets.
    pub(super) fn book(&self, asked: Asked<'_>) -> Verdict {
        let name = Name::new(self.options.seed, asked.order_type, asked.req_no);
        let order: Option<Box<str>> = (!self.options.counters_only)
            .then(|| format!("{}/{}", asked.order_type, asked.req_no).into());
        let mut books = self.books();
        // Read under the lock, so that the log and the window see time in order.
        let now = self.clock.monotonic();
        let progress = books.progress(name, asked.attempt);
        let fate = name.fate(&self.options, progress.questions, progress.answered);
        books.note(name, fate);
        books.window.add(now);
        let given = Given::from(fate);
        books.given[given as usize] += 1;
        if let Some(order) = order {
            if books.log.len() == LOG_MAX {
                books.log.pop_front();
                books.log_start += 1;
            }
            books.log.push_back(Entry {
                order,
                attempt: asked.attempt,
                arrived: self.wall_start + now,
                given,
            });
        }
        Verdict {
            name,
            fate,
            latency: name.latency(&self.options, progress.questions),
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let books = self.books();
        let given = |given: Given| books.given[given as usize];
        Summary {
            questions: books.given.iter().sum(),
            orders: books.orders.len() as u64,
            max_per_second: books.window.most,
            success: given(Given::Success),
            failure: given(Given::Failure),
            in_progress: given(Given::InProgress),
            unknown: given(Given::Unknown),
            server_errors: given(Given::ServerError),
            hangs: given(Given::Hang),
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

impl Given {
    /// As the log names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "1",
            Self::Failure => "2",
            Self::InProgress => "3",
            Self::Unknown => "4",
            Self::ServerError => "500",
            Self::Hang => "hang",
        }
    }
}

impl From<Fate> for Given {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Answer(1) => Self::Success,
            Fate::Answer(2) => Self::Failure,
            Fate::Answer(3) => Self::InProgress,
            Fate::Answer(_) => Self::Unknown,
            Fate::ServerError => Self::ServerError,
            Fate::Hang => Self::Hang,
        }
    }
}

/// Questions per sliding second, millisecond by millisecond.
#[derive(Debug)]
struct Window {
    per_ms: Box<[u32; 1000]>,
    now: Millis,
    sum: u64,
    most: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            per_ms: Box::new([0; 1000]),
            now: 0,
            sum: 0,
            most: 0,
        }
    }
}

impl Window {
    fn add(&mut self, now: Millis) {
        for passed in 0..now.saturating_sub(self.now).min(1000) {
            let left = &mut self.per_ms[((self.now + 1 + passed) % 1000) as usize];
            self.sum -= u64::from(*left);
            *left = 0;
        }
        self.now = self.now.max(now);
        self.per_ms[(self.now % 1000) as usize] += 1;
        self.sum += 1;
        self.most = self.most.max(self.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_knows_the_busiest_thousand_milliseconds() {
        let mut window = Window::default();
        for at in [5, 900, 999, 1004] {
            window.add(at);
        }
        assert_eq!(window.most, 4, "5 to 1004 are 1000 milliseconds");
        window.add(1005);
        assert_eq!(window.most, 4);
        for _ in 0..5 {
            window.add(1_000_000);
        }
        assert_eq!(window.most, 5);
    }

    #[test]
    fn what_the_log_cannot_keep_is_dropped_from_its_old_end_and_counted() {
        let ledger = Ledger::new(BankOptions::default(), Clock::start());
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
        let ledger = Ledger::new(options, Clock::start());
        ledger.book(Asked {
            order_type: "t",
            req_no: "1",
            attempt: None,
        });
        assert_eq!(ledger.log_end(), 0);
        assert_eq!(ledger.summary().questions, 1);
    }
}
