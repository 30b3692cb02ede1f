//! Time: the wheel starts each claimed order at its own millisecond, the claims walk the buckets
//! second by second, the publisher's groups and the upkeep have their turns.

use super::input::{Alarm, Ask, Command, Note, Output};
use super::intake::{Unfolded, second};
use super::plan::{CLAIM_AHEAD, TypePlan};
use super::{Core, Phase, kept};
use crate::domain::event::Body as EventBody;
use crate::domain::order::{Millis, OrderId};
use crate::domain::record::Record;
use crate::domain::schedule::{SCHEDULE_MAX, Schedule, granule};
use crate::domain::status::Open;
use crate::plant::{self, Plant};
use crate::store::script::{BATCH, Body, Claim, Claimed, Fold, Placement};

/// Longer than the coordinator leaves a stopped owner's transaction open.
const BLOCKED_AFTER: Millis = 20_000;

/// An order that is overdue for longer belongs to a backlog.
const FRESH: Millis = 10_000;

/// So many seconds up to the one that has just begun are no backlog.
const LATELY_SECONDS: u32 = 3;

/// While orders are due and nobody may be claimed, permits are looked at again after this.
const PERMITS_AGAIN: Millis = 10;

impl Core {
    pub(super) fn tick(&mut self, out: &mut Output) {
        if let Phase::Resting(until) = self.phase
            && self.mono >= until
        {
            self.acquire(out);
        }
        self.mind_the_blocked(out);
        self.ask_due(out);
        self.publish_due(out);
        let (mono, every, folds) = (self.mono, self.plan.survey_every, self.folds());
        if let Some(own) = &mut self.own
            && folds
            && mono >= own.surveyed_at + every
        {
            own.surveyed_at = mono;
            out.commands.push(Command::Survey);
            // A log may lose its head while it is folded, too. One question at a time, so that an answer is judged by the positions it was asked from.
            if own.asked_from.is_none() {
                let (events, results) = (own.intake.offsets.position(), own.results.position());
                own.asked_from = Some((events, results, own.time_base + mono));
                out.commands.push(Command::AskEnds);
            }
            // Below what the group knows, a later rebuild would repeat dead letters and forwards.
            let known_below = own
                .rebuild
                .as_ref()
                .map_or(0, |rebuild| rebuild.known_below);
            if own.e >= known_below && own.committed != Some(own.e) {
                own.committed = Some(own.e);
                out.commands.push(Command::CommitGroup(own.e));
            }
        }
        self.advance(out);
    }

    /// A recovery that reads nothing more, though the log goes on, waits for somebody's transaction.
    /// A person should know. With results unread, stuck is right and open would be wrong; events come
    /// late at other times too.
    fn mind_the_blocked(&mut self, out: &mut Output) {
        let (mono, phase, reads) = (self.mono, self.phase, self.wants_events());
        let Some(own) = &mut self.own else { return };
        let positions = (own.intake.offsets.position(), own.results.position());
        if positions != own.stands_at.0 {
            own.stands_at = (positions, mono);
        }
        let waits = match phase {
            Phase::FoldingResults(_) => own.results.is_empty(),
            Phase::FoldingEvents(_) => {
                reads && own.intake.unfolded.is_empty() && own.intake.terminal.is_empty()
            }
            _ => false,
        };
        if waits && mono > own.stands_at.1 + BLOCKED_AFTER {
            if !own.blocked_told {
                own.blocked_told = true;
                out.notes.push(Note::Alarm(Alarm::OpenTransaction));
            }
            self.open_early();
        }
    }

    fn publish_due(&mut self, out: &mut Output) {
        if self.publishes()
            && let Some(own) = &mut self.own
            && let Some(group) = own.gate.next_group(self.mono)
        {
            if plant::is(Plant::SettledAtProduce) {
                self.settle_unread(&group, out);
            }
            out.commands.push(Command::Publish(group));
        }
    }

