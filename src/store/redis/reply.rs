//! What the Lua scripts answer, read into the trait's words. An answer of another form is damage.

use std::collections::BTreeMap;
use std::vec::IntoIter;

use redis::Value;

use super::errors::unreadable;
use crate::domain::order::{MarkKey, Millis, OrderId, TypeId, TypeName};
use crate::domain::record::{PACKED_LEN, Record};
use crate::domain::status::{Status, Terminal};
use crate::store::ceiling::{Breaker, Known, Slots};
use crate::store::script::{
    Body, Claimed, Fold, Folded, Found, Meta, Reply, Reschedule, Script, Slot, Survey, Token,
};
use crate::store::{StoreError, field};

type Read<T> = Result<T, StoreError>;

/// Reads what an owner's script answered.
pub(super) fn reply(script: &Script, value: Value) -> Read<Reply> {
    if value == Value::Nil {
        return Ok(Reply::Mismatch);
    }
    match &script.body {
        Body::Lookup(_) => {
            let all = array(value)?.map(|one| found(&bytes(one)?));
            Ok(Reply::Found(all.collect::<Read<_>>()?))
        }
        Body::Settle(_) => Ok(Reply::Settled),
        Body::Sweep { hash, .. } => {
            let mut parts = array(value)?;
            Ok(Reply::Swept {
                repaired: int(&next(&mut parts)?)?,
                next_hash: hash + int::<u16>(&next(&mut parts)?)?,
            })
        }
        Body::Discard => Ok(Reply::Discarded),
        Body::DropMarks { .. } => Ok(Reply::MarksDropped {
            more: int::<u8>(&value)? == 1,
        }),
        Body::Fold(folds) => {
            let mut parts = array(value)?;
            let outcomes = next_bytes(&mut parts)?;
            let outcomes = outcomes.iter().map(|code| folded(*code));
            let outcomes = outcomes.collect::<Read<_>>()?;
            let id = |at: usize| folds.get(at).map(|fold: &Fold| fold.id);
            let claimed = claimed_by_index(parts, id)?;
            Ok(Reply::Folded { outcomes, claimed })
        }
        Body::Reschedule(all) => {
            let mut parts = array(value)?;
            let applied = next_bytes(&mut parts)?;
            let applied = applied.iter().map(|code| *code == b'1').collect();
            let id = |at: usize| all.get(at).map(|one: &Reschedule| one.id);
            let claimed = claimed_by_index(parts, id)?;
            Ok(Reply::Rescheduled { applied, claimed })
        }
        Body::Claim(_) => {
            let mut parts = array(value)?;
            let cursor = int(&next(&mut parts)?)?;
            let stale = int(&next(&mut parts)?)?;
            Ok(Reply::Claimed {
                claimed: claimed_by_field(parts)?,
                stale,
                cursor,
            })
        }
        Body::EndLeases { .. } => {
            let mut parts = array(value)?;
            let ended = int(&next(&mut parts)?)?;
            // A Lua table ends at its first nil.
            let next_second = parts.next().filter(|v| *v != Value::Nil);
            Ok(Reply::LeasesEnded {
                ended,
                next_second: next_second.as_ref().map(int).transpose()?,
            })
        }
    }
}

fn folded(code: u8) -> Read<Folded> {
    match code {
        b'A' => Ok(Folded::Added),
        b'K' => Ok(Folded::Known),
        b'S' => Ok(Folded::Settled),
        b'R' => Ok(Folded::Requeued),
        _ => Err(unreadable("an unknown outcome")),
    }
}

/// Reads `'' | 's' + mark | 'o' + record + query`.
pub(super) fn found(text: &[u8]) -> Read<Found> {
    match text.split_first() {
        None => Ok(Found::Unknown),
        Some((b's', value)) => {
            let (status, offset) = mark(value)?;
            Ok(Found::Settled { status, offset })
        }
        Some((b'o', rest)) => {
            let (packed, query) = split(rest, PACKED_LEN)?;
            Ok(Found::Open {
                record: record(packed)?,
                query: query_text(query)?,
            })
        }
        Some(_) => Err(unreadable("an unknown finding")),
    }
}

/// A mark's value: status code and result offset.
pub(super) fn mark(value: &[u8]) -> Read<(Terminal, u64)> {
    let (code, offset) = split(value, 1)?;
    let code = std::str::from_utf8(code).unwrap_or_default();
    let status = Status::from_code(code).map(Status::split);
    match (status, offset.len()) {
        (Some(Ok(status)), 6) => Ok((status, big_endian(offset))),
        _ => Err(unreadable("a mark that is none")),
    }
}

/// A slot's value: count, `E`, earliest first sight.
pub(super) fn slot_value(value: &[u8]) -> Read<(u64, u64, Millis)> {
    if value.len() != 16 {
        return Err(unreadable("a slot that is none"));
    }
    Ok((
        big_endian(&value[..4]),
        big_endian(&value[4..10]),
        big_endian(&value[10..]),
    ))
}

