//! A complete picture of one shard's view, read key by key: all keys follow from the layout, from
//! the hours in the meta hash and from the records, so nothing is scanned. Not atomic.

use std::collections::{BTreeMap, BTreeSet};

use redis::Pipeline;

use super::errors::unreadable;
use super::{RedisStore, reply};
use crate::domain::order::{Mark, OrderKey, RECORD_HASHES, TypeId};
use crate::domain::record::Record;
use crate::domain::status::Status;
use crate::store::key::{Key, LAYOUT, MARK_HASHES};
use crate::store::script::Meta;
use crate::store::{Dump, Store, StoreError, field};

/// Keys read in one round trip.
const PAGE: usize = 128;

const MADE_ANEW: &str = "the view was made anew while it was read";

/// Shows every record of a view to `take`, some of them as they were a moment later than others, and
/// gives the meta as it was before the first; `None`: there is no view.
pub(super) async fn records(
    store: &RedisStore,
    shard: u16,
    mut take: impl FnMut(&Meta, OrderKey, &Record),
) -> Result<Option<Meta>, StoreError> {
    let Some(before) = store.meta(shard).await? else {
        return Ok(None);
    };
    // Types come in while it is read; positions stay those of the beginning.
    let reader = Reader { store, shard };
    let keys: Vec<_> = (0..RECORD_HASHES).map(Key::Records).collect();
    for page in keys.chunks(PAGE) {
        let fields = reader.all_fields(page).await?;
        let after = store.meta(shard).await?;
        let now = after
            .filter(|after| after.mark_key == before.mark_key)
            .ok_or_else(|| StoreError::Unavailable(MADE_ANEW.to_owned()))?;
        for (name, packed) in fields {
            let record = reply::record(&packed)?;
            let id = field::read(&name).ok_or_else(|| unreadable("a field that is none"))?;
            let mut types = now.types.iter();
            let (_, order_type, _) = types
                .find(|(type_id, _, _)| *type_id == id.type_id)
                .ok_or_else(|| unreadable("a record of an unknown type"))?;
            let key = OrderKey {
                order_type: order_type.clone(),
                req_no: id.req_no,
            };
            take(&before, key, &record);
        }
    }
    Ok(Some(before))
}

/// Reads the whole view of a shard.
pub(super) async fn dump(store: &RedisStore, shard: u16) -> Result<Dump, StoreError> {
    let reader = Reader { store, shard };
    let meta = reader.hashes(&[Key::Meta]).await?.remove(0);
    let Some(layout) = meta.get("layout") else {
        return Ok(Dump::default());
    };
    if layout != LAYOUT.as_bytes() {
        return Err(unreadable("another layout"));
    }
    let mut dump = Dump {
        meta: meta_texts(&meta)?,
        ..Dump::default()
    };
    let mut named = BTreeSet::new();
    let keys: Vec<_> = (0..RECORD_HASHES).map(Key::Records).collect();
    for (name, packed) in reader.all_fields(&keys).await? {
        let record = reply::record(&packed)?;
        let id = field::read(&name).ok_or_else(|| unreadable("a field that is none"))?;
        if record.bucket > 0 {
            named.insert((id.type_id, record.bucket));
        }
        dump.records.insert(order(&name)?, record);
    }
    let keys: Vec<_> = (0..RECORD_HASHES).map(Key::Queries).collect();
    for (name, query) in reader.all_fields(&keys).await? {
        let query = String::from_utf8(query).map_err(|_| unreadable("a query that is no text"))?;
        dump.queries.insert(order(&name)?, query);
    }
    for (type_id, second) in named {
        let entries = reader.bucket(type_id, second).await?;
        if !entries.is_empty() {
            let name = format!("{}.{second}", type_id.0);
            dump.buckets.insert(name, entries);
        }
    }
    for (hour, _) in reply::hours(meta.get("hours").unwrap_or_default()) {
        let keys: Vec<_> = (0..MARK_HASHES).map(|n| Key::Marks(hour, n)).collect();
        let mut marks = BTreeMap::new();
        for (name, value) in reader.all_fields(&keys).await? {
            let name = name.as_slice().try_into();
            let mark = name.map_err(|_| unreadable("a mark that is none"))?;
            let (status, offset) = reply::mark(&value)?;
            let code = Status::from(status).code().to_owned();
            marks.insert(Mark(mark), (code, offset));
        }
        if !marks.is_empty() {
            dump.marks.insert(hour, marks);
        }
    }
    dump.exhausted = reader.exhausted().await?;
    for (name, value) in reader.all_fields(&[Key::Slots]).await? {
        let (type_id, slot) = reply::slot_name(&name)?;
        let name = format!("{}.{slot}", type_id.0);
        dump.slots.insert(name, reply::slot_value(&value)?);
    }
    Ok(dump)
}

