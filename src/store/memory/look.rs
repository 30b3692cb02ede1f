//! Taking a shard, and reading what its view holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::shard::{Fields, Shard};
use crate::domain::order::{Millis, OrderId, OrderKey, RECORD_HASHES, TypeId, TypeName};
use crate::domain::status::Status;
use crate::plant::{self, Plant};
use crate::store::key::{Key, LAYOUT};
use crate::store::script::{Found, Meta, Slot, Survey};
use crate::store::{Acquire, Acquired, Dump, StoreError};

impl Shard {
    pub fn acquire(&mut self, acquire: &Acquire, now: Millis) -> Result<Acquired, StoreError> {
        self.touch(Key::Meta)?;
        if let Some(meta) = &mut self.meta {
            if meta.shards != acquire.shards {
                return Err(StoreError::Corrupt(format!(
                    "the view was made for {} shards, not {}",
                    meta.shards, acquire.shards
                )));
            }
            meta.epoch += 1;
            meta.token = acquire.token;
            if plant::is(Plant::NoRebuildMark) {
                meta.rebuild = None;
            }
            meta.r = meta.rebuild.unwrap_or(meta.r);
        } else {
            let Some(floor) = acquire.floor else {
                return Ok(Acquired::Absent);
            };
            // What a lost meta hash left behind belongs to no view; marks and stale bucket entries
            // say nothing under a new secret and without their records.
            self.records.clear();
            self.queries.clear();
            self.exhausted.clear();
            self.slots.clear();
            self.damaged
                .retain(|key| matches!(key, Key::Bucket(..) | Key::Marks(..)));
            self.meta = Some(Fields {
                shards: acquire.shards,
                epoch: 1,
                token: acquire.token,
                version: 0,
                e: floor.e,
                r: floor.r,
                rebuild: Some(floor.r),
                clock: 0,
                mark_key: acquire.mark_key,
                types: BTreeMap::new(),
                hours: BTreeMap::new(),
                pending: 0,
            });
        }
        let meta = self.read_meta(now)?;
        Ok(meta.map_or(Acquired::Absent, Acquired::Owned))
    }

    pub fn read_meta(&self, now: Millis) -> Result<Option<Meta>, StoreError> {
        self.touch(Key::Meta)?;
        Ok(self.meta.as_ref().map(|meta| Meta {
            shards: meta.shards,
            epoch: meta.epoch,
            token: meta.token,
            version: meta.version,
            e: meta.e,
            r: meta.r,
            rebuild: meta.rebuild,
            clock: meta.clock,
            now,
            mark_key: meta.mark_key,
            types: meta.type_list(),
        }))
    }

    pub fn survey(&self) -> Result<Survey, StoreError> {
        let records = (0..RECORD_HASHES).map(Key::Records);
        for key in [Key::Meta, Key::Slots, Key::Exhausted]
            .into_iter()
            .chain(records)
        {
            self.touch(key)?;
        }
        let Some(meta) = &self.meta else {
            return Ok(Survey::default());
        };
        let exhausted = meta.types.iter().filter(|(_, fields)| fields.exhausted > 0);
        Ok(Survey {
            token: meta.token.0,
            e: meta.e,
            r: meta.r,
            rebuilding: meta.rebuild.is_some(),
            slots: self
                .slots
                .iter()
                .map(|((type_id, slot), fields)| Slot {
                    type_id: *type_id,
                    slot: *slot,
                    count: fields.count,
                    e: fields.e,
                    first_seen: fields.first_seen,
                })
                .collect(),
            exhausted: exhausted.map(|(id, f)| (*id, f.exhausted)).collect(),
            pending: Some(meta.pending),
            listed: self.exhausted.len() as u64,
            records: self.records.values().map(|of| of.len() as u64).sum(),
            oldest_exhaustion: self.exhausted.values().min().copied(),
            types: meta.type_list(),
        })
    }

    pub fn find(&self, order: &OrderKey) -> Result<Found, StoreError> {
        self.touch(Key::Meta)?;
        let Some(meta) = &self.meta else {
            return Ok(Found::Unknown);
        };
        let mut types = meta.types.iter();
        let id = types
            .find(|(_, fields)| fields.name == order.order_type)
            .map(|(type_id, _)| OrderId {
                type_id: *type_id,
                req_no: order.req_no,
            });
        self.look(id.as_ref(), &order.mark(&meta.mark_key), &self.hours())
    }