/// Reads a packed record.
pub(super) fn record(packed: &[u8]) -> Read<Record> {
    Record::unpack(packed).ok_or_else(|| unreadable("a record that is none"))
}

/// The hours that have marks and the first hash of each that was not dropped yet.
pub(super) fn hours(packed: &[u8]) -> Vec<(u32, u16)> {
    let hours = packed.chunks_exact(6);
    hours
        .map(|hour| (big_endian(&hour[..4]) as u32, big_endian(&hour[4..]) as u16))
        .collect()
}

/// Reads `{Redis TIME, fields}`; `None` without a view.
pub(super) fn meta(value: Value) -> Read<Option<Meta>> {
    if value == Value::Nil {
        return Ok(None);
    }
    let mut parts = array(value)?;
    let mut time = array(next(&mut parts)?)?;
    let seconds: u64 = number(&next_bytes(&mut time)?)?;
    let micros: u64 = number(&next_bytes(&mut time)?)?;
    let fields = fields(next(&mut parts)?)?;
    Ok(Some(Meta {
        now: seconds * 1000 + micros / 1000,
        shards: fields.number("shards")?,
        epoch: fields.number("epoch")?,
        token: fields.token()?,
        version: fields.number("version")?,
        e: fields.number("e")?,
        r: fields.number("r")?,
        rebuild: fields.rebuild()?,
        clock: fields.number("clock")?,
        mark_key: fields.mark_key()?,
        types: fields.types()?,
    }))
}

/// Reads what `survey.lua` answers.
pub(super) fn survey(value: Value) -> Read<Survey> {
    let mut parts = array(value)?;
    let meta = fields(next(&mut parts)?)?;
    if meta.is_empty() {
        return Ok(Survey::default());
    }
    let mut slots = Vec::new();
    for (name, value) in fields(next(&mut parts)?)?.0 {
        let (type_id, slot) = slot_name(&name)?;
        let (count, e, first_seen) = slot_value(&value)?;
        slots.push(Slot {
            type_id,
            slot,
            count,
            e,
            first_seen,
        });
    }
    slots.sort_unstable_by_key(|slot| (slot.type_id, slot.slot));
    let oldest = array(next(&mut parts)?)?.nth(1);
    let listed = int(&next(&mut parts)?)?;
    let records = int(&next(&mut parts)?)?;
    let types = meta.types()?;
    let mut exhausted = Vec::new();
    for (id, _, _) in &types {
        let count: u64 = meta.number_or_zero(&format!("x{}", id.0))?;
        if count > 0 {
            exhausted.push((*id, count));
        }
    }
    Ok(Survey {
        token: meta.token()?.0,
        e: meta.number("e")?,
        r: meta.number("r")?,
        rebuilding: meta.rebuild()?.is_some(),
        slots,
        exhausted,
        pending: meta.get("pending").map(number).transpose()?,
        listed,
        records,
        oldest_exhaustion: oldest.map(|score| number(&bytes(score)?)).transpose()?,
        types,
    })
}

/// `<type id>.<slot>`.
pub(super) fn slot_name(name: &[u8]) -> Read<(TypeId, u32)> {
    let text = std::str::from_utf8(name).unwrap_or_default();
    let parts = text.split_once('.');
    let read = parts.and_then(|(id, slot)| Some((TypeId(id.parse().ok()?), slot.parse().ok()?)));
    read.ok_or_else(|| unreadable("a slot without a name"))
}

/// The fields of a hash.
pub(super) struct Fields(pub BTreeMap<Vec<u8>, Vec<u8>>);

/// Reads fields and values in turn.
pub(super) fn fields(value: Value) -> Read<Fields> {
    let mut parts = array(value)?;
    let mut fields = BTreeMap::new();
    while let Some(name) = parts.next() {
        fields.insert(bytes(name)?, next_bytes(&mut parts)?);
    }
    Ok(Fields(fields))
}

impl Fields {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name.as_bytes()).map(Vec::as_slice)
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Read<T> {
        let value = self.get(name);
        number(value.ok_or_else(|| unreadable(&format!("no {name}")))?)
    }

    pub fn number_or_zero(&self, name: &str) -> Read<u64> {
        self.get(name).map_or(Ok(0), number)
    }

    pub fn rebuild(&self) -> Read<Option<u64>> {
        self.get("rebuild").map(number).transpose()
    }

    pub fn token(&self) -> Read<Token> {
        let text = std::str::from_utf8(self.get("token").unwrap_or_default());
        let token = text.ok().and_then(|t| u64::from_str_radix(t, 16).ok());
        token.map(Token).ok_or_else(|| unreadable("no token"))
    }

    pub fn mark_key(&self) -> Read<MarkKey> {
        let key = self.get("mark_key").unwrap_or_default().try_into();
        key.map(MarkKey).map_err(|_| unreadable("no mark key"))
    }

    /// Name, id and cursor of each type, by id.
    pub fn types(&self) -> Read<Vec<(TypeId, TypeName, u32)>> {
        let mut types = Vec::new();
        for (field, name) in self.0.range(b"t".to_vec()..b"u".to_vec()) {
            let Ok(id) = number::<u8>(&field[1..]) else {
                continue; // `token`
            };
            let name = std::str::from_utf8(name).ok().and_then(TypeName::new);
            let name = name.ok_or_else(|| unreadable("a type without a name"))?;
            types.push((TypeId(id), name, self.number(&format!("c{id}"))?));
        }
        types.sort_unstable_by_key(|(id, _, _)| *id);
        Ok(types)
    }
}

