//! The overload model of `src/inquiry/tests/overload.rs` once for real, ten minutes pressed into one:
//! a bank that goes silent under a steady stream of orders and comes back to their backlog, one worker
//! before the outage and three from its middle on. The bank's log says what it was asked.

use std::time::Duration;

use crate::checker::size;
use crate::load::{Traffic, now};
use crate::pace::{busiest_second, promised};
use crate::seen::{Record, events, results};
use crate::stage::{Question, Stage};

/// Orders a second; each is asked twice.
const PER_SECOND: u64 = 20;
const STEADY: f64 = 40.0;
/// Questions a second.
const CEILING: u64 = 100;
/// The default a tenth as long: 25 s. An outage that cost attempts would exhaust every order.
const SCHEDULE: &str = "double 100ms x 8";
/// Full seconds of the ceiling that a closing breaker keeps back: it begins with an eighth of it and
/// doubles each 10 s.
const RAMP_SECONDS: f64 = 10.0 * (7.0 / 8.0 + 3.0 / 4.0 + 1.0 / 2.0);

/// What the bank does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// 503.
    Refuses,
    /// Nothing, until whoever asks gives up.
    Hangs,
}

pub async fn take(name: &'static str, out: Out) {
    let warm = size("SETTLED_FIGURES_WARM_SECONDS", 10) as u64;
    let seconds = size("SETTLED_FIGURES_OUTAGE_SECONDS", 60) as u64;
    let types = [("transfer", SCHEDULE)];
    let mut stage = Stage::under(name, CEILING, &["--in-progress", "1"], &types).await;
    stage.grow(1).await;
    let began = now();
    let traffic = Traffic::start(&stage.site, PER_SECOND);
    tokio::time::sleep(Duration::from_secs(warm)).await;
    let trick = match out {
        Out::Refuses => "503",
        Out::Hangs => "hang",
    };
    let change = format!(r#"{{"for":"{seconds}s","tricks":{{"{trick}":1}}}}"#);
    let from = stage.bank_is(&change).await;
    let until = from + seconds * 1_000;
    tokio::time::sleep(Duration::from_secs(seconds / 2)).await;
    stage.grow(2).await;
    let meter = stage.meter();
    let drain = Drain::of(seconds);
    let promised_by = until + drain.with_ramp_ms();
    tokio::time::sleep(Duration::from_millis(promised_by.saturating_sub(now()))).await;
    let orders = traffic.end().await;
    stage.all_decided(orders).await;
    let cost = meter.cost(orders);

    let results = results(&stage.site, orders);
    let exhausted = results.iter().filter(|result| result.exhausted).count();
    let open = Open::of(&events(&stage.site), &results);
    let before = open.most(began..from);
    let drained = open.down_to(before, until);
    let questions = stage.questions().await;
    let asked = Asked::of(&questions);
    let mut heard = questions.iter().filter(|question| question.answered);
    let heard = heard.find(|question| question.arrived >= until).unwrap();
    let busiest = busiest_second(&asked.all);
    let (from_s, drained_s) = (seconds / 2, (drained - until) as f64 / 1e3);
    println!(
        "figure: {name}: {PER_SECOND} orders/s, {STEADY} questions/s under {CEILING}/s, {seconds} s \
         of {trick}, 1 worker and 3 from its middle on: {orders} orders, one result each, {exhausted} \
         exhausted; {} open at most, {before} before",
        open.most(began..u64::MAX),
    );
    println!(
        "figure: {name}: by the bank: {} questions, {} in the busiest second of {} promised (beside \
         it {} ms without one); {} in the last {from_s} s of the outage",
        asked.all.len(),
        busiest.count,
        promised(CEILING),
        busiest.gap_ms,
        asked.within(until - from_s * 1_000..until),
    );
    println!(
        "figure: {name}: drained {drained_s:.1} s after the outage, of which the first answer took \
         {:.1} s; {:.1} s are backlog / (ceiling - steady) x 1.1, {:.1} s with what the closing \
         breaker keeps back",
        (heard.arrived - until) as f64 / 1e3,
        drain.plain_ms() as f64 / 1e3,
        drain.with_ramp_ms() as f64 / 1e3,
    );
    println!("figure: {name}: from the middle of the outage on: {cost}");
    assert_eq!(exhausted, 0, "falsely exhausted");
    assert!(busiest.count <= promised(CEILING), "{busiest:?}");
    assert!(drained <= promised_by, "not drained in time");
    stage.close().await;
}

/// How long a backlog may take.
struct Drain {
    backlog: f64,
}

impl Drain {
    fn of(seconds: u64) -> Self {
        Self {
            backlog: seconds as f64 * STEADY,
        }
    }

    fn plain_ms(&self) -> u64 {
        Self::ms(self.backlog)
    }

    /// A ramp of half a minute is nothing beside ten minutes, and much beside one.
    fn with_ramp_ms(&self) -> u64 {
        Self::ms(self.backlog + RAMP_SECONDS * CEILING as f64)
    }

    #[expect(clippy::cast_sign_loss, reason = "a time")]
    fn ms(questions: f64) -> u64 {
        (questions / (CEILING as f64 - STEADY) * 1.1 * 1e3) as u64
    }
}

/// How many orders were open, by the broker's append times.
struct Open(Vec<(u64, usize)>);

impl Open {
    fn of(events: &[Record], results: &[Record]) -> Self {
        let came = events.iter().map(|event| (event.at, 1));
        let went = results.iter().map(|result| (result.at, -1));
        let mut changes: Vec<(u64, isize)> = came.chain(went).collect();
        changes.sort_unstable();
        let mut open = 0_isize;
        let counted = changes.into_iter().map(|(at, change)| {
            open += change;
            (at, open.max(0).cast_unsigned())
        });
        Self(counted.collect())
    }

    fn most(&self, within: std::ops::Range<u64>) -> usize {
        let counts = self.0.iter().filter(|(at, _)| within.contains(at));
        counts.map(|(_, open)| *open).max().unwrap_or(0)
    }

    /// When no more than `open` were open first, at `from` or later.
    fn down_to(&self, open: usize, from: u64) -> u64 {
        let mut counts = self.0.iter();
        let reached = counts.find(|(at, count)| *at >= from && *count <= open);
        reached.map_or(u64::MAX, |(at, _)| *at)
    }
}

/// What the bank was asked: sorted arrivals, in Unix milliseconds.
struct Asked {
    all: Vec<u64>,
}

impl Asked {
    fn of(questions: &[Question]) -> Self {
        let mut all: Vec<u64> = questions.iter().map(|question| question.arrived).collect();
        all.sort_unstable();
        Self { all }
    }

    fn within(&self, span: std::ops::Range<u64>) -> usize {
        self.all.iter().filter(|at| span.contains(at)).count()
    }
}