    /// Reads the keys that follow from the meta data and the records, as the Redis store does.
    pub fn dump(&self) -> Result<Dump, StoreError> {
        self.touch(Key::Meta)?;
        let Some(meta) = &self.meta else {
            return Ok(Dump::default());
        };
        let records = self.records.values().flatten();
        let named: BTreeSet<_> = records.map(|(id, r)| (id.type_id, r.bucket)).collect();
        let is_read = |key: &&Key| match key {
            Key::Bucket(type_id, second) => named.contains(&(*type_id, *second)),
            Key::Marks(hour, _) => meta.hours.contains_key(hour),
            _ => true,
        };
        if let Some(damaged) = self.damaged.iter().find(is_read) {
            self.touch(*damaged)?;
        }
        let mut dump = self.dump_all();
        let named: BTreeSet<_> = named
            .iter()
            .map(|(type_id, second)| format!("{}.{second}", type_id.0))
            .collect();
        dump.buckets.retain(|bucket, _| named.contains(bucket));
        dump.marks.retain(|hour, _| meta.hours.contains_key(hour));
        Ok(dump)
    }

    /// Everything, whether it is still in use or not.
    pub fn dump_all(&self) -> Dump {
        let order = |id: &OrderId| format!("{}/{}", id.type_id.0, id.req_no);
        let records = self.records.values().flatten();
        let marks = self.marks.iter().filter(|(_, marks)| !marks.is_empty());
        Dump {
            meta: self.meta.as_ref().map(Fields::dump).unwrap_or_default(),
            records: records.map(|(id, record)| (order(id), *record)).collect(),
            queries: self
                .queries
                .iter()
                .map(|(id, query)| (order(id), query.to_string()))
                .collect(),
            buckets: self
                .buckets
                .iter()
                .map(|((type_id, second), entries)| {
                    let entries = entries.iter().map(|e| (e.claim, e.req_no.to_string()));
                    (format!("{}.{second}", type_id.0), entries.collect())
                })
                .collect(),
            marks: marks
                .map(|(hour, marks)| {
                    let marks = marks.iter().map(|((_, mark), (status, offset))| {
                        let code = Status::from(*status).code();
                        (*mark, (code.to_owned(), *offset))
                    });
                    (*hour, marks.collect())
                })
                .collect(),
            exhausted: self
                .exhausted
                .iter()
                .map(|(id, o)| (order(id), *o))
                .collect(),
            slots: self
                .slots
                .iter()
                .map(|((type_id, slot), f)| {
                    (
                        format!("{}.{slot}", type_id.0),
                        (f.count, f.e, f.first_seen),
                    )
                })
                .collect(),
        }
    }

    pub fn lose(&mut self, key: Key) {
        match key {
            Key::Meta => self.meta = None,
            Key::Records(hash) => drop(self.records.remove(&hash)),
            Key::Queries(hash) => self.queries.retain(|id, _| id.record_hash() != hash),
            Key::Bucket(type_id, second) => drop(self.buckets.remove(&(type_id, second))),
            Key::Marks(hour, hash) => {
                if let Some(marks) = self.marks.get_mut(&hour) {
                    marks.retain(|(h, _), _| *h != hash);
                }
            }
            Key::Exhausted => self.exhausted.clear(),
            Key::Slots => self.slots.clear(),
        }
    }
}

impl Fields {
    fn type_list(&self) -> Vec<(TypeId, TypeName, u32)> {
        let types = self.types.iter();
        types
            .map(|(id, fields)| (*id, fields.name.clone(), fields.cursor))
            .collect()
    }

    fn dump(&self) -> BTreeMap<String, String> {
        let mut hours = String::new();
        for (hour, dropped) in &self.hours {
            let separator = if hours.is_empty() { "" } else { "," };
            // Writing to a string does not fail.
            write!(hours, "{separator}{hour}:{dropped}").unwrap_or_default();
        }
        let mut dump: BTreeMap<_, _> = [
            ("layout", LAYOUT.to_owned()),
            ("shards", self.shards.to_string()),
            ("epoch", self.epoch.to_string()),
            ("token", format!("{:016x}", self.token.0)),
            ("version", self.version.to_string()),
            ("e", self.e.to_string()),
            ("r", self.r.to_string()),
            ("clock", self.clock.to_string()),
            (
                "mark_key",
                format!("{:032x}", u128::from_be_bytes(self.mark_key.0)),
            ),
            ("hours", hours),
            ("pending", self.pending.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        if let Some(rebuild) = self.rebuild {
            dump.insert("rebuild".to_owned(), rebuild.to_string());
        }
        for (id, fields) in &self.types {
            dump.insert(format!("type.{}", id.0), fields.name.to_string());
            dump.insert(format!("cursor.{}", id.0), fields.cursor.to_string());
            dump.insert(format!("exhausted.{}", id.0), fields.exhausted.to_string());
        }
        dump
    }
}
