//! One order type's dispatcher: gives each waiting job its turn once it has a permit (the cap in
//! flight) and a slot (the ceiling). A task of its own per type, so that a slow or hanging owner
//! delays nobody else's questions.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Question;
use super::ceiling::Ceiling;
use super::job::{Job, QuestionNow, not_started};
use super::owner::Owner;
use crate::clock::Clock;
use crate::store::{Slots, Store};

/// A reservation that takes longer is given up; its slots would be forfeited anyway.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause after a reservation that failed or found no free slot, doubling while it goes on.
const PAUSE_US: u64 = 20_000;
const PAUSE_MAX_US: u64 = 640_000;

type Reservation = Pin<Box<dyn Future<Output = Option<Slots>> + Send>>;

/// The dispatcher of one order type; [`Dispatcher::run`] is its task.
pub(super) struct Dispatcher<S> {
    owner: Arc<Owner>,
    store: Arc<S>,
    clock: Clock,
    tasks: TaskTracker,
    per_second: f64,
    ceiling: Ceiling,
    in_flight: Arc<Semaphore>,
    /// A person's questions, and the shards'. Taken in turns while both wait.
    now: Receiver<QuestionNow>,
    claimed: Receiver<Question>,
    last_was_now: bool,
    /// The job whose turn is next, and the permit that it will take along.
    head: Option<Job>,
    permit: Option<OwnedSemaphorePermit>,
    reservation: Option<Reservation>,
    reserved_at_us: u64,
    reserve_from_us: u64,
    pause_us: u64,
}

/// What a dispatcher is made of.
pub(super) struct Parts<S> {
    pub(super) owner: Arc<Owner>,
    pub(super) store: Arc<S>,
    pub(super) tasks: TaskTracker,
    pub(super) per_second: f64,
    pub(super) in_flight: u32,
    pub(super) now: Receiver<QuestionNow>,
    pub(super) claimed: Receiver<Question>,
}

/// What must happen before the next job can start.
#[derive(Debug)]
enum Wait {
    /// Somebody asks.
    Job,
    /// A question in flight ends, or the head's time is over at this microsecond.
    Permit(u64),
    /// This microsecond comes, or a reservation ends.
    Until(u64),
}

impl<S: Store> Dispatcher<S> {
    pub(super) fn new(parts: Parts<S>) -> Self {
        Self {
            clock: parts.owner.clock,
            owner: parts.owner,
            store: parts.store,
            tasks: parts.tasks,
            per_second: parts.per_second,
            ceiling: Ceiling::new(parts.per_second),
            in_flight: Arc::new(Semaphore::new(parts.in_flight as usize)),
            now: parts.now,
            claimed: parts.claimed,
            last_was_now: false,
            head: None,
            permit: None,
            reservation: None,
            reserved_at_us: 0,
            reserve_from_us: 0,
            pause_us: PAUSE_US,
        }
    }

