//! Whose turn it is at one order type's owner. Pure but for the queues and counters that it holds: the
//! dispatcher passes the time in, starts what comes out, and carries requests for start times to the
//! store.
//!
//! A question needs a place in flight and a start time. The shards' questions wait for both; a caller
//! of the API gets both within its deadline, or is told at once that it does not.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use super::Question;
use super::ceiling::Ceiling;
use super::flights::{Flights, Place, Side};
use super::job::{Job, QuestionNow, not_started, refused};
use super::owner::Owner;
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::metrics::label::CallerRefused;
use crate::store::ceiling::{Breaker, ByShare, Heard, LENT_US, Reserve, Share, Slots};

/// The pause after a reservation that failed, doubling while it goes on.
const PAUSE_US: u64 = 20_000;
const PAUSE_MAX_US: u64 = 640_000;

/// The shortest pause after a reservation that found no free start time.
const AGAIN_US: u64 = 5_000;

/// For so long callers are turned away without a look at the store after it had nothing for one.
const CALLERS_PAUSE_US: u64 = 10_000;

/// The queues and turns of one order type.
#[derive(Debug)]
pub(super) struct Turns {
    owner: Arc<Owner>,
    flights: Arc<Flights>,
    per_second: f64,
    parts: ByShare<f64>,
    ceiling: Ceiling,
    pub(super) now: Receiver<QuestionNow>,
    pub(super) first: Receiver<Question>,
    pub(super) rest: Receiver<Question>,
    /// The next first question, and the next of the rest.
    heads: [Option<Question>; 2],
    last_was_first: bool,
    callers: VecDeque<Caller>,
    /// The request that is under way, and when it was made.
    request: Option<(Reserve, u64)>,
    shards_from_us: u64,
    callers_from_us: u64,
    look_from_us: u64,
    pause_us: u64,
    /// The store did not answer the last request.
    store_silent: bool,
    /// Questions of shards that were started, and since when they are counted.
    started: u32,
    counted_from_us: u64,
}

/// A caller that has its place in flight and waits for its start time.
#[derive(Debug)]
struct Caller {
    question: QuestionNow,
    place: Place,
    /// A start time was asked for it.
    asked: bool,
}

/// The queues that questions come through.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) now: Receiver<QuestionNow>,
    pub(super) first: Receiver<Question>,
    pub(super) rest: Receiver<Question>,
}

/// What must happen before the next question can start, beside a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// This microsecond comes; `None`: nothing waits for time.
    pub(super) until_us: Option<u64>,
    /// A question in flight ends.
    pub(super) for_place: bool,
}

impl Turns {
    /// `parts`: what each share has of the ceiling for itself.
    pub(super) fn new(
        owner: Arc<Owner>,
        flights: Arc<Flights>,
        (per_second, parts): (f64, ByShare<f64>),
        queues: Queues,
    ) -> Self {
        Self {
            owner,
            flights,
            per_second,
            parts,
            ceiling: Ceiling::new(per_second),
            now: queues.now,
            first: queues.first,
            rest: queues.rest,
            heads: [None, None],
            last_was_first: false,
            callers: VecDeque::new(),
            request: None,
            shards_from_us: 0,
            callers_from_us: 0,
            look_from_us: 0,
            pause_us: PAUSE_US,
            store_silent: false,
            started: 0,
            counted_from_us: 0,
        }
    }

    /// Whether the next first question (0), or the next of the rest (1), may be handed over.
    pub(super) fn takes(&self, queue: usize) -> bool {
        self.heads[queue].is_none()
    }

    /// Hands over a question that was taken from its queue.
    pub(super) fn put(&mut self, queue: usize, question: Question) {
        self.heads[queue] = Some(question);
    }