    /// Starts the questions whose millisecond has come.
    fn ask_due(&mut self, out: &mut Output) {
        if self.phase != Phase::Open {
            return;
        }
        let now = self.now();
        let Some(own) = &mut self.own else { return };
        while let Some(Claimed { id, record, query }) = own.wheel.next_due(now) {
            let Some(key) = own.types.key(id) else {
                continue;
            };
            let timeout = own
                .types
                .get(id.type_id)
                .and_then(|known| self.plan.types.get(known.plan?))
                .map_or(0, |plan| plan.timeout);
            let lease_end = u64::from(record.bucket) * 1000;
            let (query, traceparent) = kept::split(query.as_deref());
            out.commands.push(Command::Ask(Ask {
                id,
                key,
                claim: record.claim,
                attempt: record.asked.saturating_add(1),
                fresh: now < record.due + FRESH,
                query,
                traceparent,
                // The answer must come back before the lease ends and somebody else asks.
                start_before: lease_end
                    .saturating_sub(timeout + 500)
                    .saturating_sub(own.time_base),
            }));
        }
    }

    /// The next claim: the first configured type, in turn, whose next bucket has begun (a quarter of a
    /// second ahead), never more orders than its query interface has permits for. Where buckets lie
    /// behind, the latest and the oldest go in turns.
    pub(super) fn claim_body(&mut self) -> Option<Body> {
        let (mono, to_second) = (self.mono, second(self.now() + CLAIM_AHEAD));
        let own = self.own.as_mut()?;
        if own.gate.len() >= self.plan.gate_limit {
            return None;
        }
        let (type_id, index) = own
            .types
            .iter()
            .filter(|(_, known)| known.stored && known.cursor < to_second)
            .filter(|(_, known)| known.rests_until <= mono)
            .filter_map(|(id, known)| Some((id, known.plan?, known.cursor)))
            .filter(|(_, index, _)| self.permits.get(*index).is_some_and(|permits| *permits > 0))
            // The type that lags most goes first; a claim moves its cursor, so types take turns.
            .min_by_key(|(.., cursor)| *cursor)
            .map(|(id, index, _)| (id, index))?;
        let known = own.types.get_mut(type_id)?;
        known.rests_until = mono + self.plan.linger;
        // What came due lately does not stand behind a backlog, which gets every third claim for sure
        // and whatever the others leave.
        let lately = to_second - LATELY_SECONDS;
        let leaves_out = known.cursor < lately && known.left_out < 2;
        known.left_out = if leaves_out { known.left_out + 1 } else { 0 };
        let after = if leaves_out { lately } else { 0 };
        Some(Body::Claim(Claim {
            type_id,
            after,
            to_second,
            limit: self.permits[index].min(BATCH as u32) as u16,
            lease_second: self.lease_second(index),
        }))
    }

    fn lease_second(&self, type_index: usize) -> u32 {
        let lease = self.plan.types.get(type_index).map_or(0, TypePlan::lease);
        // The claimed second may end 1.25 s from now, and its last order may wait a second for a slot.
        second(self.now() + CLAIM_AHEAD + 2_000 + lease) + 1
    }

    /// What a pending or requeue event does to the view.
    pub(super) fn fold_of(&self, unfolded: &Unfolded, budget: &mut [u32]) -> Option<Fold> {
        let own = self.own.as_ref()?;
        let (last, ask_at, query, requeue) = match &unfolded.event.body {
            EventBody::Pending {
                status,
                ask_at,
                query,
            } => (*status, ask_at.unwrap_or(0), query, None),
            EventBody::Requeue { phase, query } => (Open::InProgress, 0, query, Some(*phase)),
            EventBody::Terminal(_) => return None,
        };
        let plan = own
            .types
            .get(unfolded.id.type_id)
            .and_then(|known| self.plan.types.get(known.plan?));
        let default = Schedule::default();
        let schedule = plan.map_or(&default, |plan| &plan.schedule);
        let known_before = own
            .rebuild
            .as_ref()
            .is_some_and(|rebuild| unfolded.offset < rebuild.known_below);
        let (due, position) = if known_before && requeue.is_none() {
            // Its questions were asked before the wipe: it takes the place that its age gives.
            let placed = schedule.place(last, self.now().saturating_sub(unfolded.appended));
            (
                unfolded.appended.saturating_add(placed.due_age),
                placed.position,
            )
        } else {
            let first = schedule.first(last);
            let jitter = Schedule::jitter(first.delay, unfolded.id.hash32(), 0);
            (unfolded.appended + first.delay + jitter, first.position)
        };
        // A mistaken `askAt` must not lie beyond what the view can keep: it would stop the shard.
        let due = due.max(ask_at.min(unfolded.appended.saturating_add(SCHEDULE_MAX)));
        let query = query
            .as_deref()
            .filter(|_| requeue.is_none() || !plant::is(Plant::RequeueWithoutQuery));
        let kept = kept::join(query, unfolded.traceparent.as_deref());
        let mut record = Record {
            has_query: kept.is_some(),
            last,
            due,
            phase: requeue.unwrap_or(0),
            first_seen: unfolded.appended,
            event_offset: unfolded.offset,
            ..Record::default()
        };
        *drawn(&mut record) = position;
        Some(Fold {
            id: unfolded.id,
            mark: unfolded.event.key.mark(&own.mark_key),
            record,
            requeue,
            query: kept,
            placement: self.placement(unfolded.id, due, budget),
        })
    }

