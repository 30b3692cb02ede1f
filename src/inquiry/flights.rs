//! How many questions of a type this worker may have in flight: callers of the API have places that
//! the shards cannot take, so that a hanging owner's backlog leaves them some, and cannot take all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::Notify;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Callers,
    Shards,
}

/// The places of one type. Only its dispatcher takes them.
#[derive(Debug)]
pub(super) struct Flights {
    all_max: u32,
    max: [u32; 2],
    taken: [AtomicU32; 2],
    freed: Notify,
    /// Questions of shards that were started in the last second.
    pace: AtomicU32,
}

/// A place that is taken; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    flights: Arc<Flights>,
    side: Side,
}

impl Flights {
    /// `part` of the places, rounded down, is kept for callers; they take half of all at most.
    #[expect(clippy::cast_sign_loss, reason = "the part is checked: 0 to 0.9")]
    pub(super) fn new(in_flight: u32, part: f64) -> Arc<Self> {
        let kept = (f64::from(in_flight) * part) as u32;
        Arc::new(Self {
            all_max: in_flight,
            max: [kept.max(in_flight / 2).max(1), in_flight - kept],
            taken: Default::default(),
            freed: Notify::new(),
            pace: AtomicU32::new(0),
        })
    }

    /// Whether a place is free.
    pub(super) fn is_free(&self, side: Side) -> bool {
        self.taken(side) < self.max[side as usize]
            && self.taken(Side::Callers) + self.taken(Side::Shards) < self.all_max
    }

    /// Takes a place, if one is free.
    pub(super) fn take(self: &Arc<Self>, side: Side) -> Option<Place> {
        self.is_free(side).then(|| {
            self.taken[side as usize].fetch_add(1, Relaxed);
            Place {
                flights: Arc::clone(self),
                side,
            }
        })
    }

    /// How many places are taken.
    pub(super) fn taken(&self, side: Side) -> u32 {
        self.taken[side as usize].load(Relaxed)
    }

    /// How many questions of shards were started in the last second that was counted.
    pub(super) fn pace(&self) -> u32 {
        self.pace.load(Relaxed)
    }

    /// Notes how many questions of shards were started in a second.
    pub(super) fn set_pace(&self, per_second: u32) {
        self.pace.store(per_second, Relaxed);
    }

    /// Returns after a place was freed, perhaps before this was called.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.flights.taken[self.side as usize].fetch_sub(1, Relaxed);
        self.flights.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(flights: &Arc<Flights>, side: Side) -> Vec<Place> {
        std::iter::from_fn(|| flights.take(side)).collect()
    }

    #[test]
    fn a_backlog_leaves_callers_their_places_and_callers_leave_half() {
        let flights = Flights::new(64, 0.2);
        let backlog = take_all(&flights, Side::Shards);
        assert_eq!(backlog.len(), 52);
        assert_eq!(take_all(&flights, Side::Callers).len(), 12);
        drop(backlog);
        let callers = take_all(&flights, Side::Callers);
        assert_eq!(callers.len(), 32);
        assert_eq!(take_all(&flights, Side::Shards).len(), 32);
    }

    #[test]
    fn a_place_that_was_freed_can_be_taken_again() {
        for (in_flight, sides) in [(1, [1, 0]), (2, [1, 1]), (5, [2, 3])] {
            let flights = Flights::new(in_flight, 0.2);
            for _ in 0..3 {
                let callers = take_all(&flights, Side::Callers);
                let shards = take_all(&flights, Side::Shards);
                assert_eq!([callers.len(), shards.len()], sides, "of {in_flight}");
            }
        }
    }
}