    /// Places in flight that are free again are worth a look.
    pub(super) fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    /// Starts every question whose turn has come, refuses those whose time is over, and says what the
    /// next one waits for.
    pub(super) fn step(&mut self, now_us: u64, mut start: impl FnMut(Job, Place)) -> Wait {
        while let Ok(question) = self.now.try_recv() {
            self.admit(question, now_us);
        }
        self.dismiss(now_us);
        self.count(now_us);
        loop {
            self.fill_heads(now_us);
            let slot = self.ceiling.next(now_us);
            if slot.is_none_or(|slot_us| slot_us > now_us) {
                return self.wait(slot);
            }
            let Some((share, job, place)) = self.pick() else {
                return self.wait(slot);
            };
            self.ceiling.take(share);
            start(job, place);
        }
    }

    /// Publishes how many of the shards' questions were started, second by second.
    fn count(&mut self, now_us: u64) {
        let since_us = now_us.saturating_sub(self.counted_from_us);
        if since_us >= 1_000_000 {
            let pace = u64::from(self.started) * 1_000_000 / since_us;
            self.flights.set_pace(pace as u32);
            (self.started, self.counted_from_us) = (0, now_us);
        }
    }

    /// A caller gets a place in flight now or not at all.
    pub(super) fn admit(&mut self, question: QuestionNow, now_us: u64) {
        if question.caller.is_closed() || now_us >= question.until.saturating_mul(1000) {
            return Job::Now(question).refuse(not_started());
        }
        if let Some(held) = self.owner.pause.held(now_us / 1000) {
            return self.refuse(question, held);
        }
        match self.flights.take(Side::Callers) {
            Some(place) => self.callers.push_back(Caller {
                question,
                place,
                asked: false,
            }),
            None => self.turn_away(question),
        }
    }

    fn turn_away(&self, question: QuestionNow) {
        let why = match self.owner.condition.breaker() {
            _ if self.store_silent => CouldNotAsk::NotStarted,
            Breaker::Open => CouldNotAsk::BreakerOpen,
            Breaker::Closed | Breaker::Closing { .. } => CouldNotAsk::OverCeiling,
        };
        self.refuse(question, refused(why));
    }

    /// Nobody is asked for this caller, who hears of it now.
    fn refuse(&self, question: QuestionNow, answer: Answer) {
        let reason = match &answer {
            Answer::CouldNotAsk { why, .. } => match why {
                CouldNotAsk::OverCeiling => CallerRefused::OverCeiling,
                CouldNotAsk::BreakerOpen => CallerRefused::BreakerOpen,
                CouldNotAsk::Configuration | CouldNotAsk::TooManyRequests => CallerRefused::Paused,
                _ => CallerRefused::NotStarted,
            },
            _ => CallerRefused::NotStarted,
        };
        self.owner.type_metrics.caller_refused(reason);
        Job::Now(question).refuse(answer);
    }

    /// Callers that have gone, that nothing can be done for, or whose owner rests now.
    fn dismiss(&mut self, now_us: u64) {
        let credit = self.ceiling.credit(Share::Callers) as usize;
        let held = self.owner.pause.held(now_us / 1000);
        let hopeless = now_us < self.callers_from_us && self.request.is_none();
        let mut waiting = VecDeque::with_capacity(self.callers.len());
        for caller in std::mem::take(&mut self.callers) {
            let until_us = caller.question.until.saturating_mul(1000);
            let slot_us = self.ceiling.nth(waiting.len());
            if caller.question.caller.is_closed() || now_us >= until_us {
                Job::Now(caller.question).refuse(not_started());
            } else if let Some(held) = &held {
                self.refuse(caller.question, held.clone());
            } else if waiting.len() < credit {
                if slot_us.is_some_and(|slot_us| slot_us >= until_us) {
                    self.turn_away(caller.question);
                } else {
                    waiting.push_back(caller);
                }
            } else if hopeless {
                self.turn_away(caller.question);
            } else {
                waiting.push_back(caller);
            }
        }
        self.callers = waiting;
    }

