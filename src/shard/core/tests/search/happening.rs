//! What can happen next in a world: the choices that a search tries, one by one.

use super::super::world::coordinator::Coordinator;
use super::mail::What;
use super::scenario::Say;
use super::small::{Ground, Small};
use crate::domain::result::Outcome;
use crate::shard::core::Phase;
use crate::store::script::Body;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// An owner that lost the shard learns of it.
    Notice(usize),
    LateCommit,
    IntruderEnds,
    FloorLands,
    Assign(usize),
    /// The `n`th letter of a worker arrives.
    Deliver(usize, usize, Manner),
    ReadResult(usize),
    ReadEvent(usize),
    /// It looks at the time.
    Wake(usize),
    Append,
    /// To the next instant at which somebody waits for something.
    Time,
    Crash(usize),
    Move,
    TakeAway,
    Snapshot,
    Rollback,
    Wipe,
    Ghost(usize),
    TimeOut,
    Intrude,
    Stall,
    Night,
}

/// How a letter fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Well,
    /// The owner says what it knows of the order.
    Terminal,
    InProgress,
    /// Nobody answers.
    Unasked,
    /// It was served, but nobody hears of it.
    ReplyLost,
    /// It was not served (yet), and nobody hears of that.
    RequestLost,
    Full,
    /// It has no effect, and its sender hears so.
    NotCommitted,
    NotKept,
    /// It fails as far as its sender knows, and may land later.
    Late,
    /// It is of an old generation.
    Stale,
}

/// What a step is to the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Is under way; time passes only when nothing is.
    Prompt,
    /// May come at any time.
    Lazy,
    /// Uses up something that a scenario allows.
    Fault,
}

impl Happening {
    pub fn class(self) -> Class {
        match self {
            Self::Deliver(_, _, Manner::Well | Manner::Terminal | Manner::InProgress)
            | Self::Assign(_)
            | Self::ReadResult(_)
            | Self::ReadEvent(_)
            | Self::Wake(_) => Class::Prompt,
            Self::Notice(_)
            | Self::LateCommit
            | Self::IntruderEnds
            | Self::FloorLands
            | Self::Append
            | Self::Time => Class::Lazy,
            _ => Class::Fault,
        }
    }
}

impl Small {
    /// Everything that can happen, what a world without faults would do first before the rest.
    pub fn happenings(&self, ground: &Ground) -> Vec<Happening> {
        let mut all = Vec::with_capacity(24);
        self.lazy(&mut all);
        let lazy = all.len();
        self.prompt(ground, &mut all);
        let quiet = all.len() == lazy;
        if self.may_append(ground) {
            all.push(Happening::Append);
        }
        if quiet && self.waits(ground) {
            all.push(Happening::Time);
        }
        self.faults(quiet, &mut all);
        all
    }

    fn lazy(&self, all: &mut Vec<Happening>) {
        for (i, worker) in self.workers.iter().enumerate() {
            if worker.believes && self.owner != Some(i) {
                all.push(Happening::Notice(i));
            }
        }
        if self.late_commit.is_some() {
            all.push(Happening::LateCommit);
        }
        if self.intruder.is_some() {
            all.push(Happening::IntruderEnds);
        }
        if self.floors[1].is_some() {
            all.push(Happening::FloorLands);
        }
    }

    fn prompt(&self, ground: &Ground, all: &mut Vec<Happening>) {
        if self.owner.is_none() {
            all.extend([Happening::Assign(0), Happening::Assign(1)]);
        }
        for (i, worker) in self.workers.iter().enumerate() {
            if !worker.believes {
                continue;
            }
            for n in 0..worker.mail.len() {
                self.deliver(ground, (i, n), all);
            }
            if let Some(from) = worker.readers[1]
                && from < self.results.stable()
            {
                all.push(Happening::ReadResult(i));
            }
            if let Some(from) = worker.readers[0]
                && from < self.events.stable()
                && worker.core.wants_events()
            {
                all.push(Happening::ReadEvent(i));
            }
            if !worker.awake {
                all.push(Happening::Wake(i));
            }
        }
    }

    fn deliver(&self, ground: &Ground, (worker, n): (usize, usize), all: &mut Vec<Happening>) {
        let own = &self.workers[worker];
        let mut push = |manner| all.push(Happening::Deliver(worker, n, manner));
        let mail = &own.mail[n];
        if mail.generation != own.core.generation() {
            return;
        }
        match &mail.what {
            What::Acquire(_) if self.left.acquires == 0 => {}
            What::Question(who, ..) => {
                let truth = ground.scenario.truths[*who].is_some();
                if truth {
                    push(Manner::Terminal);
                }
                if !truth || ground.scenario.hesitates {
                    push(Manner::InProgress);
                }
            }
            _ => push(Manner::Well),
        }
    }

