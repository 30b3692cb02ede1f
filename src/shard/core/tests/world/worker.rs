//! A worker process as the world sees it: one core for the shard, its readers, its publisher, and
//! the time of its own life.

use crate::domain::order::Millis;
use crate::shard::core::Core;
use crate::shard::core::plan::Plan;

/// Which log a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Events = 0,
    Results = 1,
}

/// A reader that was started.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    pub generation: u64,
    pub offset: u64,
}

/// One process.
#[derive(Debug)]
pub struct Worker {
    pub core: Core,
    /// Which life of the process this is; what belongs to an older one is gone.
    pub life: u32,
    pub alive: bool,
    /// It stands still until then.
    pub paused_until: Millis,
    /// What it thinks of the group's decision.
    pub believes: bool,
    /// World time at which its monotonic clock was zero.
    pub base: Millis,
    pub readers: [Option<Reader>; 2],
    /// A poll of this log is under way.
    pub polling: [bool; 2],
    /// The epoch of its publisher, while it is at hand.
    pub publisher: Option<u32>,
    /// A group of results is under way.
    pub publishing: bool,
    /// Only the newest wake-up counts.
    pub wake: u64,
    /// Turns without a command and without progress of time.
    pub idle_turns: u32,
}

impl Worker {
    pub fn new(plan: &Plan, base: Millis) -> Self {
        Self {
            core: Core::new(plan.clone(), 0),
            life: 0,
            alive: true,
            paused_until: 0,
            believes: false,
            base,
            readers: [None; 2],
            polling: [false; 2],
            publisher: None,
            publishing: false,
            wake: 0,
            idle_turns: 0,
        }
    }

    /// The process dies and will begin again with nothing.
    pub fn die(&mut self, plan: &Plan) {
        let (life, base) = (self.life + 1, self.base);
        *self = Self {
            life,
            alive: false,
            ..Self::new(plan, base)
        };
    }

    /// Its monotonic time at a moment of the world.
    pub fn mono(&self, now: Millis) -> Millis {
        now.saturating_sub(self.base)
    }
}
