//! What an answer does to its order. The table that says what an answer *means* is `domain::answer`.

use super::gate::Planned;
use super::input::{Alarm, Heard, Note, Output};
use super::scripts::Move;
use super::timer::drawn;
use super::{Core, Phase, kept};
use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::order::Millis;
use crate::domain::record::Record;
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::schedule::{Schedule, Stand};
use crate::domain::status::Open;
use crate::plant::{self, Plant};
use crate::store::script::Claimed;

/// An exhausted order whose type lost its `then` is still in a bucket: once a day keeps it visible.
const WITHOUT_THEN: Millis = 24 * 3_600_000;

/// When an order is due whose type is not configured: it is claimed when that is, or is back.
pub(super) const UNPLANNED: Millis = 1_000;

/// The back-off of an owner that can't be asked: 1, 2, 4 .. 64 s.
const BACK_OFF_MAX_DOUBLINGS: u8 = 6;

impl Core {
    pub(super) fn answered(&mut self, heard: Heard, out: &mut Output) {
        let (now, mono) = (self.now(), self.mono);
        let Some(own) = &mut self.own else { return };
        // An answer that does not find its own claim is dropped: its order was settled or leased again.
        let Some(claimed) = own.wheel.take(&heard.id, heard.claim) else {
            return;
        };
        if let Some(index) = own.types.get(heard.id.type_id).and_then(|known| known.plan) {
            let started = heard.started.map(|at| at + own.time_base);
            out.notes.push(Note::Asked {
                type_index: index,
                answer: (&heard.answer).into(),
                lateness: started.map(|at| at.saturating_sub(claimed.record.due)),
                took: heard.started.map(|at| mono.saturating_sub(at)),
            });
        }
        if let Some(planned) = own.gate.planned(&heard.id) {
            if let (Answer::Terminal { status, .. }, Planned::Settled(planned)) =
                (&heard.answer, planned)
                && *status != planned
                && let Some(key) = own.types.key(heard.id)
            {
                out.notes.push(Note::Alarm(Alarm::Contradiction(key)));
            }
            return;
        }
        match heard.answer {
            Answer::Terminal {
                status,
                rsp_no,
                ret_cd,
                ret_msg,
            } => {
                let outcome = Outcome::Settled {
                    status,
                    source: "inquiry".to_owned(),
                    rsp_no,
                    ret_cd,
                    ret_msg,
                };
                self.plan_result(&claimed, claimed.record.asked.saturating_add(1), outcome);
            }
            Answer::InProgress => self.still_open(&claimed, Open::InProgress),
            Answer::Unknown { violation } => {
                if let Some(violation) = violation
                    && let Some(key) = own.types.key(heard.id)
                {
                    out.notes
                        .push(Note::Alarm(Alarm::Violation(key, violation)));
                }
                self.still_open(&claimed, Open::Unknown);
            }
            Answer::CouldNotAsk {
                why: CouldNotAsk::TimedOut,
                ..
            } if plant::is(Plant::TimeoutIsAttempt) => self.still_open(&claimed, Open::Unknown),
            Answer::CouldNotAsk { why, retry_after } => {
                if why == CouldNotAsk::Configuration
                    && let Some(key) = own.types.key(heard.id)
                {
                    out.notes.push(Note::Alarm(Alarm::QueryConfiguration(key)));
                }
                self.put_back(&claimed, why, retry_after, now);
            }
        }
    }

    /// An attempt without a terminal answer: the next place on the ladder, or exhaustion.
    fn still_open(&mut self, claimed: &Claimed, said: Open) {
        let now = self.now();
        let mut record = claimed.record;
        record.last = said;
        record.asked = record.asked.saturating_add(1);
        record.streak = 0;
        record.leased = false;
        let delay = match self.schedule_of(claimed) {
            // Its type was taken out of the configuration meanwhile: nobody says that its schedule is
            // over, and its bucket waits.
            None => Some(UNPLANNED),
            Some(schedule) if record.exhausted => Some(schedule.then.unwrap_or(WITHOUT_THEN)),
            Some(schedule) => {
                let stand = Stand {
                    position: *drawn(&mut record),
                    age: now.saturating_sub(record.first_seen),
                    asked: record.asked,
                };
                schedule.next(said, stand).map(|draw| {
                    *drawn(&mut record) = draw.position;
                    draw.delay
                })
            }
        };
        let rests = || plant::is(Plant::ExhaustedOutsideLog).then_some(WITHOUT_THEN);
        if let Some(delay) = delay.or_else(rests) {
            record.due = now + delay + Schedule::jitter(delay, claimed.id.hash32(), record.asked);
            return self.reschedule(claimed, record);
        }
        let (query, _) = kept::split(claimed.query.as_deref());
        let outcome = Outcome::Exhausted {
            status: said,
            reason: "schedule ended".to_owned(),
            query,
        };
        self.plan_result(claimed, record.asked, outcome);
    }

    /// No answer is no attempt: the same place on the ladder after a back-off of its own. An order
    /// whose question never left this process is due again at once.
    fn put_back(
        &mut self,
        claimed: &Claimed,
        why: CouldNotAsk,
        retry_after: Option<Millis>,
        now: Millis,
    ) {
        let mut record = claimed.record;
        record.leased = false;
        if !why.is_ours() {
            let back_off = 1_000 << record.streak.min(BACK_OFF_MAX_DOUBLINGS);
            record.streak = record.streak.saturating_add(1);
            record.due = now + retry_after.unwrap_or(0).max(back_off);
        }
        self.reschedule(claimed, record);
    }

    fn reschedule(&mut self, claimed: &Claimed, record: Record) {
        if let Some(own) = &mut self.own {
            own.outbox.moves.push_back(Move {
                id: claimed.id,
                claim: claimed.record.claim,
                record,
            });
        }
    }

    fn plan_result(&mut self, claimed: &Claimed, asked: u16, outcome: Outcome) {
        debug_assert!(
            self.phase == Phase::Open || plant::is(Plant::OldQuestionsKept),
            "questions are asked with the timer open only"
        );
        let now = self.now();
        let shard = self.plan.shard;
        let Some(own) = &mut self.own else { return };
        let Some(key) = own.types.key(claimed.id) else {
            return;
        };
        let (_, traceparent) = kept::split(claimed.query.as_deref());
        let result = OrderResult {
            key,
            phase: claimed.record.phase,
            outcome,
            asked,
            first_seen: claimed.record.first_seen,
            at: now,
            event: (shard, claimed.record.event_offset),
            traceparent,
        };
        own.gate.enter(claimed.id, result, None);
    }

    fn schedule_of(&self, claimed: &Claimed) -> Option<&Schedule> {
        let index = self.own.as_ref()?.types.get(claimed.id.type_id)?.plan?;
        self.plan.types.get(index).map(|plan| &plan.schedule)
    }
}
