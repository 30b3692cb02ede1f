//! Drives one shard: hands the core what happened, carries its commands out, in order. It decides
//! nothing. Store calls, commits and look-ups run beside it; their answers come back as inputs tagged
//! with the generation that asked.

mod carry;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::core::input::{Heard, Input, Output};
use super::core::plan::{Plan, TypePlan};
use super::core::{Core, Phase};
use super::floor::{Needed, left};
use super::letters::{Fate, Letters};
use super::report::{Reporter, doing, gauges};
use super::{Ownership, Ports};
use crate::domain::order::Millis;
use crate::fault;
use crate::inquiry::{Answered, Ticket};
use crate::kafka::feed::Batch;
use crate::kafka::producer::Delivered;
use crate::kafka::publisher::Publisher;
use crate::kafka::{EventRecord, Log, ResultRecord};
use crate::metrics::ShardMetrics;
use crate::metrics::label::{Label, PauseReason};
use crate::store::Store;

/// Answers under way: more than any ceiling lets be open at a time.
const ANSWERS: usize = 16_384;
/// Answers taken in one turn.
const ANSWERS_TURN: usize = 500;

type Pending = Pin<Box<dyn Future<Output = (u64, Done)> + Send>>;

/// What a call beside the actor came to.
enum Done {
    Input(Input),
    Opened(Result<Publisher, String>),
    Published(Result<Publisher, String>),
    /// The floor was committed, and this is what the logs keep of what the view needs.
    Floored(Needed),
}

/// One assignment of one shard.
pub struct Shard<S> {
    ports: Arc<Ports<S>>,
    plan: Plan,
    types: watch::Receiver<Arc<[TypePlan]>>,
    core: Core,
    ownership: Ownership,
    gauges: ShardMetrics,
    letters: Letters,
    /// Absent while it publishes.
    publisher: Option<Publisher>,
    pending: FuturesUnordered<Pending>,
    events: Option<mpsc::Receiver<Batch<EventRecord>>>,
    results: Option<mpsc::Receiver<Batch<ResultRecord>>>,
    answers: (mpsc::Sender<Answered>, mpsc::Receiver<Answered>),
    out: Output,
    told: Told,
}

/// What was last told, so that only changes are.
#[derive(Default)]
struct Told {
    phase: Option<Phase>,
    paused: Option<PauseReason>,
    /// Append time of the event at the last floor.
    floor: Option<Millis>,
    /// The position outside its log that was last told, and when.
    outside: Option<(u64, Millis)>,
}

impl<S: Store> Shard<S> {
    /// A shard that was just assigned. Its generations count on from `generation`.
    pub fn new(ports: Arc<Ports<S>>, plan: Plan, generation: u64, ownership: Ownership) -> Self {
        // Types that have changed since `plan` was made are followed at once.
        let types = ports.types.clone();
        let gauges = ports.metrics.shard(plan.shard);
        let letters = Letters::new(ports.producer.clone(), plan.shard);
        Self {
            core: Core::new(plan.clone(), generation),
            ports,
            plan,
            types,
            ownership,
            gauges,
            letters,
            publisher: None,
            pending: FuturesUnordered::new(),
            events: None,
            results: None,
            answers: mpsc::channel(ANSWERS),
            out: Output::default(),
            told: Told::default(),
        }
    }