    fn fill_heads(&mut self, now_us: u64) {
        let now = now_us / 1000;
        for queue in 0..2 {
            loop {
                let next = match queue {
                    0 => &mut self.first,
                    _ => &mut self.rest,
                };
                let Some(question) = self.heads[queue].take().or_else(|| next.try_recv().ok())
                else {
                    break;
                };
                let job = Job::Claimed(question);
                if !job.may_start(now) {
                    job.refuse(not_started());
                    continue;
                }
                if let Some(held) = self.owner.pause.held(now) {
                    job.refuse(held);
                    continue;
                }
                if let Job::Claimed(question) = job {
                    self.heads[queue] = Some(question);
                }
                break;
            }
        }
    }

    /// The question that the next start time belongs to: whose share it is, else whoever waits.
    fn pick(&mut self) -> Option<(Share, Job, Place)> {
        let [first, rest] = [&self.heads[0], &self.heads[1]].map(Option::is_some);
        let turns = if self.last_was_first {
            [Share::Rest, Share::First]
        } else {
            [Share::First, Share::Rest]
        };
        let room = self.flights.is_free(Side::Shards);
        let waits = |share: &Share| match share {
            Share::Callers => !self.callers.is_empty(),
            Share::First => first && room,
            Share::Rest => rest && room,
        };
        let [one, other] = turns;
        let share = [Share::Callers, one, other]
            .into_iter()
            .find(|share| self.ceiling.credit(*share) > 0 && waits(share))
            .or_else(|| [one, other, Share::Callers].into_iter().find(waits))?;
        let queue = match share {
            Share::Callers => {
                let Caller {
                    question, place, ..
                } = self.callers.pop_front()?;
                return Some((share, Job::Now(question), place));
            }
            Share::First => 0,
            Share::Rest => 1,
        };
        self.last_was_first = queue == 0;
        let place = self.flights.take(Side::Shards)?;
        let question = self.heads[queue].take()?;
        self.started += 1;
        Some((share, Job::Claimed(question), place))
    }

    fn wait(&self, slot: Option<u64>) -> Wait {
        let waiting = self.heads.iter().flatten().count();
        let for_place = waiting > 0 && !self.flights.is_free(Side::Shards);
        let heads = self.heads.iter().flatten().map(|head| head.start_before);
        let callers = self.callers.iter().map(|caller| caller.question.until);
        let over = heads
            .chain(callers)
            .min()
            .map(|over| over.saturating_mul(1000));
        // With a place missing the start time passes unused.
        let slot = slot.filter(|_| (waiting > 0 && !for_place) || !self.callers.is_empty());
        let again = match &self.request {
            None if slot.is_none() && waiting > 0 && !for_place => Some(self.shards_from_us),
            _ => None,
        };
        let look = self.look_at_us().filter(|_| self.request.is_none());
        Wait {
            until_us: [over, slot, again, look].into_iter().flatten().min(),
            for_place,
        }
    }

    /// When to ask how things stand, whoever waits.
    fn look_at_us(&self) -> Option<u64> {
        let condition = &self.owner.condition;
        let at = condition.look_at_us();
        at.or(condition.is_urgent().then_some(0))
            .map(|at| at.max(self.look_from_us))
    }

