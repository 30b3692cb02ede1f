//! What each shard of this worker says of itself, as absolute numbers. Summed or taken at their worst
//! when somebody scrapes or asks for readiness; gone when the shard's generation drops its handle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::label::{Label, PauseReason, Phase, StallReason};
use crate::domain::order::{Millis, TypeName};
use crate::kafka::Log;

/// What a shard's view holds of one order type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeGauges {
    /// Pending orders.
    pub pending: u64,
    /// First sight of the oldest pending order, Unix milliseconds.
    pub oldest_first_seen: Option<Millis>,
    /// Exhausted orders.
    pub exhausted: u64,
    /// Since when the oldest order that is due and not asked waits, Unix milliseconds.
    pub overdue_since: Option<Millis>,
}

/// What a shard's view holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewGauges {
    /// By type.
    pub types: Vec<(TypeName, TypeGauges)>,
    /// Orders that its own counts say are there and are not, or the other way round.
    pub unaccounted: u64,
}

/// What one shard last said.
#[derive(Clone, Debug)]
pub struct ShardState {
    /// What it is doing.
    pub phase: Phase,
    /// When it last did its round, monotonic milliseconds of the process clock.
    pub ticked: Option<Millis>,
    /// Why it stands still; only with [`Phase::Stalled`].
    pub stalled: Option<StallReason>,
    pub(super) view: ViewGauges,
    pub(super) paused: [bool; PauseReason::ALL.len()],
    pub(super) lag: [u64; Log::ALL.len()],
    pub(super) headroom: [Option<Duration>; Log::ALL.len()],
}

impl ShardState {
    fn new() -> Self {
        Self {
            phase: Phase::Assigned,
            ticked: None,
            stalled: None,
            view: ViewGauges::default(),
            paused: [false; PauseReason::ALL.len()],
            lag: [0; Log::ALL.len()],
            headroom: [None; Log::ALL.len()],
        }
    }
}

/// The shards of this worker.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<u16, Arc<Mutex<ShardState>>>>);

/// The inlets of this worker, and how many records each has to forward.
pub(super) type Inlets = Mutex<BTreeMap<u16, u64>>;

impl Board {
    pub fn shard(self: &Arc<Self>, shard: u16) -> ShardMetrics {
        let state = Arc::new(Mutex::new(ShardState::new()));
        locked(&self.0).insert(shard, Arc::clone(&state));
        ShardMetrics {
            shard,
            state,
            board: Arc::clone(self),
        }
    }

    pub fn states(&self) -> Vec<(u16, ShardState)> {
        locked(&self.0)
            .iter()
            .map(|(shard, state)| (*shard, locked(state).clone()))
            .collect()
    }
}

/// One generation of one shard. Dropping it takes the shard's numbers off the page, unless a newer
/// generation of the same shard has put its own there.
#[derive(Debug)]
pub struct ShardMetrics {
    shard: u16,
    state: Arc<Mutex<ShardState>>,
    board: Arc<Board>,
}

impl ShardMetrics {
    /// What the shard is doing now; anything but [`Phase::Stalled`] ends a stall.
    pub fn set_phase(&self, phase: Phase) {
        let mut state = locked(&self.state);
        state.phase = phase;
        state.stalled = None;
    }

    /// The shard stands still until somebody mends something.
    pub fn stall(&self, reason: StallReason) {
        let mut state = locked(&self.state);
        state.phase = Phase::Stalled;
        state.stalled = Some(reason);
    }

    /// Whether it stands still.
    pub fn is_stalled(&self) -> bool {
        locked(&self.state).phase == Phase::Stalled
    }

    /// The shard did its round at `now`, monotonic milliseconds of the process clock.
    pub fn tick(&self, now: Millis) {
        locked(&self.state).ticked = Some(now);
    }

    /// What the view holds, replacing what was said before.
    pub fn set_view(&self, view: ViewGauges) {
        locked(&self.state).view = view;
    }

    /// Whether the shard's intake stands still for this reason; reasons add up.
    pub fn set_paused(&self, reason: PauseReason, paused: bool) {
        locked(&self.state).paused[reason.index()] = paused;
    }

    /// Records from the view's position (`E` or `R`) to the log's end.
    pub fn set_lag(&self, log: Log, records: u64) {
        locked(&self.state).lag[log.index()] = records;
    }

    /// Time until retention removes the oldest record of this log that the shard still needs.
    pub fn set_headroom(&self, log: Log, headroom: Duration) {
        locked(&self.state).headroom[log.index()] = Some(headroom);
    }
}

impl Drop for ShardMetrics {
    fn drop(&mut self) {
        let mut shards = locked(&self.board.0);
        if shards
            .get(&self.shard)
            .is_some_and(|state| Arc::ptr_eq(state, &self.state))
        {
            shards.remove(&self.shard);
        }
    }
}

/// One inlet: a partition of `order-events` beyond the shards. Dropping it takes its number off the
/// page.
#[derive(Debug)]
pub struct InletMetrics {
    partition: u16,
    inlets: Arc<Inlets>,
}

impl InletMetrics {
    pub(super) fn new(partition: u16, inlets: Arc<Inlets>) -> Self {
        Self { partition, inlets }
    }

    /// Records from the committed position to the log's end.
    pub fn set_lag(&self, records: u64) {
        locked(&self.inlets).insert(self.partition, records);
    }
}

impl Drop for InletMetrics {
    fn drop(&mut self) {
        locked(&self.inlets).remove(&self.partition);
    }
}

/// The numbers stay usable after a panic elsewhere: each is written whole.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
