//! The member group: who owns the shard, and who thinks so.

use super::World;
use crate::shard::core::input::Input;

impl World {
    pub(super) fn group(&mut self) {
        // An owner that died and came back is a new member.
        if self.owner.is_some_and(|owner| self.workers[owner].believes) {
            return;
        }
        let Some(next) = (0..self.workers.len()).find(|worker| self.workers[*worker].alive) else {
            return;
        };
        self.assign(next);
    }

    pub(super) fn assign(&mut self, worker: usize) {
        self.owner = Some(worker);
        let own = &mut self.workers[worker];
        if own.believes {
            // It had not noticed that it lost the shard; the group takes it away first.
            self.revoke(worker);
        }
        self.note(|| format!("the group gives the shard to worker {worker}"));
        self.workers[worker].believes = true;
        let generation = self.workers[worker].core.generation();
        self.input(worker, generation, Input::Assigned);
        self.turn(worker);
    }

    pub(super) fn revoke(&mut self, worker: usize) {
        self.note(|| format!("worker {worker} loses the shard"));
        self.workers[worker].believes = false;
        let generation = self.workers[worker].core.generation();
        self.input(worker, generation, Input::Revoked);
    }
}
