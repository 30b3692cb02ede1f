//! An owner's script as the arguments of its Lua script. The forms are those that the scripts'
//! headers tell; entries are packed, big-endian, so that a batch is one argument.

use std::collections::BTreeSet;

use redis::Cmd;

use super::source::{self, Source};
use crate::domain::order::{Mark, Millis, OrderId, RECORD_HASHES, TypeId};
use crate::domain::record::Record;
use crate::domain::status::{Status, Terminal};
use crate::store::field;
use crate::store::key::{MARK_HASHES, hash_name, mark_hash};
use crate::store::script::{
    BATCH, Body, Fold, Lookup, Reschedule, Script, Settle, SettleOne, SettleOutcome,
};

/// Which Lua script runs this body.
pub(super) fn source(body: &Body) -> &'static Source {
    match body {
        Body::Fold(_) => &source::FOLD,
        Body::Lookup(_) => &source::LOOKUP,
        Body::Claim(_) => &source::CLAIM,
        Body::Reschedule(_) => &source::RESCHEDULE,
        Body::Settle(_) => &source::SETTLE,
        Body::EndLeases { .. } => &source::END_LEASES,
        Body::Sweep { .. } => &source::SWEEP,
        Body::Discard => &source::DISCARD,
        Body::DropMarks { .. } => &source::DROP_MARKS,
    }
}

/// Adds all arguments of the script; `types` are those that its body names.
pub(super) fn arguments(script: &Script, types: &BTreeSet<TypeId>, command: &mut Cmd) {
    let types: Vec<u8> = types.iter().map(|id| id.0).collect();
    let mut new_types = Packed::default();
    for (id, name, cursor) in &script.new_types {
        new_types.u8(id.0).u32(*cursor);
        new_types.counted(name.as_str().as_bytes());
    }
    command
        .arg(field::token(script.token))
        .arg(script.version)
        .arg(script.version.wrapping_add(1))
        .arg(script.clock)
        .arg(script.e)
        .arg(u8::from(script.ends_rebuild))
        .arg(types)
        .arg(new_types.0);
    body(&script.body, command);
}

fn body(body: &Body, command: &mut Cmd) {
    match body {
        Body::Fold(folds) => {
            let mut packed = Packed::default();
            for fold in folds {
                packed.fold(fold);
            }
            command.arg(packed.0);
            for query in folds.iter().filter_map(|fold| fold.query.as_deref()) {
                command.arg(query);
            }
        }
        Body::Lookup(lookups) => {
            let mut packed = Packed::default();
            for lookup in lookups {
                packed.lookup(lookup);
            }
            command.arg(packed.0);
        }
        Body::Claim(claim) => {
            command
                .arg(claim.type_id.0)
                .arg(claim.to_second)
                .arg(claim.limit)
                .arg(claim.lease_second)
                .arg(claim.after);
        }
        Body::Reschedule(all) => {
            let mut packed = Packed::default();
            for one in all {
                packed.reschedule(one);
            }
            command.arg(packed.0);
        }
        Body::Settle(settle) => results(settle, command),
        Body::EndLeases {
            type_id,
            from_second,
            to_second,
        } => {
            command.arg(type_id.0).arg(*from_second).arg(*to_second);
        }
        Body::Sweep {
            hash,
            slack_seconds,
            ..
        } => {
            let until = RECORD_HASHES.min(hash.saturating_add(BATCH as u16));
            command.arg(hash_names(*hash, until)).arg(*slack_seconds);
        }
        Body::DropMarks { before_hour } => {
            command.arg(*before_hour).arg(hash_names(0, MARK_HASHES));
        }
        Body::Discard => {}
    }
}

fn results(settle: &Settle, command: &mut Cmd) {
    let mut packed = Packed::default();
    for one in &settle.results {
        packed.result(one);
    }
    command.arg(settle.from_r).arg(settle.to_r).arg(packed.0);
    for one in &settle.results {
        if let SettleOutcome::Exhausted {
            query: Some(query), ..
        } = &one.outcome
        {
            command.arg(&**query);
        }
    }
}

/// The names of hashes of one kind.
pub(super) fn hash_names(from: u16, until: u16) -> Vec<u8> {
    (from..until).flat_map(|hash| hash_name(hash).0).collect()
}

const REQUEUE: u8 = 1;
const EXHAUSTED: u8 = 1;
const WITH_QUERY: u8 = 2;
const STILL_ASKED: u8 = 4;
const LEAVES_MARK: u8 = 8;

