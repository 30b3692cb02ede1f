//! Whether a shard is still ours, to be looked at by whoever is about to start something for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::inquiry::Standing;

/// One assignment of one shard. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Ownership {
    revoked: Arc<AtomicBool>,
    generation: Arc<AtomicU64>,
}

impl Ownership {
    /// Called inside the group's revocation, before it goes on: nothing of this assignment starts any
    /// more, whatever the shard's task is doing.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    /// Whether it was revoked.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    /// The core began a new generation.
    pub(super) fn enter(&self, generation: u64) {
        self.generation.store(generation, Ordering::SeqCst);
    }

    /// Stands while the assignment does and no newer generation began.
    pub(super) fn standing(&self, generation: u64) -> Arc<dyn Standing> {
        Arc::new(Stands {
            ownership: self.clone(),
            generation,
        })
    }
}

#[derive(Debug)]
struct Stands {
    ownership: Ownership,
    generation: u64,
}

impl Standing for Stands {
    fn stands(&self) -> bool {
        !self.ownership.is_revoked()
            && self.ownership.generation.load(Ordering::SeqCst) == self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stands_after_a_revocation_or_in_a_newer_generation() {
        let ownership = Ownership::default();
        ownership.enter(7);
        let old = ownership.standing(7);
        assert!(old.stands());
        ownership.enter(8);
        assert!(!old.stands());
        let new = ownership.standing(8);
        assert!(new.stands());
        ownership.revoke();
        assert!(!new.stands());
    }
}