    /// Runs until `stop`, then hands back whatever waits. Questions in flight go on, each until its
    /// own deadline. Should it end in any other way, it cancels `stop`: a process that does not ask
    /// about a type must not seem to work.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let _ends_the_process = stop.clone().drop_guard();
        let mut stopped = pin!(stop.cancelled());
        loop {
            let wait = self.step();
            let (idle, until_us) = match wait {
                Wait::Job => (true, None),
                Wait::Permit(until) | Wait::Until(until) => (false, Some(until)),
            };
            let wants_permit = matches!(wait, Wait::Permit(_));
            let in_flight = &self.in_flight;
            tokio::select! {
                biased;
                () = &mut stopped => break,
                slots = reply(&mut self.reservation) => self.reserved(slots),
                permit = permit(in_flight), if wants_permit => self.permit = permit,
                Some(question) = self.now.recv(), if idle => {
                    self.head = Some(Job::Now(question));
                    self.last_was_now = true;
                }
                Some(question) = self.claimed.recv(), if idle => {
                    self.head = Some(Job::Claimed(question));
                    self.last_was_now = false;
                }
                () = sleep(self.clock, until_us), if !idle => {}
            }
        }
        self.hand_back();
    }

    /// Starts every job whose turn has come, and says what the next one waits for.
    fn step(&mut self) -> Wait {
        loop {
            let now_us = self.clock.monotonic_us();
            let Some(job) = self.head.take().or_else(|| self.pick()) else {
                return Wait::Job;
            };
            if !job.may_start(now_us / 1000) {
                job.refuse(not_started());
                continue;
            }
            if let Some(held) = self.owner.pause.held(now_us / 1000) {
                job.refuse(held);
                continue;
            }
            let until_us = job.start_before().saturating_mul(1000);
            let permit = self
                .permit
                .take()
                .or_else(|| self.in_flight.clone().try_acquire_owned().ok());
            let Some(permit) = permit else {
                self.head = Some(job);
                return Wait::Permit(until_us);
            };
            match self.ceiling.next(now_us) {
                Some(slot_us) if slot_us <= now_us => {
                    self.ceiling.take();
                    self.start(job, permit);
                    self.reserve(self.waiting(), now_us);
                }
                slot => {
                    self.head = Some(job);
                    self.permit = Some(permit);
                    self.reserve(self.waiting(), now_us);
                    return Wait::Until(self.next_look(slot).min(until_us));
                }
            }
        }
    }

    /// The next job, a person's and a shard's in turns.
    fn pick(&mut self) -> Option<Job> {
        let mut take = |now: bool| {
            if now {
                self.now.try_recv().ok().map(Job::Now)
            } else {
                self.claimed.try_recv().ok().map(Job::Claimed)
            }
        };
        let first = !self.last_was_now;
        let job = take(first).or_else(|| take(!first))?;
        self.last_was_now = matches!(job, Job::Now(_));
        Some(job)
    }

    fn waiting(&self) -> u32 {
        (self.now.len() + self.claimed.len() + usize::from(self.head.is_some())) as u32
    }

    fn start(&self, job: Job, permit: OwnedSemaphorePermit) {
        let owner = Arc::clone(&self.owner);
        self.tasks.spawn(async move {
            owner.ask(job).await;
            drop(permit);
        });
    }

    /// When to look again while the head waits for `slot`.
    fn next_look(&self, slot: Option<u64>) -> u64 {
        match slot {
            Some(slot_us) => slot_us,
            None if self.reservation.is_some() => u64::MAX,
            None => self.reserve_from_us,
        }
    }

    /// Asks the store for slots when they run short.
    fn reserve(&mut self, waiting: u32, now_us: u64) {
        if self.reservation.is_some() || now_us < self.reserve_from_us {
            return;
        }
        let wanted = self.ceiling.wanted(waiting, now_us);
        if wanted == 0 {
            return;
        }
        self.ceiling.asked(now_us);
        self.reserved_at_us = now_us;
        let (store, owner) = (Arc::clone(&self.store), Arc::clone(&self.owner));
        let per_second = self.per_second;
        self.reservation = Some(Box::pin(async move {
            let slots = store.reserve(&owner.order_type, wanted, per_second);
            match tokio::time::timeout(RESERVE_TIMEOUT, slots).await {
                Ok(Ok(slots)) => Some(slots),
                Ok(Err(error)) => {
                    tracing::debug!(order.type = %owner.order_type, %error, "no start times");
                    None
                }
                Err(_) => None,
            }
        }));
    }

    fn reserved(&mut self, slots: Option<Slots>) {
        self.reservation = None;
        let now_us = self.clock.monotonic_us();
        match slots {
            Some(slots) if slots.count > 0 => {
                self.pause_us = PAUSE_US;
                self.ceiling.add(slots, self.reserved_at_us, now_us);
            }
            // Nothing is asked without a slot: not when the whole next second is taken, nor when
            // the store cannot be reached.
            _ => {
                self.reserve_from_us = now_us + self.pause_us;
                self.pause_us = (self.pause_us * 2).min(PAUSE_MAX_US);
            }
        }
    }

    fn hand_back(&mut self) {
        self.now.close();
        self.claimed.close();
        while let Some(job) = self.head.take().or_else(|| self.pick()) {
            job.refuse(not_started());
        }
    }
}

async fn reply(reservation: &mut Option<Reservation>) -> Option<Slots> {
    match reservation {
        Some(reservation) => reservation.await,
        None => std::future::pending().await,
    }
}

/// The semaphore is never closed.
async fn permit(in_flight: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(in_flight).acquire_owned().await.ok()
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
