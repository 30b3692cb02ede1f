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

impl Default for Setup {
    fn default() -> Self {
        Self {
            spread: Duration::from_secs(12),
            redis: &[],
            redis_cluster: false,
            own_brokers: 0,
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
}

/// All runs.
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
    }

    pub fn is_clean(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.failed == 0 && line.broken == [0; 5])
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "figure: {:36}", "chaos")?;
        for head in [
            "runs",
            "failed",
            "lost",
            "repeated",
            "contradicted",
            "phantom",
            "early",
        ] {
            write!(f, " {head:>12}")?;
        }
        writeln!(f, " {:>16} {:>16}", "longest stall, s", "whole after, s")?;
        for line in &self.lines {
            write!(
                f,
                "figure: {:36} {:12} {:12}",
                line.name, line.runs, line.failed
            )?;
            line.broken
                .iter()
                .try_for_each(|count| write!(f, " {count:12}"))?;
            let (stall, whole) = (line.stall.as_secs_f64(), line.whole.as_secs_f64());
            writeln!(f, " {stall:16.2} {whole:16.2}")?;
        }
        Ok(())
    }
}