    /// Into which bucket an order goes that is due at `due`. When that lies behind the cursor it is
    /// claimed at once, as far as the script's `budget` of permits goes.
    pub(super) fn placement(&self, id: OrderId, due: Millis, budget: &mut [u32]) -> Placement {
        let granule = granule(due.saturating_sub(self.now()));
        let known = self.own.as_ref().and_then(|own| own.types.get(id.type_id));
        let late =
            self.phase == Phase::Open && known.is_some_and(|known| second(due) <= known.cursor);
        let permits = known.and_then(|known| Some((known.plan?, budget.get_mut(known.plan?)?)));
        match permits {
            Some((index, permits)) if late && *permits > 0 => {
                *permits -= 1;
                Placement {
                    granule,
                    lease_second: self.lease_second(index),
                }
            }
            _ => Placement {
                granule,
                lease_second: 0,
            },
        }
    }

    /// What one script may claim beside its own work: nothing while the gate is full.
    pub(super) fn budget(&self) -> Vec<u32> {
        match &self.own {
            Some(own) if own.gate.len() < self.plan.gate_limit => self.permits.clone(),
            _ => vec![0; self.permits.len()],
        }
    }

    /// When the next tick is due, in monotonic milliseconds.
    pub(super) fn wakeup(&self) -> Millis {
        if let Phase::Resting(until) = self.phase {
            return until;
        }
        let Some(own) = &self.own else {
            return Millis::MAX;
        };
        let mut at = self.script_at();
        if self.publishes() {
            at = at.min(own.gate.publish_at().unwrap_or(Millis::MAX));
        }
        if self.folds() {
            at = at.min(own.surveyed_at + self.plan.survey_every);
        }
        if self.phase == Phase::Open {
            at = at.min(
                own.wheel
                    .next_at()
                    .unwrap_or(Millis::MAX)
                    .saturating_sub(own.time_base),
            );
        }
        at.max(self.mono)
    }

    /// From the recovery's fourth step on.
    fn publishes(&self) -> bool {
        matches!(
            self.phase,
            Phase::FoldingEvents(_) | Phase::EndingLeases | Phase::Open
        )
    }

    /// When the next bucket of some type is to be claimed, in monotonic milliseconds.
    pub(super) fn next_claim_at(&self) -> Option<Millis> {
        let own = self.own.as_ref()?;
        let full = own.gate.len() >= self.plan.gate_limit;
        let begins = own
            .types
            .iter()
            .filter(|(_, known)| known.stored)
            .filter_map(|(_, known)| {
                let begins = (u64::from(known.cursor) + 1) * 1000 - CLAIM_AHEAD;
                let begins = begins.saturating_sub(own.time_base);
                let permitted = !full
                    && self
                        .permits
                        .get(known.plan?)
                        .is_some_and(|permits| *permits > 0);
                let begins = if permitted {
                    begins
                } else {
                    begins.max(self.mono + PERMITS_AGAIN)
                };
                Some(begins.max(known.rests_until))
            });
        begins.min()
    }
}

/// The position on the ladder that follows the record's last status.
pub(super) fn drawn(record: &mut Record) -> &mut u16 {
    match record.last {
        Open::InProgress => &mut record.drawn_in_progress,
        Open::Unknown => &mut record.drawn_unknown,
    }
}