type Parts = IntoIter<Value>;

/// `(entry u16, record) ...`, then the queries of those that have one.
fn claimed_by_index(mut parts: Parts, id: impl Fn(usize) -> Option<OrderId>) -> Read<Vec<Claimed>> {
    let packed = next_bytes(&mut parts)?;
    let mut claimed = Vec::new();
    for one in packed.chunks(2 + PACKED_LEN) {
        let (at, packed) = split(one, 2)?;
        let id = id(big_endian(at) as usize).ok_or_else(|| unreadable("an unknown entry"))?;
        claimed.push(claimed_one(id, packed, &mut parts)?);
    }
    Ok(claimed)
}

/// `(length u8, field, record) ...`, then the queries of those that have one.
fn claimed_by_field(mut parts: Parts) -> Read<Vec<Claimed>> {
    let packed = next_bytes(&mut parts)?;
    let mut rest = packed.as_slice();
    let mut claimed = Vec::new();
    while let Some((len, after)) = rest.split_first() {
        let (field, after) = split(after, usize::from(*len))?;
        let (packed, after) = split(after, PACKED_LEN)?;
        let id = field::read(field).ok_or_else(|| unreadable("a field that is none"))?;
        claimed.push(claimed_one(id, packed, &mut parts)?);
        rest = after;
    }
    Ok(claimed)
}

fn claimed_one(id: OrderId, packed: &[u8], queries: &mut Parts) -> Read<Claimed> {
    let record = record(packed)?;
    let query = if record.has_query {
        query_text(&next_bytes(queries)?)?
    } else {
        None
    };
    Ok(Claimed { id, record, query })
}

/// An empty text: the query was lost.
fn query_text(text: &[u8]) -> Read<Option<Box<str>>> {
    let text = std::str::from_utf8(text).map_err(|_| unreadable("a query that is no text"))?;
    Ok((!text.is_empty()).then(|| text.into()))
}

fn split(text: &[u8], at: usize) -> Read<(&[u8], &[u8])> {
    text.split_at_checked(at)
        .ok_or_else(|| unreadable("too few bytes"))
}

fn big_endian(value: &[u8]) -> u64 {
    value.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// A number as text.
pub(super) fn number<T: std::str::FromStr>(text: &[u8]) -> Read<T> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse()
        .map_err(|_| unreadable("a number that is none"))
}

fn int<T: TryFrom<i64>>(value: &Value) -> Read<T> {
    match value {
        Value::Int(n) => T::try_from(*n).map_err(|_| unreadable("a number out of range")),
        _ => Err(unreadable("no number")),
    }
}

/// The bytes of a string.
pub(super) fn bytes(value: Value) -> Read<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(unreadable("no string")),
    }
}

/// The parts of an array.
pub(super) fn array(value: Value) -> Read<Parts> {
    match value {
        Value::Array(parts) => Ok(parts.into_iter()),
        _ => Err(unreadable("no array")),
    }
}

fn next(parts: &mut Parts) -> Read<Value> {
    parts.next().ok_or_else(|| unreadable("too few parts"))
}

fn next_bytes(parts: &mut Parts) -> Read<Vec<u8>> {
    bytes(next(parts)?)
}

/// Reads what `reserve.lua` answers.
pub(super) fn slots(value: Value) -> Read<Slots> {
    let mut parts = array(value)?;
    let mut number = || -> Read<u64> { int(&next(&mut parts)?) };
    let first_in_us = number()?;
    let mut counts = [0; 3];
    for count in &mut counts {
        *count = number()? as u32;
    }
    let (spacing_us, mode, for_us) = (number()?, number()?, number()?);
    let (born_us, at_us) = (number()?, number()?);
    Ok(Slots {
        first_in_us,
        counts,
        spacing_us,
        held_us: number()?,
        known: Known {
            born_us,
            at_us,
            breaker: match mode {
                0 => Breaker::Closed,
                1 => Breaker::Open,
                2 => Breaker::Closing { for_us },
                _ => return Err(unreadable("a breaker that is none")),
            },
        },
    })
}
