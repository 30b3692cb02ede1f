//! Runs an owner's script on one shard, entry by entry, as `script.rs` tells it: the reference that
//! the Lua scripts are compared with. A script that fails leaves the shard as it was.

use std::collections::BTreeSet;

use super::shard::{Shard, TypeFields};
use crate::domain::order::{Mark, OrderId, RECORD_HASHES, TypeId};
use crate::domain::record::Record;
use crate::plant::{self, Plant};
use crate::store::key::{Key, MARK_HASHES, mark_hash};
use crate::store::script::{
    BATCH, Body, Claim, Fold, Folded, Found, Lookup, Placement, Reply, Reschedule, Script, Settle,
    SettleOne, SettleOutcome,
};
use crate::store::{StoreError, field, limits};

impl Shard {
    /// Runs the script; nothing changes when it fails or does not match.
    pub fn run(&mut self, script: &Script) -> Result<Reply, StoreError> {
        let types = limits::check(script)?;
        self.touch(Key::Meta)?;
        let Some(meta) = &self.meta else {
            return Ok(Reply::Mismatch);
        };
        let token = meta.token == script.token || plant::is(Plant::NoToken);
        let version = meta.version == script.version || plant::is(Plant::NoVersion);
        if !token || !version {
            return Ok(Reply::Mismatch);
        }
        let r = meta.r;
        self.check_types(script, &types)?;
        if matches!(&script.body, Body::Settle(settle) if settle.from_r != r) {
            return Ok(Reply::Mismatch);
        }
        if self.damaged.is_empty() {
            // Nothing below fails while every key is sound.
            return self.change(script);
        }
        let mut changed = self.clone();
        let reply = changed.change(script)?;
        *self = changed;
        Ok(reply)
    }

    /// Every type that the body names is known, or given by this script without a contradiction.
    fn check_types(&self, script: &Script, named: &BTreeSet<TypeId>) -> Result<(), StoreError> {
        let Some(meta) = &self.meta else {
            return Ok(());
        };
        let mut known: Vec<_> = meta.types.iter().map(|(id, t)| (*id, &t.name)).collect();
        for (id, name, _) in &script.new_types {
            if known.contains(&(*id, name)) {
                continue;
            }
            if known.iter().any(|(i, n)| i == id || *n == name) {
                return Err(StoreError::Corrupt(format!(
                    "type id {} or type {name} is taken",
                    id.0
                )));
            }
            known.push((*id, name));
        }
        match named.iter().find(|id| known.iter().all(|(i, _)| i != *id)) {
            Some(id) => Err(StoreError::Corrupt(format!("type id {} is unknown", id.0))),
            None => Ok(()),
        }
    }

    fn change(&mut self, script: &Script) -> Result<Reply, StoreError> {
        if let Some(meta) = &mut self.meta {
            for (id, name, cursor) in &script.new_types {
                meta.types.entry(*id).or_insert_with(|| TypeFields {
                    name: name.clone(),
                    cursor: *cursor,
                    exhausted: 0,
                });
            }
        }
        let reply = match &script.body {
            Body::Lookup(lookups) => return self.lookup(lookups),
            Body::Fold(folds) => self.fold(folds)?,
            Body::Claim(claim) => self.claim(*claim)?,
            Body::Reschedule(all) => self.reschedule(all)?,
            Body::Settle(settle) => self.settle(settle)?,
            Body::EndLeases {
                type_id,
                from_second,
                to_second,
            } => self.end_leases(*type_id, *from_second, *to_second)?,
            Body::Sweep {
                hash,
                slack_seconds,
                types,
            } => self.sweep(*hash, *slack_seconds, types)?,
            Body::DropMarks { before_hour } => self.drop_marks(*before_hour)?,
            Body::Discard => {
                self.meta = None;
                Reply::Discarded
            }
        };
        if let Some(meta) = &mut self.meta {
            meta.version = script.version + 1;
            meta.e = script.e;
            meta.clock = script.clock;
            if script.ends_rebuild {
                meta.rebuild = None;
            }
        }
        Ok(reply)
    }

    fn fold(&mut self, folds: &[Fold]) -> Result<Reply, StoreError> {
        let hours = self.hours();
        let mut outcomes = Vec::with_capacity(folds.len());
        let mut claimed = Vec::new();
        for fold in folds {
            let old = self.record(&fold.id)?;
            let outcome = match (old, fold.requeue) {
                (Some(_), None) => Folded::Known,
                (Some(old), Some(phase))
                    if old.phase >= phase && !plant::is(Plant::RequeuePhaseUnchecked) =>
                {
                    Folded::Known
                }
                (None, _) if self.settled(&hours, &fold.mark)?.is_some() => Folded::Settled,
                (_, None) => Folded::Added,
                (_, Some(_)) => Folded::Requeued,
            };
            outcomes.push(outcome);
            if matches!(outcome, Folded::Added | Folded::Requeued) {
                let (record, at_once) = self.open(fold, old)?;
                if at_once {
                    claimed.push(self.claimed(&fold.id, &record)?);
                }
            }
        }
        Ok(Reply::Folded { outcomes, claimed })
    }

