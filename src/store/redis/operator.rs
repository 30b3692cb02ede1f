//! What operators read and say, in Redis. The list is read by plain commands, 100 entries at most
//! each, so that it never holds Redis for longer than an owner's script does.

use redis::Pipeline;

use super::errors::{store_error, unreadable};
use super::{RedisStore, reply, source};
use crate::domain::order::{OrderId, OrderKey, TypeName};
use crate::store::key::{self, Key};
use crate::store::operator::{Exhausted, ExhaustedPage, OperatorStore, Span, TypePause};
use crate::store::script::{BATCH, Meta};
use crate::store::{Store, StoreError, field};

impl OperatorStore for RedisStore {
    async fn exhausted(
        &self,
        shard: u16,
        span: Span,
        limit: usize,
    ) -> Result<ExhaustedPage, StoreError> {
        let Some(before) = self.meta(shard).await? else {
            return Ok(ExhaustedPage::default());
        };
        let limit = limit.clamp(1, BATCH);
        let listed = self.listed(shard, span, limit).await?;
        let next = listed.last().filter(|_| listed.len() == limit);
        let next = next.map(|(_, offset)| offset + 1);
        let records = self.records_of(shard, &listed).await?;
        // Types come in while it is read; under another secret the numbers mean other types.
        let now = self.meta(shard).await?;
        let meta = now
            .filter(|now| now.mark_key == before.mark_key)
            .ok_or_else(|| StoreError::Unavailable("the view is being made anew".to_owned()))?;
        let mut orders = Vec::with_capacity(listed.len());
        for ((id, offset), packed) in listed.iter().zip(records) {
            let Some(packed) = packed else { continue };
            let record = reply::record(&packed)?;
            if record.exhausted {
                orders.push(Exhausted {
                    key: key_of(&meta, id)?,
                    record,
                    offset: *offset,
                });
            }
        }
        Ok(ExhaustedPage { orders, next })
    }

    async fn pauses(&self) -> Result<Vec<TypePause>, StoreError> {
        let mut command = redis::cmd("HGETALL");
        let key = key::pauses(&self.prefix);
        command.arg(&key);
        let answer = self.connections.send(0, &key, &command).await;
        let words = reply::fields(answer.map_err(|e| store_error(&e))?)?;
        let mut pauses = words
            .0
            .iter()
            .map(|(name, word)| {
                let name = std::str::from_utf8(name).ok().and_then(TypeName::new);
                read(name, word)
            })
            .collect::<Result<Vec<_>, _>>()?;
        pauses.sort_unstable_by(|one, other| one.order_type.cmp(&other.order_type));
        Ok(pauses)
    }

    async fn put_pause(&self, pause: &TypePause) -> Result<TypePause, StoreError> {
        let key = key::pauses(&self.prefix);
        let arguments = |command: &mut redis::Cmd| {
            command
                .arg(pause.order_type.as_str())
                .arg(pause.at)
                .arg(word(pause));
        };
        let stands = self.connections.call(0, &source::PAUSE, &key, &arguments);
        let stands = reply::bytes(stands.await?)?;
        read(Some(pause.order_type.clone()), &stands)
    }
}

impl RedisStore {
    async fn listed(
        &self,
        shard: u16,
        span: Span,
        limit: usize,
    ) -> Result<Vec<(OrderId, u64)>, StoreError> {
        let to = span.to.map_or("+inf".to_owned(), |to| format!("({to}"));
        let mut command = redis::cmd("ZRANGE");
        let key = self.key(Key::Exhausted, shard);
        command
            .arg(&key)
            .arg(span.from)
            .arg(to)
            .arg("BYSCORE")
            .arg("LIMIT")
            .arg(0)
            .arg(limit)
            .arg("WITHSCORES");
        let answer = self.connections.send(shard, &key, &command).await;
        let mut parts = reply::array(answer.map_err(|e| store_error(&e))?)?;
        let mut listed = Vec::with_capacity(limit);
        while let (Some(name), Some(score)) = (parts.next(), parts.next()) {
            let id = field::read(&reply::bytes(name)?);
            let id = id.ok_or_else(|| unreadable("a field that is none"))?;
            listed.push((id, reply::number(&reply::bytes(score)?)?));
        }
        Ok(listed)
    }

    async fn records_of(
        &self,
        shard: u16,
        listed: &[(OrderId, u64)],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if listed.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(listed.len());
        for (id, _) in listed {
            let hash = self.key(Key::Records(id.record_hash()), shard);
            pipeline.hget(hash, field::field(id));
        }
        let meta = self.key(Key::Meta, shard);
        let records = self.connections.send_all(shard, &meta, &pipeline).await?;
        let records = records.into_iter().map(|value| match value {
            redis::Value::Nil => Ok(None),
            value => reply::bytes(value).map(Some),
        });
        records.collect()
    }
}

fn key_of(meta: &Meta, id: &OrderId) -> Result<OrderKey, StoreError> {
    let mut types = meta.types.iter();
    let (_, order_type, _) = types
        .find(|(type_id, _, _)| *type_id == id.type_id)
        .ok_or_else(|| unreadable("an exhausted order of an unknown type"))?;
    Ok(OrderKey {
        order_type: order_type.clone(),
        req_no: id.req_no,
    })
}

fn word(pause: &TypePause) -> String {
    let said = serde_json::json!([pause.actor, pause.reason]);
    format!("{} {} {said}", pause.at, u8::from(pause.paused))
}

fn read(order_type: Option<TypeName>, word: &[u8]) -> Result<TypePause, StoreError> {
    let none = || unreadable("a pause that is none");
    let text = std::str::from_utf8(word).map_err(|_| none())?;
    let mut parts = text.splitn(3, ' ');
    let mut part = || parts.next().ok_or_else(none);
    let (at, paused, said) = (part()?, part()?, part()?);
    let (actor, reason) = serde_json::from_str(said).map_err(|_| none())?;
    Ok(TypePause {
        order_type: order_type.ok_or_else(none)?,
        at: at.parse().map_err(|_| none())?,
        paused: paused == "1",
        actor,
        reason,
    })
}
