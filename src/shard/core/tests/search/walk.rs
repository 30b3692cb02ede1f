//! The search itself: breadth first, so that what it finds is told in the fewest steps. Where a world
//! can go on without a fault the search does so; where it cannot, time goes on without faults until
//! all that was said has come to its end.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::happening::{Class, Happening};
use super::scenario::{Faults, OLD, Say, Scenario};
use super::small::{Ground, Small};
use crate::domain::status::Terminal;
use crate::plant::planted;

/// What a search came to.
pub struct Walked {
    pub states: usize,
    pub depth: usize,
    /// Every state was looked at.
    pub to_the_end: bool,
    /// A broken promise, and the way to it.
    pub broken: Option<(String, Vec<String>)>,
}

/// Steps without a fault after which a world must have come to rest. A recovery has about 12, an
/// order's life about 20.
const PATIENCE: usize = 1_000;

/// Stands before the steps that a world was left alone for.
pub const CALM: &str = "-- no more faults";

/// So many of those are told.
const TOLD: usize = 60;

struct Walk<'a> {
    ground: &'a Ground,
    start: Small,
    seen: HashSet<u64>,
    /// How each state was first reached: from which, by what.
    ways: Vec<(u32, Happening)>,
    /// Worlds from which rest was reached.
    calm: HashSet<u64>,
}

/// Searches a scenario, but no further than about `most` states.
pub fn walk(scenario: &Scenario, most: usize) -> Walked {
    let ground = Ground::new(scenario);
    let mut start = Small::new(&ground);
    // What a planted bug does to an empty world is not what is searched for.
    planted(None, || start.begin(&ground));
    let mut walk = Walk {
        ground: &ground,
        seen: HashSet::from([start.print()]),
        ways: vec![(0, Happening::Time)],
        calm: HashSet::new(),
        start: start.clone(),
    };
    let mut front = vec![(0, start)];
    let mut depth = 0;
    let mut verdict = Ok(());
    while verdict.is_ok() && !front.is_empty() && walk.seen.len() < most {
        let mut next = Vec::new();
        verdict = front
            .drain(..)
            .try_for_each(|(way, world)| walk.widen(way, &world, &mut next));
        front = next;
        depth += 1;
    }
    let to_the_end = front.is_empty();
    if verdict.is_ok() {
        // Where the search was cut, what it left must come to rest, too.
        verdict = front
            .iter()
            .try_for_each(|(way, world)| walk.rest(*way, world));
    }
    Walked {
        states: walk.seen.len(),
        depth,
        to_the_end,
        broken: verdict.err(),
    }
}

type Broken = (String, Vec<String>);

impl Walk<'_> {
    /// Tries everything that can happen next.
    fn widen(
        &mut self,
        way: u32,
        world: &Small,
        next: &mut Vec<(u32, Small)>,
    ) -> Result<(), Broken> {
        let mut goes_on = false;
        for happening in world.happenings(self.ground) {
            if happening == Happening::Time && world.is_late(self.ground) {
                continue;
            }
            goes_on |= happening.class() != Class::Fault;
            let mut then = world.clone();
            let verdict = then
                .dare(self.ground, happening)
                .and_then(|()| then.judge_after(self.ground, world));
            if let Err(what) = verdict {
                return Err((what, self.way_to(way, Some(happening))));
            }
            if self.seen.insert(then.print()) {
                self.ways.push((way, happening));
                next.push(((self.ways.len() - 1) as u32, then));
            }
        }
        if goes_on {
            Ok(())
        } else {
            self.rest(way, world)
        }
    }

    /// Left alone, the world comes to rest.
    fn rest(&mut self, way: u32, world: &Small) -> Result<(), Broken> {
        let mut then = world.clone();
        then.left = Faults::default();
        let mut path = Vec::new();
        let verdict = then.settle_down(self.ground, &mut path, &self.calm);
        let (prints, steps): (Vec<_>, Vec<_>) = path.into_iter().unzip();
        match verdict {
            Ok(()) => {
                self.calm.extend(prints);
                Ok(())
            }
            Err(what) => {
                let mut told = self.way_to(way, None);
                told.push(CALM.to_owned());
                told.extend(steps.into_iter().take(TOLD));
                Err((what, told))
            }
        }
    }

    /// The steps to a state, and one more, in words.
    fn way_to(&self, way: u32, last: Option<Happening>) -> Vec<String> {
        let mut steps: Vec<_> = last.into_iter().collect();
        let mut at = way;
        while at > 0 {
            let (before, happening) = self.ways[at as usize];
            steps.push(happening);
            at = before;
        }
        let mut world = self.start.clone();
        let told = steps.into_iter().rev().map(|happening| {
            let line = world.told(happening);
            // The last one may be the broken one.
            world.dare(self.ground, happening).unwrap_or_default();
            line
        });
        told.collect()
    }
}

impl Small {
    /// Gives the shard to the first worker. Unless the scenario is about the first recovery, that is
    /// over before anything else happens, and one order was settled: a view that holds nothing and
    /// offsets of zero are special.
    fn begin(&mut self, ground: &Ground) {
        self.left.acquires = 2;
        self.happen(ground, Happening::Assign(0)).unwrap();
        if !ground.scenario.from_nothing {
            // Nothing else is said before that.
            self.said = ground.scenario.events.len();
            self.say(Say::Final(OLD, Terminal::Failure), ground);
            for say in &ground.scenario.events[..ground.scenario.before] {
                self.settle_down(ground, &mut Vec::new(), &HashSet::new())
                    .unwrap();
                self.say(*say, ground);
            }
            self.settle_down(ground, &mut Vec::new(), &HashSet::new())
                .unwrap();
            self.said = ground.scenario.before;
        }
        self.left = ground.scenario.faults;
        let first = ground
            .scenario
            .events
            .len()
            .min(self.said + ground.scenario.first);
        while self.said < first {
            self.happen(ground, Happening::Append).unwrap();
        }
    }

    /// One step; a core that panics breaks a promise, too.
    fn dare(&mut self, ground: &Ground, happening: Happening) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| self.happen(ground, happening))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Err(format!("PANIC: {}", text.unwrap_or_default()))
        })
    }

    /// Goes on without faults until all is at rest; `path` tells how.
    fn settle_down(
        &mut self,
        ground: &Ground,
        path: &mut Vec<(u64, String)>,
        calm: &HashSet<u64>,
    ) -> Result<(), String> {
        for _ in 0..PATIENCE {
            self.left.acquires = u8::MAX;
            let print = self.print();
            if calm.contains(&print) {
                return Ok(());
            }
            let happenings = self.happenings(ground);
            let next = happenings
                .into_iter()
                .find(|happening| happening.class() != Class::Fault);
            let Some(next) = next else {
                return match (self.unfinished(ground), self.forgotten(ground)) {
                    (Some(why), _) => Err(format!("STRANDED: {why}")),
                    (None, Some(what)) => Err(what),
                    (None, None) => Ok(()),
                };
            };
            path.push((print, self.told(next)));
            let before = self.clone();
            self.dare(ground, next)?;
            self.judge_after(ground, &before)?;
        }
        let why = self.unfinished(ground).unwrap_or("it never ends");
        Err(format!("STRANDED: {why}"))
    }
}