    /// Makes the order pending; true when it was claimed at once.
    fn open(&mut self, fold: &Fold, old: Option<Record>) -> Result<(Record, bool), StoreError> {
        let mut record = Record {
            claim: next_claim(old),
            exhausted: false,
            has_query: self.put_query(&fold.id, old.as_ref(), fold.query.as_deref())?,
            ..fold.record
        };
        match old {
            Some(old) if !old.exhausted => record.first_seen = old.first_seen,
            _ => self.enter_slot(&fold.id, &record)?,
        }
        if old.is_some_and(|old| old.exhausted) {
            self.leave_exhausted(&fold.id)?;
        }
        let at_once = self.place(&fold.id, &mut record, fold.placement)?;
        self.put_record(&fold.id, record);
        Ok((record, at_once))
    }

    fn lookup(&self, lookups: &[Lookup]) -> Result<Reply, StoreError> {
        let hours = self.hours();
        let found = lookups
            .iter()
            .map(|lookup| self.look(lookup.id.as_ref(), &lookup.mark, &hours));
        Ok(Reply::Found(found.collect::<Result<_, _>>()?))
    }

    /// What the view knows of one order. A settled order has no record.
    pub fn look(
        &self,
        id: Option<&OrderId>,
        mark: &Mark,
        hours: &[u32],
    ) -> Result<Found, StoreError> {
        if let Some(id) = id
            && let Some(record) = self.record(id)?
        {
            let query = self.query(id, &record)?;
            return Ok(Found::Open { record, query });
        }
        Ok(match self.settled(hours, mark)? {
            Some((status, offset)) => Found::Settled { status, offset },
            None => Found::Unknown,
        })
    }

    fn claim(&mut self, claim: Claim) -> Result<Reply, StoreError> {
        let type_id = claim.type_id;
        let cursor = self.cursor(type_id);
        let mut at = cursor.max(claim.after);
        let (mut left, mut pops) = (usize::from(claim.limit), BATCH);
        let (mut claimed, mut stale) = (Vec::new(), 0);
        let last = claim.to_second.min(at.saturating_add(BATCH as u32));
        while at < last && left > 0 && pops > 0 {
            let second = at + 1;
            while left > 0
                && pops > 0
                && let Some((id, record)) = self.head(type_id, second)?
            {
                self.pop(type_id, second);
                pops -= 1;
                let Some(mut record) = record else {
                    stale += 1;
                    continue;
                };
                left -= 1;
                record.claim = record.claim.wrapping_add(1);
                self.lease(&id, &mut record, claim.lease_second)?;
                self.put_record(&id, record);
                claimed.push(self.claimed(&id, &record)?);
            }
            if self.bucket_len(type_id, second)? > 0 {
                break;
            }
            at = second;
        }
        let cursor = if claim.after > cursor {
            cursor
        } else {
            self.set_cursor(type_id, at);
            at
        };
        Ok(Reply::Claimed {
            claimed,
            stale,
            cursor,
        })
    }

    fn reschedule(&mut self, all: &[Reschedule]) -> Result<Reply, StoreError> {
        let mut applied = Vec::with_capacity(all.len());
        let mut claimed = Vec::new();
        for one in all {
            let old = self.record(&one.id)?.filter(|r| r.claim == one.claim);
            applied.push(old.is_some());
            let Some(old) = old else {
                continue;
            };
            // What the view counts orders by is not the worker's to change.
            let mut record = Record {
                claim: old.claim.wrapping_add(1),
                exhausted: old.exhausted,
                has_query: old.has_query,
                first_seen: old.first_seen,
                ..one.record
            };
            let at_once = self.place(&one.id, &mut record, one.placement)?;
            self.put_record(&one.id, record);
            if at_once {
                claimed.push(self.claimed(&one.id, &record)?);
            }
        }
        Ok(Reply::Rescheduled { applied, claimed })
    }

    fn settle(&mut self, settle: &Settle) -> Result<Reply, StoreError> {
        let hours = self.hours();
        let mut settled_now = BTreeSet::new();
        for one in &settle.results {
            if let SettleOutcome::Settled { status, mark_hour } = &one.outcome {
                if let Some(id) = &one.id {
                    self.remove(id)?;
                }
                if let Some(hour) = *mark_hour {
                    let hash = mark_hash(&one.mark);
                    self.touch(Key::Marks(hour, hash))?;
                    let marks = self.marks.entry(hour).or_default();
                    marks.insert((hash, one.mark), (*status, one.offset));
                    settled_now.insert(one.mark);
                    if let Some(meta) = &mut self.meta {
                        meta.hours.insert(hour, 0);
                    }
                }
                continue;
            }
            if let Some(id) = &one.id {
                let old = self.record(id)?;
                let settled = old.is_none()
                    && (settled_now.contains(&one.mark)
                        || self.settled(&hours, &one.mark)?.is_some());
                if !settled {
                    self.exhaust(id, old, one)?;
                }
            }
        }
        if let Some(meta) = &mut self.meta {
            meta.r = settle.to_r;
        }
        Ok(Reply::Settled)
    }

