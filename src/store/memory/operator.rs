//! What operators read and say, in memory.

use std::sync::PoisonError;

use super::MemoryStore;
use super::shard::Shard;
use crate::domain::order::OrderKey;
use crate::store::key::Key;
use crate::store::operator::{Exhausted, ExhaustedPage, OperatorStore, Span, TypePause};
use crate::store::script::BATCH;
use crate::store::{StoreError, field};

impl OperatorStore for MemoryStore {
    async fn exhausted(
        &self,
        shard: u16,
        span: Span,
        limit: usize,
    ) -> Result<ExhaustedPage, StoreError> {
        self.exhausted_now(shard, span, limit)
    }

    async fn pauses(&self) -> Result<Vec<TypePause>, StoreError> {
        let pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(pauses.values().cloned().collect())
    }

    async fn put_pause(&self, pause: &TypePause) -> Result<TypePause, StoreError> {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = pauses
            .entry(pause.order_type.clone())
            .or_insert_with(|| pause.clone());
        if stands.at < pause.at {
            stands.clone_from(pause);
        }
        Ok(stands.clone())
    }
}

impl MemoryStore {
    /// As [`OperatorStore::exhausted`].
    pub fn exhausted_now(
        &self,
        shard: u16,
        span: Span,
        limit: usize,
    ) -> Result<ExhaustedPage, StoreError> {
        self.with(shard, |shard| shard.list_exhausted(span, limit))
    }
}

impl Shard {
    fn list_exhausted(&self, span: Span, limit: usize) -> Result<ExhaustedPage, StoreError> {
        self.touch(Key::Meta)?;
        let Some(meta) = &self.meta else {
            return Ok(ExhaustedPage::default());
        };
        self.touch(Key::Exhausted)?;
        let limit = limit.clamp(1, BATCH);
        let is_within = |offset: u64| offset >= span.from && span.to.is_none_or(|to| offset < to);
        let mut listed: Vec<_> = self
            .exhausted
            .iter()
            .map(|(id, offset)| (*offset, *id))
            .filter(|(offset, _)| is_within(*offset))
            .collect();
        // Offsets of one log differ; should two agree, Redis goes by the field.
        listed.sort_by_cached_key(|(offset, id)| (*offset, field::field(id)));
        listed.truncate(limit);
        let next = listed.last().filter(|_| listed.len() == limit);
        let next = next.map(|(offset, _)| offset + 1);
        let mut orders = Vec::with_capacity(listed.len());
        for (offset, id) in listed {
            let hash = id.record_hash();
            self.touch(Key::Records(hash))?;
            let record = self.records.get(&hash).and_then(|of| of.get(&id));
            if let Some(record) = record.filter(|record| record.exhausted)
                && let Some(fields) = meta.types.get(&id.type_id)
            {
                orders.push(Exhausted {
                    key: OrderKey {
                        order_type: fields.name.clone(),
                        req_no: id.req_no,
                    },
                    record: *record,
                    offset,
                });
            }
        }
        Ok(ExhaustedPage { orders, next })
    }
}
