//! Which runs there are, and the table of what they came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use settled::fault::POINTS;

use crate::checker::size;
use crate::random::Random;
use crate::run::Ended;

/// How a worker goes at a point.
const HOW: [&str; 2] = ["kill", "stop"];

/// One run: who goes where and when.
pub struct Fault {
    pub point: &'static str,
    /// `kill` or `stop`.
    pub how: &'static str,
    /// The coming-by at which it happens.
    pub nth: u64,
    pub seed: u64,
}

/// From how many comings-by one is drawn: amid the load, and so few that each is reached.
fn comings_by(point: &str) -> std::ops::RangeInclusive<u64> {
    match point {
        "polled" => 5..=30,
        "folded-reply-not-read" => 3..=20,
        "claimed" | "asked" | "answered-not-handed-on" => 20..=120,
        "api-answered-event-not-acknowledged" => 1..=12,
        "recovery-acquired" | "recovery-fenced" | "recovery-results" | "recovery-events" => 1..=2,
        _ => 2..=12,
    }
}

impl Fault {
    fn draw(point: &'static str, how: &'static str, seed: u64) -> Self {
        let range = comings_by(point);
        let nth = range.start() + Random::new(seed).below(range.end() - range.start() + 1);
        Self {
            point,
            how,
            nth,
            seed,
        }
    }

    /// What the worker is armed with.
    pub fn armed(&self) -> String {
        format!("{}:{}:{}", self.point, self.how, self.nth)
    }

    /// Whether it happens to a worker that joins the others amid their work.
    pub fn is_in_recovery(&self) -> bool {
        self.point.starts_with("recovery")
    }

    /// Whether the view is wiped first, so that there is something to fold again.
    pub fn wants_a_wipe(&self) -> bool {
        ["recovery-results", "recovery-events"].contains(&self.point)
    }
}

/// The runs that are still to be carried out.
pub struct Plan {
    cells: Vec<(&'static str, &'static str)>,
    runs: usize,
    seed: u64,
    next: usize,
    pub lanes: usize,
}

impl Plan {
    pub fn of_environment() -> Self {
        let only = std::env::var_os("SETTLED_KILL_ONLY");
        let only = only.map(|only| only.into_string().unwrap());
        let mut cells: Vec<_> = HOW
            .iter()
            .flat_map(|how| POINTS.iter().map(move |point| (*point, *how)))
            .collect();
        if let Some(only) = only {
            cells.retain(|(point, how)| only == *point || only == format!("{point}:{how}"));
            assert!(!cells.is_empty(), "SETTLED_KILL_ONLY={only}: no such point");
        }
        Self {
            runs: size("SETTLED_KILL_RUNS", cells.len()),
            seed: size("SETTLED_KILL_SEED", std::process::id() as usize * 1_000) as u64,
            lanes: size("SETTLED_KILL_LANES", 3),
            next: 0,
            cells,
        }
    }

    pub fn next(&mut self) -> Option<(usize, Fault)> {
        let number = self.next;
        if number >= self.runs {
            return None;
        }
        self.next += 1;
        let (point, how) = self.cells[number % self.cells.len()];
        Some((number, Fault::draw(point, how, self.seed + number as u64)))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runs, seed, lanes, ..
        } = self;
        write!(
            f,
            "{runs} runs, {lanes} at a time, SETTLED_KILL_SEED={seed}"
        )
    }
}

/// What the runs of one point, or all, came to.
#[derive(Clone, Copy, Default)]
struct Row {
    runs: usize,
    failed: usize,
    /// Lost, repeated, contradicted, phantom, early.
    broken: [usize; 5],
    stall: Duration,
}

impl Row {
    fn add(&mut self, ended: Option<&Ended>) {
        self.runs += 1;
        let Some(ended) = ended else {
            self.failed += 1;
            return;
        };
        for (sum, (_, broken)) in self.broken.iter_mut().zip(ended.verdict.broken()) {
            *sum += broken.len();
        }
        self.stall = self.stall.max(ended.verdict.stall);
    }
}

/// All runs.
#[derive(Default)]
pub struct Table {
    points: BTreeMap<&'static str, Row>,
    all: Row,
}

impl Table {
    /// `None`: the run did not come to its end.
    pub fn add(&mut self, point: &'static str, ended: Option<&Ended>) {
        self.all.add(ended);
        self.points.entry(point).or_default().add(ended);
    }

    pub fn is_clean(&self) -> bool {
        self.all.failed == 0 && self.all.broken == [0; 5]
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "runs",
            "failed",
            "lost",
            "repeated",
            "contradicted",
            "phantom",
            "early",
        ];
        write!(f, "figure: {:36}", "kill matrix")?;
        heads.iter().try_for_each(|head| write!(f, " {head:>12}"))?;
        writeln!(f, " {:>16}", "longest stall, s")?;
        let points = POINTS
            .iter()
            .filter_map(|point| Some((*point, self.points.get(point)?)));
        for (point, row) in points.chain([("all", &self.all)]) {
            write!(f, "figure: {point:36} {:12} {:12}", row.runs, row.failed)?;
            row.broken
                .iter()
                .try_for_each(|count| write!(f, " {count:12}"))?;
            writeln!(f, " {:16.2}", row.stall.as_secs_f64())?;
        }
        Ok(())
    }
}