    /// Ways in which a letter fares badly.
    fn badly(&self, (worker, n): (usize, usize), all: &mut Vec<Happening>) {
        let (own, left) = (&self.workers[worker], &self.left);
        let mut push = |some: u8, manner| {
            if some > 0 {
                all.push(Happening::Deliver(worker, n, manner));
            }
        };
        let mail = &own.mail[n];
        if mail.generation != own.core.generation() {
            return push(left.echoes, Manner::Stale);
        }
        match &mail.what {
            What::Acquire(_) if left.acquires > 0 => push(left.lost, Manner::ReplyLost),
            What::Run(script) => {
                push(left.lost, Manner::ReplyLost);
                push(left.lost, Manner::RequestLost);
                if matches!(script.body, Body::Fold(_)) {
                    push(left.full, Manner::Full);
                }
            }
            What::Commit(..) => {
                push(left.commits, Manner::NotCommitted);
                if self.late_commit.is_none() {
                    push(left.commits, Manner::Late);
                }
            }
            What::Question(..) => push(left.unasked, Manner::Unasked),
            What::Letter(_) | What::Forward(_) => push(left.letters, Manner::NotKept),
            _ => {}
        }
    }

    fn faults(&self, quiet: bool, all: &mut Vec<Happening>) {
        let left = &self.left;
        let mut push = |some: bool, happening| {
            if some {
                all.push(happening);
            }
        };
        for (i, worker) in self.workers.iter().enumerate() {
            push(left.crashes > 0 && worker.believes, Happening::Crash(i));
        }
        let owned = self.owner.is_some();
        push(left.moves > 0 && owned, Happening::Move);
        push(left.takeovers > 0 && owned, Happening::TakeAway);
        let there = self.view.meta.is_some();
        let fresh = self.snapshot.is_none();
        push(left.rollbacks > 0 && there && fresh, Happening::Snapshot);
        let kept = self.snapshot.as_ref().is_some_and(|it| !it.is(&self.view));
        push(left.rollbacks > 0 && kept, Happening::Rollback);
        push(left.wipes > 0 && there, Happening::Wipe);
        push(left.stalls > 0 && !quiet, Happening::Stall);
        push(
            left.nights > 0 && (quiet || left.stalls > 0),
            Happening::Night,
        );
        let mut open = self.coordinators.iter().filter_map(Coordinator::open);
        let open = open.next().is_some();
        push(left.timeouts > 0 && open, Happening::TimeOut);
        push(
            left.foreign > 0 && self.intruder.is_none(),
            Happening::Intrude,
        );
        if left.late > 0 {
            all.extend((0..self.ghosts.len()).map(Happening::Ghost));
        }
        for (i, worker) in self.workers.iter().enumerate() {
            if worker.believes {
                for n in 0..worker.mail.len() {
                    self.badly((i, n), all);
                }
            }
        }
    }

    /// Whether the next event may be said now.
    fn may_append(&self, ground: &Ground) -> bool {
        let Some(say) = ground.scenario.events.get(self.said) else {
            return false;
        };
        match *say {
            // A person requeues what is known to be exhausted.
            Say::Requeue(who, phase) => self.results_seen().any(|(_, result)| {
                ground.who(&result.key) == Some(who)
                    && matches!(result.outcome, Outcome::Exhausted { .. })
                    && result.phase + 1 == phase
            }),
            // A repetition of what is older than the window is not promised anything.
            Say::Final(who, _) => self.results_seen().all(|(at, result)| {
                ground.who(&result.key) != Some(who)
                    || self
                        .results
                        .append_time(at)
                        .is_some_and(|at| at + ground.plan.window >= self.now)
            }),
            _ => true,
        }
    }

    /// Whether anything is to be expected of time.
    fn waits(&self, ground: &Ground) -> bool {
        // Somebody may not acquire any more: here the scenario ends.
        if self.left.acquires == 0 && self.acquires() {
            return false;
        }
        self.left.floors > 0 && self.is_open() || self.unfinished(ground).is_some()
    }

    fn acquires(&self) -> bool {
        let mut own = self.workers.iter().filter(|worker| worker.believes);
        own.any(|worker| worker.core.phase() == Phase::Acquiring)
    }

    fn is_open(&self) -> bool {
        let phase = |owner: usize| self.workers[owner].core.phase();
        self.owner.is_some_and(|owner| phase(owner) == Phase::Open)
    }
}