    /// Lives until `stop`. What is under way then is left to the next owner's recovery: nothing is
    /// lost by cancelling this future at any point.
    pub async fn run(mut self, stop: CancellationToken) {
        self.step(self.core.generation(), Input::Assigned);
        let mut answered = Vec::with_capacity(ANSWERS_TURN);
        loop {
            self.turn();
            let wake = Duration::from_micros(self.sleep_us());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = self.types.changed() => self.replan(),
                Some((generation, done)) = self.pending.next() => self.done(generation, done),
                Some(batch) = receive(&mut self.results) => {
                    self.step(batch.generation, Input::Results(batch.records, batch.position));
                }
                _ = self.answers.1.recv_many(&mut answered, ANSWERS_TURN) => {
                    for Answered { ticket: Ticket { generation, id, claim }, answer, started, .. } in answered.drain(..) {
                        self.step(generation, Input::Answered(Heard { id, claim, answer, started }));
                    }
                }
                Some(delivered) = self.letters.delivered() => self.delivered(delivered),
                Some(batch) = receive(&mut self.events), if self.core.wants_events() => {
                    fault::point("polled");
                    self.step(batch.generation, Input::Events(batch.records, batch.position));
                }
                () = tokio::time::sleep(wake) => {}
            }
        }
        self.step(self.core.generation(), Input::Revoked);
        self.turn();
    }

    /// Follows the configuration, which was read again.
    fn replan(&mut self) {
        let types = self.types.borrow_and_update().to_vec();
        self.plan.types.clone_from(&types);
        self.core.replan(types);
    }

    /// Time passes, what arrived together is sent together, commands are carried out until none is left.
    fn turn(&mut self) {
        for (i, known) in self.plan.types.iter().enumerate() {
            let permits = self.ports.engine.lease(self.plan.shard, &known.name);
            self.core.permit(i, permits);
        }
        self.step(self.core.generation(), Input::Tick);
        loop {
            self.core.flush(&mut self.out);
            for command in std::mem::take(&mut self.out.commands) {
                self.carry_out(command);
            }
            if let Err(error) = self.letters.send(self.ports.clock.monotonic()) {
                let first = self.letters.next_offset();
                self.step(
                    self.core.generation(),
                    Input::Acknowledged(first, Err(error.to_string())),
                );
            }
            if self.out.commands.is_empty() {
                break;
            }
        }
        self.tell();
    }

    fn delivered(&mut self, delivered: Delivered) {
        let generation = delivered.ticket.generation;
        match self.letters.settle(delivered, self.ports.clock.monotonic()) {
            Fate::Acknowledged(offset, reason) => {
                if let Some(reason) = reason {
                    self.step(generation, Input::NotForwarded(offset, reason));
                }
                self.step(generation, Input::Acknowledged(offset, Ok(())));
            }
            Fate::Failed(offset, error) => {
                let failed = Input::Acknowledged(offset, Err(error.to_string()));
                self.step(generation, failed);
            }
            // Sent at the end of this turn, or of one that is a second later at most.
            Fate::Again => {}
        }
    }

    fn step(&mut self, generation: u64, input: Input) {
        self.core.step(
            self.ports.clock.monotonic(),
            generation,
            input,
            &mut self.out,
        );
        self.ownership.enter(self.core.generation());
        self.letters.enter(self.core.generation());
    }

    fn done(&mut self, generation: u64, done: Done) {
        let (publisher, input): (_, fn(_) -> Input) = match done {
            Done::Floored(needed) => return self.floored(needed),
            Done::Input(input) => {
                self.gauge(&input);
                return self.step(generation, input);
            }
            Done::Opened(publisher) => (publisher, Input::Fenced),
            Done::Published(publisher) => {
                if publisher.is_ok() {
                    fault::point("committed-not-read-back");
                }
                (publisher, Input::Published)
            }
        };
        let outcome = publisher.map(|publisher| {
            if generation == self.core.generation() {
                self.publisher = Some(publisher);
            }
        });
        self.step(generation, input(outcome));
    }

    /// What gauges are made of passes through here anyway.
    fn gauge(&self, input: &Input) {
        match input {
            Input::Surveyed(Ok(survey)) => {
                self.gauges
                    .set_view(gauges(survey, &self.plan, self.core.shard_time()));
            }
            Input::Ends(Ok(ends)) => {
                if let Some((e, r)) = self.core.folded() {
                    self.gauges
                        .set_lag(Log::Events, ends.events.high.saturating_sub(e));
                    self.gauges
                        .set_lag(Log::Results, ends.results.high.saturating_sub(r));
                }
                self.gauge_headroom();
            }
            _ => {}
        }
    }

    fn floored(&mut self, needed: Needed) {
        if let Some(left) = needed.result {
            self.gauges.set_headroom(Log::Results, left);
        }
        if needed.event.is_some() {
            self.told.floor = needed.event;
            self.gauge_headroom();
        }
    }

    /// What is needed of `order-events` begins at the floor; between two floors, and before the first,
    /// with what was read and not folded.
    fn gauge_headroom(&self) {
        let retention = self.ports.retention.borrow().events;
        if let Some(retention) = retention {
            let needed = [self.told.floor, self.core.oldest_unfolded()];
            let oldest = needed.into_iter().flatten().min();
            let left = left(retention, oldest, self.ports.clock.wall());
            self.gauges.set_headroom(Log::Events, left);
        }
    }

    /// Until the core wants to be woken; a second at most, so that the tick's age proves life.
    fn sleep_us(&self) -> u64 {
        let wake_us = self.core.next_wakeup().saturating_mul(1000);
        wake_us
            .saturating_sub(self.ports.clock.monotonic_us())
            .min(1_000_000)
    }

    /// Tells logs, metrics and the engine's budget how things stand.
    fn tell(&mut self) {
        let (now, phase) = (self.ports.clock.monotonic(), self.core.phase());
        let mut reporter = Reporter {
            shard: self.plan.shard,
            plan: &self.plan,
            metrics: &self.ports.metrics,
            gauges: &self.gauges,
            now,
            outside: &mut self.told.outside,
        };
        for note in self.out.notes.drain(..) {
            reporter.tell(note);
        }
        self.gauges.tick(now);
        if self.told.phase != Some(phase) {
            self.told.phase = Some(phase);
            if let Some(doing) = doing(phase, self.gauges.is_stalled()) {
                self.gauges.set_phase(doing);
            }
        }
        let paused = self.core.paused();
        if self.told.paused != paused {
            for reason in PauseReason::ALL {
                self.gauges.set_paused(*reason, paused == Some(*reason));
            }
            self.told.paused = paused;
        }
        // What was lent for this turn and not used is free again.
        for (i, known) in self.plan.types.iter().enumerate() {
            self.ports
                .engine
                .report_claimed(self.plan.shard, &known.name, self.core.claimed(i));
        }
    }
}

/// The next batch; never, when nothing is read or the reader has ended.
async fn receive<T>(batches: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match batches {
        Some(batches) => batches.recv().await,
        None => std::future::pending().await,
    }
}
