//! One shard's view as plain data, and the few operations that the scripts are made of: look an
//! order up, place it in a bucket, count it in its slot. Every access names the key that it touches,
//! so that a damaged key is met here exactly where Redis meets it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::domain::order::{Mark, MarkKey, Millis, OrderId, ReqNo, TypeId, TypeName};
use crate::domain::record::Record;
use crate::domain::status::Terminal;
use crate::plant::{self, Plant};
use crate::store::StoreError;
use crate::store::key::{Key, mark_hash};
use crate::store::script::{COARSE_MAX, Claimed, Placement, SLOT_SECONDS, Token};

/// A shard's view. Cloning it is a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    pub meta: Option<Fields>,
    /// By record hash, so that a sweep finds its orders.
    pub records: BTreeMap<u16, BTreeMap<OrderId, Record>>,
    pub queries: BTreeMap<OrderId, Box<str>>,
    pub buckets: BTreeMap<(TypeId, u32), VecDeque<Entry>>,
    pub marks: BTreeMap<u32, HourOfMarks>,
    pub exhausted: BTreeMap<OrderId, u64>,
    pub slots: BTreeMap<(TypeId, u32), SlotFields>,
    /// Keys that stand for a value of the wrong type.
    pub damaged: BTreeSet<Key>,
}

/// By mark hash, as they are dropped: status and result offset.
pub(super) type HourOfMarks = BTreeMap<(u16, Mark), (Terminal, u64)>;

/// The meta hash.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub shards: u16,
    pub epoch: u64,
    pub token: Token,
    pub version: u64,
    pub e: u64,
    pub r: u64,
    pub rebuild: Option<u64>,
    pub clock: Millis,
    pub mark_key: MarkKey,
    pub types: BTreeMap<TypeId, TypeFields>,
    /// Hours that have marks, and the first hash that was not dropped yet.
    pub hours: BTreeMap<u32, u16>,
    /// Orders in all slots of first sight.
    pub pending: u64,
}

/// What the meta hash keeps of a type.
#[derive(Clone, Debug)]
pub(super) struct TypeFields {
    pub name: TypeName,
    pub cursor: u32,
    pub exhausted: u64,
}

/// A hint that an order lies in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub claim: u32,
    pub req_no: ReqNo,
}

/// A slot of first sight.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotFields {
    pub count: u64,
    pub e: u64,
    pub first_seen: Millis,
}

impl Shard {
    /// Fails when the key is damaged.
    pub fn touch(&self, key: Key) -> Result<(), StoreError> {
        if self.damaged.contains(&key) {
            return Err(StoreError::Corrupt(format!("{key:?} is of the wrong type")));
        }
        Ok(())
    }

    pub fn record(&self, id: &OrderId) -> Result<Option<Record>, StoreError> {
        let hash = id.record_hash();
        self.touch(Key::Records(hash))?;
        let records = self.records.get(&hash);
        Ok(records.and_then(|records| records.get(id)).copied())
    }

    pub fn put_record(&mut self, id: &OrderId, record: Record) {
        let records = self.records.entry(id.record_hash()).or_default();
        records.insert(*id, record);
    }

    pub fn query(&self, id: &OrderId, record: &Record) -> Result<Option<Box<str>>, StoreError> {
        if !record.has_query {
            return Ok(None);
        }
        self.touch(Key::Queries(id.record_hash()))?;
        Ok(self.queries.get(id).cloned())
    }

    /// Stores a query, or keeps what there is; whether there is one goes into the record.
    pub fn put_query(
        &mut self,
        id: &OrderId,
        old: Option<&Record>,
        query: Option<&str>,
    ) -> Result<bool, StoreError> {
        let Some(query) = query else {
            return Ok(old.is_some_and(|old| old.has_query));
        };
        self.touch(Key::Queries(id.record_hash()))?;
        self.queries.insert(*id, query.into());
        Ok(true)
    }

    /// The mark of a settled order, looked for in these hours.
    pub fn settled(
        &self,
        hours: &[u32],
        mark: &Mark,
    ) -> Result<Option<(Terminal, u64)>, StoreError> {
        let hash = mark_hash(mark);
        for hour in hours {
            self.touch(Key::Marks(*hour, hash))?;
            let found = self.marks.get(hour).and_then(|m| m.get(&(hash, *mark)));
            if let Some(found) = found {
                return Ok(Some(*found));
            }
        }
        Ok(None)
    }

    /// The hours that have marks, newest first.
    pub fn hours(&self) -> Vec<u32> {
        let meta = self.meta.iter();
        meta.flat_map(|m| m.hours.keys().rev().copied()).collect()
    }

    pub fn cursor(&self, type_id: TypeId) -> u32 {
        let meta = self.meta.as_ref();
        meta.and_then(|m| m.types.get(&type_id))
            .map_or(0, |t| t.cursor)
    }

    pub fn set_cursor(&mut self, type_id: TypeId, cursor: u32) {
        if let Some(fields) = self.meta.as_mut().and_then(|m| m.types.get_mut(&type_id)) {
            fields.cursor = cursor;
        }
    }

    /// Puts the record where [`Placement`] says; true when it was claimed at once.
    pub fn place(
        &mut self,
        id: &OrderId,
        record: &mut Record,
        placement: Placement,
    ) -> Result<bool, StoreError> {
        let mut second = (record.due / 1000) as u32;
        if placement.granule > 1 {
            let coarse = second.next_multiple_of(placement.granule);
            if coarse != second && self.bucket_len(id.type_id, coarse)? < COARSE_MAX {
                record.due = u64::from(coarse) * 1000 + record.due % 1000;
                second = coarse;
            }
        }
        let cursor = self.cursor(id.type_id);
        if second > cursor {
            self.put_last(id, record, second)?;
        } else if placement.lease_second > 0 {
            self.lease(id, record, placement.lease_second.max(cursor + 1))?;
            return Ok(true);
        } else {
            self.put_last(id, record, cursor + 1)?;
        }
        Ok(false)
    }