    /// The next request for start times, or the next report, if it is time for one. Its answer comes
    /// through [`Turns::reserved`], and no other request before that.
    pub(super) fn request(&mut self, now_us: u64) -> Option<Reserve> {
        if self.request.is_some() {
            return None;
        }
        let [first, rest] = self.heads.each_ref().map(|head| u32::from(head.is_some()));
        let mut waiting = [
            self.callers.len() as u32,
            first + self.first.len() as u32,
            rest + self.rest.len() as u32,
        ];
        if now_us < self.callers_from_us {
            waiting[Share::Callers as usize] = 0;
        }
        if now_us < self.shards_from_us || !self.flights.is_free(Side::Shards) {
            waiting[Share::First as usize] = 0;
            waiting[Share::Rest as usize] = 0;
        }
        let wanted = self.ceiling.wanted(waiting, now_us);
        let condition = &self.owner.condition;
        let look = self.look_at_us().is_some_and(|at| at <= now_us);
        let urgent = condition.is_urgent() && now_us >= self.look_from_us;
        if wanted == [0; 3] && !urgent && !look {
            return None;
        }
        let asked = self.ceiling.credit(Share::Callers) + wanted[Share::Callers as usize];
        for caller in self.callers.iter_mut().take(asked as usize) {
            caller.asked = true;
        }
        let mut reserve = Reserve {
            wanted,
            most: self.ceiling.block_max(),
            per_second: self.per_second,
            parts: self.parts,
            heard: Heard::default(),
            hold_us: 0,
            known: None,
        };
        self.owner.condition.report(&mut reserve, now_us);
        if wanted != [0; 3] {
            self.ceiling.asked(now_us);
        }
        self.request = Some((reserve, now_us));
        Some(reserve)
    }

    /// The answer to the request; `None`: the store did not answer.
    pub(super) fn reserved(&mut self, slots: Option<Slots>, now_us: u64) {
        let Some((reserve, sent_us)) = self.request.take() else {
            return;
        };
        let [callers, first, rest] = reserve.wanted;
        let Some(slots) = slots else {
            // Nothing is asked without a start time, nor while the store cannot be reached.
            self.owner.condition.unsaid(&reserve, now_us);
            self.shards_from_us = now_us + self.pause_us;
            self.look_from_us = now_us + self.pause_us;
            self.callers_from_us = now_us + PAUSE_US;
            self.pause_us = (self.pause_us * 2).min(PAUSE_MAX_US);
            self.store_silent = true;
            for question in self.without_a_start_time() {
                self.turn_away(question);
            }
            return;
        };
        self.store_silent = false;
        self.pause_us = PAUSE_US;
        let before = self.owner.condition.breaker();
        self.owner.told(&slots, now_us);
        if slots.known.breaker == Breaker::Open && before != Breaker::Open {
            // Start times from before are too close to each other now.
            self.ceiling.forfeit();
        }
        self.ceiling.add(&slots, sent_us, now_us);
        let [for_callers, for_first, for_rest] = slots.counts;
        if first + rest > 0 && for_first + for_rest == 0 {
            let pause = slots.first_in_us.saturating_sub(LENT_US).max(AGAIN_US);
            self.shards_from_us = now_us + pause;
        }
        if for_callers < callers {
            self.callers_from_us = now_us + CALLERS_PAUSE_US;
            for question in self.without_a_start_time() {
                self.turn_away(question);
            }
        }
    }

    /// Takes out the callers that a start time was asked for in vain.
    fn without_a_start_time(&mut self) -> Vec<QuestionNow> {
        let credit = self.ceiling.credit(Share::Callers) as usize;
        let mut without = Vec::new();
        let mut kept = VecDeque::with_capacity(self.callers.len());
        for caller in self.callers.drain(..) {
            if caller.asked && kept.len() >= credit {
                without.push(caller.question);
            } else {
                kept.push_back(caller);
            }
        }
        self.callers = kept;
        without
    }

    /// Closes the queues and refuses all that waits.
    pub(super) fn hand_back(&mut self) {
        self.now.close();
        self.first.close();
        self.rest.close();
        for caller in self.callers.drain(..) {
            Job::Now(caller.question).refuse(not_started());
        }
        while let Ok(question) = self.now.try_recv() {
            Job::Now(question).refuse(not_started());
        }
        for head in &mut self.heads {
            head.take().into_iter().for_each(|question| {
                Job::Claimed(question).refuse(not_started());
            });
        }
        for queue in [&mut self.first, &mut self.rest] {
            while let Ok(question) = queue.try_recv() {
                Job::Claimed(question).refuse(not_started());
            }
        }
    }
}