    fn remove(&mut self, id: &OrderId) -> Result<(), StoreError> {
        let Some(old) = self.record(id)? else {
            return Ok(());
        };
        if old.has_query {
            self.touch(Key::Queries(id.record_hash()))?;
            self.queries.remove(id);
        }
        if old.exhausted {
            self.leave_exhausted(id)?;
        } else {
            self.leave_slot(id, &old)?;
        }
        if let Some(records) = self.records.get_mut(&id.record_hash()) {
            records.remove(id);
        }
        Ok(())
    }

    fn exhaust(
        &mut self,
        id: &OrderId,
        old: Option<Record>,
        one: &SettleOne,
    ) -> Result<(), StoreError> {
        let SettleOutcome::Exhausted {
            record,
            query,
            granule,
        } = &one.outcome
        else {
            return Ok(());
        };
        let later =
            |old: Record| old.phase > record.phase || (old.exhausted && old.phase == record.phase);
        if old.is_some_and(later) {
            return Ok(());
        }
        let mut record = Record {
            claim: next_claim(old),
            bucket: 0,
            leased: false,
            exhausted: true,
            has_query: self.put_query(id, old.as_ref(), query.as_deref())?,
            ..*record
        };
        if let Some(old) = old.filter(|old| !old.exhausted) {
            self.leave_slot(id, &old)?;
        }
        self.enter_exhausted(id, old.is_some_and(|old| old.exhausted), one.offset)?;
        if let Some(granule) = *granule {
            let placement = Placement {
                granule,
                lease_second: 0,
            };
            self.place(id, &mut record, placement)?;
        }
        self.put_record(id, record);
        Ok(())
    }

    fn end_leases(&mut self, type_id: TypeId, from: u32, to: u32) -> Result<Reply, StoreError> {
        let (mut ended, mut left) = (0, BATCH);
        let due_again = self.cursor(type_id) + 1;
        let last = to.min(from.saturating_add(BATCH as u32 - 1));
        for second in from..=last {
            while let Some((id, record)) = self.head(type_id, second)? {
                if record.is_some_and(|record| !record.leased) {
                    break;
                }
                if left == 0 {
                    let next_second = Some(second);
                    return Ok(Reply::LeasesEnded { ended, next_second });
                }
                self.pop(type_id, second);
                left -= 1;
                if let Some(mut record) = record {
                    record.claim = record.claim.wrapping_add(1);
                    self.put_last(&id, &mut record, due_again)?;
                    self.put_record(&id, record);
                    ended += 1;
                }
            }
        }
        let next_second = (last < to).then_some(last + 1);
        Ok(Reply::LeasesEnded { ended, next_second })
    }

    fn sweep(&mut self, from: u16, slack: u32, types: &[TypeId]) -> Result<Reply, StoreError> {
        let (mut lost, mut seen, mut hash) = (Vec::new(), 0, from);
        let until = RECORD_HASHES.min(from.saturating_add(BATCH as u16));
        while hash < until && seen < BATCH {
            self.touch(Key::Records(hash))?;
            let records = self.records.get(&hash).into_iter().flatten();
            let before = lost.len();
            for (id, record) in records {
                seen += 1;
                if types.contains(&id.type_id)
                    && record.bucket > 0
                    && record.bucket.saturating_add(slack) < self.cursor(id.type_id)
                {
                    lost.push((*id, *record));
                }
            }
            lost[before..].sort_by_cached_key(|(id, _)| field::field(id));
            hash += 1;
        }
        lost.truncate(BATCH);
        for (id, mut record) in lost.iter().copied() {
            record.claim = record.claim.wrapping_add(1);
            self.put_last(&id, &mut record, self.cursor(id.type_id) + 1)?;
            self.put_record(&id, record);
        }
        Ok(Reply::Swept {
            repaired: lost.len() as u32,
            next_hash: hash,
        })
    }

    fn drop_marks(&mut self, before_hour: u32) -> Result<Reply, StoreError> {
        let Some(mut meta) = self.meta.take() else {
            return Ok(Reply::Mismatch);
        };
        let mut left = BATCH as u16;
        while let Some(hour) = meta.hours.first_entry()
            && *hour.key() < before_hour
            && left > 0
        {
            let next = *hour.get();
            let until = MARK_HASHES.min(next + left);
            left -= until - next;
            for hash in next..until {
                self.touch(Key::Marks(*hour.key(), hash))?;
            }
            if let Some(marks) = self.marks.get_mut(hour.key()) {
                marks.retain(|(hash, _), _| !(next..until).contains(hash));
            }
            if until == MARK_HASHES {
                self.marks.remove(hour.key());
                hour.remove();
            } else {
                *hour.into_mut() = until;
            }
        }
        let more = meta.hours.keys().next().is_some_and(|h| *h < before_hour);
        self.meta = Some(meta);
        Ok(Reply::MarksDropped { more })
    }
}

fn next_claim(old: Option<Record>) -> u32 {
    old.map_or(1, |old| old.claim.wrapping_add(1))
}
