//! One order type's dispatcher: a task of its own per type, so that a slow or hanging owner delays
//! nobody else's questions. `turns` decides; this starts questions, carries requests for start times
//! to the store, and waits.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::flights::Place;
use super::job::Job;
use super::owner::Owner;
use super::turns::Turns;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::ceiling::{Reserve, Slots};

/// A reservation that takes longer is given up; its slots would be forfeited anyway.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(1);

type Reservation = Pin<Box<dyn Future<Output = Option<Slots>> + Send>>;

/// The dispatcher of one order type; [`Dispatcher::run`] is its task.
pub(super) struct Dispatcher<S> {
    pub(super) owner: Arc<Owner>,
    pub(super) store: Arc<S>,
    pub(super) tasks: TaskTracker,
    pub(super) turns: Turns,
}

impl<S: Store> Dispatcher<S> {
    /// Runs until `stop`, or until its lane is `retired`, then hands back whatever waits. Questions in
    /// flight go on, each until its own deadline. Should it end in any other way, it cancels `stop`: a
    /// process that does not ask about a type must not seem to work.
    pub(super) async fn run(mut self, stop: CancellationToken, retired: CancellationToken) {
        let mut ends_the_process = Some(stop.clone().drop_guard());
        let mut stopped = pin!(stop.cancelled());
        let clock = self.owner.clock;
        let owner = Arc::clone(&self.owner);
        let flights = Arc::clone(self.turns.flights());
        let mut reservation: Option<Reservation> = None;
        loop {
            let now_us = clock.monotonic_us();
            let (asked, tasks) = (&self.owner, &self.tasks);
            let wait = self
                .turns
                .step(now_us, |job, place| start(asked, tasks, job, place));
            if let Some(reserve) = self.turns.request(now_us) {
                reservation = Some(self.reserve(reserve));
            }
            let takes = [0, 1].map(|queue| self.turns.takes(queue));
            let turns = &mut self.turns;
            tokio::select! {
                biased;
                () = &mut stopped => break,
                () = retired.cancelled() => {
                    ends_the_process.take().map(DropGuard::disarm);
                    break;
                }
                slots = reply(&mut reservation) => {
                    reservation = None;
                    turns.reserved(slots, clock.monotonic_us());
                }
                () = flights.freed(), if wait.for_place => {}
                () = owner.condition.urgent(), if reservation.is_none() => {}
                Some(question) = turns.now.recv() => turns.admit(question, clock.monotonic_us()),
                Some(question) = turns.first.recv(), if takes[0] => turns.put(0, question),
                Some(question) = turns.rest.recv(), if takes[1] => turns.put(1, question),
                () = sleep(clock, wait.until_us) => {}
            }
        }
        self.turns.hand_back();
        // After the last that this task says of the owner.
        owner.retire();
    }

    fn reserve(&self, reserve: Reserve) -> Reservation {
        let (store, owner) = (Arc::clone(&self.store), Arc::clone(&self.owner));
        Box::pin(async move {
            let slots = store.reserve(&owner.order_type, &reserve);
            match tokio::time::timeout(RESERVE_TIMEOUT, slots).await {
                Ok(Ok(slots)) => Some(slots),
                Ok(Err(error)) => {
                    tracing::debug!(order.type = %owner.order_type, %error, "no start times");
                    None
                }
                Err(_) => None,
            }
        })
    }
}

fn start(owner: &Arc<Owner>, tasks: &TaskTracker, job: Job, place: Place) {
    let owner = Arc::clone(owner);
    tasks.spawn(async move {
        owner.ask(job).await;
        drop(place);
    });
}

async fn reply(reservation: &mut Option<Reservation>) -> Option<Slots> {
    match reservation {
        Some(reservation) => reservation.await,
        None => std::future::pending().await,
    }
}

/// Sleeps until a microsecond of `clock`; `None` and the far end of time mean for ever.
async fn sleep(clock: Clock, until_us: Option<u64>) {
    match until_us {
        None | Some(u64::MAX) => std::future::pending().await,
        Some(until_us) => {
            let left = until_us.saturating_sub(clock.monotonic_us());
            tokio::time::sleep(Duration::from_micros(left)).await;
        }
    }
}