    /// Behind all others of the second, not leased.
    pub fn put_last(
        &mut self,
        id: &OrderId,
        record: &mut Record,
        second: u32,
    ) -> Result<(), StoreError> {
        record.leased = false;
        record.bucket = second;
        let entry = Entry {
            claim: record.claim,
            req_no: id.req_no,
        };
        self.bucket(id.type_id, second)?.push_back(entry);
        Ok(())
    }

    /// Before all others of the second, leased: so the leased ones of a bucket are its head.
    pub fn lease(
        &mut self,
        id: &OrderId,
        record: &mut Record,
        second: u32,
    ) -> Result<(), StoreError> {
        record.leased = true;
        record.bucket = second;
        let entry = Entry {
            claim: record.claim,
            req_no: id.req_no,
        };
        let bucket = self.bucket(id.type_id, second)?;
        if !plant::is(Plant::ClaimInTwoSteps) {
            bucket.push_front(entry);
        }
        Ok(())
    }

    /// How many entries a bucket holds.
    pub fn bucket_len(&self, type_id: TypeId, second: u32) -> Result<usize, StoreError> {
        self.touch(Key::Bucket(type_id, second))?;
        Ok(self
            .buckets
            .get(&(type_id, second))
            .map_or(0, VecDeque::len))
    }

    fn bucket(&mut self, type_id: TypeId, second: u32) -> Result<&mut VecDeque<Entry>, StoreError> {
        self.touch(Key::Bucket(type_id, second))?;
        Ok(self.buckets.entry((type_id, second)).or_default())
    }

    /// The first entry of a bucket, with its order's record when the entry is valid: it names the
    /// record's claim number and the record names this bucket.
    pub fn head(
        &self,
        type_id: TypeId,
        second: u32,
    ) -> Result<Option<(OrderId, Option<Record>)>, StoreError> {
        self.touch(Key::Bucket(type_id, second))?;
        let bucket = self.buckets.get(&(type_id, second));
        let Some(entry) = bucket.and_then(VecDeque::front) else {
            return Ok(None);
        };
        let id = OrderId {
            type_id,
            req_no: entry.req_no,
        };
        let record = self
            .record(&id)?
            .filter(|r| r.claim == entry.claim && r.bucket == second);
        Ok(Some((id, record)))
    }

    /// Drops the first entry of a bucket.
    pub fn pop(&mut self, type_id: TypeId, second: u32) {
        if let Some(bucket) = self.buckets.get_mut(&(type_id, second)) {
            bucket.pop_front();
            if bucket.is_empty() {
                self.buckets.remove(&(type_id, second));
            }
        }
    }

    /// What a caller is told of an order that was claimed.
    pub fn claimed(&self, id: &OrderId, record: &Record) -> Result<Claimed, StoreError> {
        Ok(Claimed {
            id: *id,
            record: *record,
            query: self.query(id, record)?,
        })
    }

    /// Counts a pending order in its slot of first sight.
    pub fn enter_slot(&mut self, id: &OrderId, record: &Record) -> Result<(), StoreError> {
        self.touch(Key::Slots)?;
        let e = self.meta.as_ref().map_or(0, |meta| meta.e);
        let slot = self
            .slots
            .entry((id.type_id, slot_of(record.first_seen)))
            .or_insert(SlotFields {
                count: 0,
                e,
                first_seen: record.first_seen,
            });
        slot.count += 1;
        slot.e = slot.e.min(record.event_offset);
        slot.first_seen = slot.first_seen.min(record.first_seen);
        if let Some(meta) = &mut self.meta {
            meta.pending += 1;
        }
        Ok(())
    }

    /// Takes a pending order out of its slot; an empty slot goes.
    pub fn leave_slot(&mut self, id: &OrderId, record: &Record) -> Result<(), StoreError> {
        self.touch(Key::Slots)?;
        let key = (id.type_id, slot_of(record.first_seen));
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.count -= 1;
            if slot.count == 0 {
                self.slots.remove(&key);
            }
            if let Some(meta) = &mut self.meta {
                meta.pending -= 1;
            }
        }
        Ok(())
    }

    /// Counts an exhausted order; `offset` is that of its result.
    pub fn enter_exhausted(
        &mut self,
        id: &OrderId,
        known: bool,
        offset: u64,
    ) -> Result<(), StoreError> {
        self.touch(Key::Exhausted)?;
        self.exhausted.insert(*id, offset);
        if !known && let Some(count) = self.exhausted_count(id.type_id) {
            *count += 1;
        }
        Ok(())
    }

    /// Takes an order out of the exhausted ones.
    pub fn leave_exhausted(&mut self, id: &OrderId) -> Result<(), StoreError> {
        self.touch(Key::Exhausted)?;
        self.exhausted.remove(id);
        if let Some(count) = self.exhausted_count(id.type_id) {
            *count = count.saturating_sub(1);
        }
        Ok(())
    }

    fn exhausted_count(&mut self, type_id: TypeId) -> Option<&mut u64> {
        let types = &mut self.meta.as_mut()?.types;
        Some(&mut types.get_mut(&type_id)?.exhausted)
    }
}

fn slot_of(first_seen: Millis) -> u32 {
    (first_seen / 1000 / u64::from(SLOT_SECONDS)) as u32
}
