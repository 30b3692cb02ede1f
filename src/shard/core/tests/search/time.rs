//! Instants of a small world. Time stands still while anything is under way, and then passes to the
//! next instant at which somebody waits for something: a small step for a rest or for the publisher's
//! next group, else a great one, longer than any delay, lease or back-off. So every clock of the
//! protocol has run out or has not begun, and no state is told from another by milliseconds.

use super::small::{Ground, START, Small, Worker};
use crate::domain::order::Millis;
use crate::shard::core::{Core, Phase};

/// Longer than any lease, delay or rest.
const GREAT: Millis = 12_000;
/// Longer than a rest, and than the publisher's from one group to the next.
const SMALL: Millis = 300;
/// Longer than the short window and what is left of its group of hours of marks.
const NIGHT: Millis = 50 * GREAT;

/// An order has at most five questions, and each fault costs a step or two.
const PATIENCE: Millis = 15 * GREAT;

impl Small {
    /// To the small step's end where somebody rests or has results to publish, else to the great one's.
    pub fn pass_time(&mut self) {
        let soon = self.mono() + SMALL;
        let waits = |worker: &Worker| worker.believes && waits_until(&worker.core) <= soon;
        if self.workers.iter().any(waits) {
            self.pass_to(self.now + SMALL);
        } else {
            self.pass_great();
        }
    }

    fn pass_to(&mut self, now: Millis) {
        self.now = now;
        for worker in &mut self.workers {
            worker.awake = !worker.believes;
        }
    }

    /// Whether more time has passed than any run of this scenario should need.
    pub fn is_late(&self, ground: &Ground) -> bool {
        let nights = ground.scenario.faults.nights - self.left.nights;
        self.now > START + Millis::from(nights) * (NIGHT + GREAT) + PATIENCE
    }

    pub fn pass_great(&mut self) {
        self.pass_to(next_multiple(self.now, GREAT));
    }

    pub fn pass_night(&mut self) {
        self.pass_to(next_multiple(self.now + NIGHT, GREAT));
    }
}

/// When this core wants to be woken for something that is not the passing of time itself.
fn waits_until(core: &Core) -> Millis {
    if let Phase::Resting(until) = core.phase() {
        return until;
    }
    let Some(own) = &core.own else {
        return Millis::MAX;
    };
    let times = [own.outbox.again_at(), own.gate.publish_at()];
    let later = times.into_iter().flatten().filter(|at| *at > core.mono);
    later.min().unwrap_or(Millis::MAX)
}

fn next_multiple(now: Millis, step: Millis) -> Millis {
    START + (now - START + 1).next_multiple_of(step)
}
