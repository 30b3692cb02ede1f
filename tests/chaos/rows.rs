//! What a row of the table is: what stands below the workers, and what strikes it; and the table.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crate::rig::{Ended, Rig};

/// What strikes, from its first blow to the moment from which all is whole again.
pub type Strike = for<'a> fn(&'a mut Rig) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One kind of fault.
pub struct Row {
    /// `redis-...`, `kafka-...`, `network-...`, `clock-...`
    pub name: &'static str,
    pub setup: Setup,
    pub strike: Strike,
}

impl Row {
    pub fn new(name: &'static str, setup: Setup, strike: Strike) -> Self {
        Self {
            name,
            setup,
            strike,
        }
    }
}

/// What stands below the workers.
#[derive(Clone)]
pub struct Setup {
    /// Orders are published for so long.
    pub spread: Duration,
    /// Options of redis-server.
    pub redis: &'static [&'static str],
    /// A Redis Cluster takes its place, without a proxy in the way.
    pub redis_cluster: bool,
    /// So many brokers that may be stopped; with 0, the one that all runs share.
    pub own_brokers: usize,
    /// One broker of its own, and a proxy in the way of every connection of a worker to it.
    pub kafka_proxy: bool,
    /// `group_protocol` of the configuration.
    pub group_protocol: &'static str,
    /// Whose clock can be stepped.
    pub stepped: Option<Whose>,
}

/// A clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Workers,
    Redis,
}

impl Setup {
    /// As usual, with orders for so long.
    pub fn lasting(seconds: u64) -> Self {
        Self {
            spread: Duration::from_secs(seconds),
            ..Self::default()
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            spread: Duration::from_secs(12),
            redis: &[],
            redis_cluster: false,
            own_brokers: 0,
            kafka_proxy: false,
            group_protocol: "classic",
            stepped: None,
        }
    }
}

/// What the runs of one row came to.
#[derive(Default)]
struct Line {
    name: &'static str,
    runs: usize,
    failed: usize,
    /// Lost, repeated, contradicted, phantom, early.
    broken: [usize; 5],
    stall: Duration,
    whole: Duration,
    took: Duration,
}

/// All runs, as docs/PROOF.md has them.
#[derive(Default)]
pub struct Table {
    lines: Vec<Line>,
}

impl Table {
    /// `None`: the run did not come to its end. Runs of a row follow each other.
    pub fn add(&mut self, name: &'static str, ended: Option<&Ended>) {
        if self.lines.last().is_none_or(|line| line.name != name) {
            self.lines.push(Line {
                name,
                ..Line::default()
            });
        }
        let Some(line) = self.lines.last_mut() else {
            return;
        };
        line.runs += 1;
        let Some(ended) = ended else {
            line.failed += 1;
            return;
        };
        for (sum, (_, broken)) in line.broken.iter_mut().zip(ended.verdict.broken()) {
            *sum += broken.len();
        }
        line.stall = line.stall.max(ended.verdict.stall);
        line.whole = line.whole.max(ended.whole);
        line.took = line.took.max(ended.took);
    }

    /// The line of the row that ran last.
    pub fn last(&self) -> String {
        self.lines.last().map(Line::to_string).unwrap_or_default()
    }

    pub fn is_clean(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.failed == 0 && line.broken == [0; 5])
    }
}

/// What the columns are.
pub const HEAD: &str = "\
| row | runs | lost | repeated | contradicted | phantom | early | longest stall, s | whole after, s | takes, s |
|---|---|---|---|---|---|---|---|---|---|";

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {}", self.name, self.runs)?;
        if self.failed > 0 {
            write!(f, ", {} without an end", self.failed)?;
        }
        let mut counts = self.broken.iter();
        counts.try_for_each(|count| write!(f, " | {count}"))?;
        let [stall, whole, took] =
            [self.stall, self.whole, self.took].map(|time| time.as_secs_f64());
        write!(f, " | {stall:.2} | {whole:.2} | {took:.0} |")
    }
}