/// A growing argument.
#[derive(Default)]
struct Packed(Vec<u8>);

impl Packed {
    fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u48(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes()[2..])
    }

    fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    fn counted(&mut self, value: &[u8]) -> &mut Self {
        self.u8(value.len() as u8).bytes(value)
    }

    fn mark(&mut self, mark: &Mark) -> &mut Self {
        self.hash(mark_hash(mark)).bytes(&mark.0)
    }

    fn field(&mut self, id: &OrderId) -> &mut Self {
        let at = self.0.len();
        self.u8(0);
        field::write(id, &mut self.0);
        self.0[at] = (self.0.len() - at - 1) as u8;
        self
    }

    fn hash(&mut self, hash: u16) -> &mut Self {
        self.bytes(&hash_name(hash).0)
    }

    /// The due second, plain and rounded up.
    fn seconds(&mut self, due: Millis, granule: u32) -> &mut Self {
        let second = (due / 1000) as u32;
        self.u32(second)
            .u32(second.next_multiple_of(granule.max(1)))
    }

    /// What `due` becomes when it is rounded up.
    fn coarse_due(&mut self, due: Millis, granule: u32) -> &mut Self {
        let coarse = (due / 1000).next_multiple_of(granule.max(1).into());
        self.u48(coarse * 1000 + due % 1000)
    }

    /// The flags that are the worker's to say: what was last said about the order.
    fn flags(&mut self, record: &Record) -> &mut Self {
        let said = Record {
            leased: false,
            exhausted: false,
            has_query: false,
            ..*record
        };
        self.u8(said.pack()[8])
    }

    fn fold(&mut self, fold: &Fold) {
        let has_query = fold.query.is_some();
        self.u8(u8::from(fold.requeue.is_some()) * REQUEUE + u8::from(has_query) * WITH_QUERY)
            .u16(fold.requeue.unwrap_or(0))
            .hash(fold.id.record_hash())
            .seconds(fold.record.due, fold.placement.granule)
            .u32(fold.placement.lease_second)
            .mark(&fold.mark)
            .coarse_due(fold.record.due, fold.placement.granule)
            .flags(&fold.record)
            .bytes(&fold.record.pack()[9..])
            .field(&fold.id);
    }

    fn lookup(&mut self, lookup: &Lookup) {
        self.hash(lookup.id.as_ref().map_or(0, OrderId::record_hash))
            .mark(&lookup.mark);
        match &lookup.id {
            Some(id) => self.field(id),
            None => self.u8(0),
        };
    }

    fn reschedule(&mut self, one: &Reschedule) {
        let packed = one.record.pack();
        self.u32(one.claim)
            .hash(one.id.record_hash())
            .seconds(one.record.due, one.placement.granule)
            .u32(one.placement.lease_second)
            .coarse_due(one.record.due, one.placement.granule)
            .flags(&one.record)
            .bytes(&packed[9..15])
            .bytes(&packed[21..])
            .field(&one.id);
    }

    fn result(&mut self, one: &SettleOne) {
        let (kind, status, hour) = match &one.outcome {
            SettleOutcome::Settled { status, mark_hour } => {
                let kind = u8::from(mark_hour.is_some()) * LEAVES_MARK;
                (kind, *status, mark_hour.unwrap_or(0))
            }
            SettleOutcome::Exhausted { query, granule, .. } => {
                let with_query = u8::from(query.is_some()) * WITH_QUERY;
                let still_asked = u8::from(granule.is_some()) * STILL_ASKED;
                // The status of a result that settles nothing is not read.
                (EXHAUSTED + with_query + still_asked, Terminal::Failure, 0)
            }
        };
        self.u8(kind)
            .bytes(Status::from(status).code().as_bytes())
            .u48(one.offset)
            .u32(hour)
            .hash(one.id.as_ref().map_or(0, OrderId::record_hash))
            .mark(&one.mark);
        match &one.id {
            Some(id) => self.field(id),
            None => self.u8(0),
        };
        if let SettleOutcome::Exhausted {
            record, granule, ..
        } = &one.outcome
        {
            let granule = granule.unwrap_or(1);
            self.seconds(record.due, granule)
                .coarse_due(record.due, granule)
                .u16(record.phase)
                .flags(record)
                .bytes(&record.pack()[9..]);
        }
    }
}