fn order(name: &[u8]) -> Result<String, StoreError> {
    let id = field::read(name).ok_or_else(|| unreadable("a field that is none"))?;
    Ok(format!("{}/{}", id.type_id.0, id.req_no))
}

fn meta_texts(meta: &reply::Fields) -> Result<BTreeMap<String, String>, StoreError> {
    let mut texts = BTreeMap::new();
    for name in [
        "layout", "shards", "epoch", "token", "version", "e", "r", "clock", "rebuild", "pending",
    ] {
        if let Some(value) = meta.get(name) {
            let value = String::from_utf8_lossy(value).into_owned();
            texts.insert(name.to_owned(), value);
        }
    }
    let key = u128::from_be_bytes(meta.mark_key()?.0);
    texts.insert("mark_key".to_owned(), format!("{key:032x}"));
    let hours = reply::hours(meta.get("hours").unwrap_or_default());
    let hours: Vec<_> = hours.iter().map(|(h, n)| format!("{h}:{n}")).collect();
    texts.insert("hours".to_owned(), hours.join(","));
    for (TypeId(id), name, cursor) in meta.types()? {
        texts.insert(format!("type.{id}"), name.to_string());
        texts.insert(format!("cursor.{id}"), cursor.to_string());
        let exhausted = meta.number_or_zero(&format!("x{id}"))?;
        texts.insert(format!("exhausted.{id}"), exhausted.to_string());
    }
    Ok(texts)
}

struct Reader<'a> {
    store: &'a RedisStore,
    shard: u16,
}

impl Reader<'_> {
    async fn hashes(&self, keys: &[Key]) -> Result<Vec<reply::Fields>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.hgetall(self.store.key(*key, self.shard));
        }
        let answers = self.all_of(&pipeline).await?;
        answers.into_iter().map(reply::fields).collect()
    }

    async fn all_of(&self, pipeline: &Pipeline) -> Result<Vec<redis::Value>, StoreError> {
        let meta = self.store.key(Key::Meta, self.shard);
        let connections = &self.store.connections;
        connections.send_all(self.shard, &meta, pipeline).await
    }

    async fn all_fields(&self, keys: &[Key]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let mut all = Vec::new();
        for page in keys.chunks(PAGE) {
            let hashes = self.hashes(page).await?;
            all.extend(hashes.into_iter().flat_map(|fields| fields.0));
        }
        Ok(all)
    }

    async fn bucket(&self, type_id: TypeId, second: u32) -> Result<Vec<(u32, String)>, StoreError> {
        let mut pipeline = Pipeline::new();
        let key = self.store.key(Key::Bucket(type_id, second), self.shard);
        pipeline.lrange(key, 0, -1);
        let mut answers = self.all_of(&pipeline).await?;
        let entries = reply::array(answers.remove(0))?;
        entries
            .map(|entry| {
                let (claim, number) = field::read_entry(&reply::bytes(entry)?)
                    .ok_or_else(|| unreadable("a bucket entry that is none"))?;
                Ok((claim, number.to_string()))
            })
            .collect()
    }

    async fn exhausted(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut pipeline = Pipeline::new();
        let key = self.store.key(Key::Exhausted, self.shard);
        pipeline.zrange_withscores(key, 0, -1);
        let mut answers = self.all_of(&pipeline).await?;
        let members = reply::fields(answers.remove(0))?;
        members
            .0
            .into_iter()
            .map(|(name, score)| Ok((order(&name)?, reply::number(&score)?)))
            .collect()
    }
}
