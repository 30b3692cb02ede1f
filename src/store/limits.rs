//! What both stores refuse before anything runs: scripts that are too large or contradict
//! themselves. Pure; only programming errors end here, so the answer is [`StoreError::Corrupt`].

use std::collections::BTreeSet;

use super::StoreError;
use super::script::{BATCH, Body, Placement, Script, SettleOne, SettleOutcome};
use crate::domain::order::{Millis, RECORD_HASHES, TypeId};
use crate::domain::record::Record;

/// The last second that a bucket may have, so that rounding up and `cursor + 1` stay in 32 bits.
const LAST_SECOND: u64 = u32::MAX as u64 - LARGEST_GRANULE as u64 - 1;
const LARGEST_GRANULE: u32 = 1 << 20;
/// Offsets and times are kept in six bytes.
const LARGEST_OFFSET: u64 = (1 << 48) - 1;
/// Counters are compared as doubles in Lua.
const LARGEST_COUNTER: u64 = 1 << 53;

/// Refuses what no store runs and returns the types that the script's body names.
pub fn check(script: &Script) -> Result<BTreeSet<TypeId>, StoreError> {
    if script.new_types.len() > BATCH || entries(&script.body) > BATCH {
        return Err(refused("more entries than a script may take"));
    }
    for (_, _, cursor) in &script.new_types {
        check_second((*cursor).into())?;
    }
    check_counter(script.e)?;
    check_counter(script.clock)?;
    let changes = !script.new_types.is_empty() || script.ends_rebuild;
    if matches!(script.body, Body::Lookup(_)) && changes {
        return Err(refused("a lookup that changes something"));
    }
    check_body(&script.body)?;
    Ok(types(&script.body))
}

fn entries(body: &Body) -> usize {
    match body {
        Body::Fold(folds) => folds.len(),
        Body::Lookup(lookups) => lookups.len(),
        Body::Claim(claim) => claim.limit.into(),
        Body::Reschedule(all) => all.len(),
        Body::Settle(settle) => settle.results.len(),
        Body::EndLeases { .. } | Body::Sweep { .. } | Body::DropMarks { .. } | Body::Discard => 0,
    }
}

fn types(body: &Body) -> BTreeSet<TypeId> {
    match body {
        Body::Fold(folds) => folds.iter().map(|fold| fold.id.type_id).collect(),
        Body::Lookup(lookups) => {
            let ids = lookups.iter().filter_map(|lookup| lookup.id);
            ids.map(|id| id.type_id).collect()
        }
        Body::Claim(claim) => BTreeSet::from([claim.type_id]),
        Body::Reschedule(all) => all.iter().map(|one| one.id.type_id).collect(),
        Body::Settle(settle) => {
            let ids = settle.results.iter().filter_map(|one| one.id);
            ids.map(|id| id.type_id).collect()
        }
        Body::EndLeases { type_id, .. } => BTreeSet::from([*type_id]),
        Body::Sweep { types, .. } => types.iter().copied().collect(),
        Body::DropMarks { .. } | Body::Discard => BTreeSet::new(),
    }
}

fn check_body(body: &Body) -> Result<(), StoreError> {
    match body {
        Body::Fold(folds) => folds.iter().try_for_each(|fold| {
            check_placement(fold.record.due, fold.placement)?;
            check_record(&fold.record)
        }),
        Body::Reschedule(all) => all.iter().try_for_each(|one| {
            check_placement(one.record.due, one.placement)?;
            check_record(&one.record)
        }),
        Body::Settle(settle) => {
            check_counter(settle.to_r)?;
            settle.results.iter().try_for_each(check_result)
        }
        Body::Claim(claim) => {
            if claim.lease_second <= claim.to_second || claim.limit == 0 {
                return Err(refused("a claim without a lease or a limit"));
            }
            check_second(claim.lease_second.into())
        }
        Body::EndLeases { to_second, .. } => check_second((*to_second).into()),
        Body::Sweep { hash, .. } if *hash >= RECORD_HASHES => Err(refused("a hash that is none")),
        Body::Lookup(_) | Body::Sweep { .. } | Body::DropMarks { .. } | Body::Discard => Ok(()),
    }
}

fn check_result(one: &SettleOne) -> Result<(), StoreError> {
    check_offset(one.offset)?;
    let SettleOutcome::Exhausted {
        record, granule, ..
    } = &one.outcome
    else {
        return Ok(());
    };
    if one.id.is_none() {
        return Err(refused("an exhausted order without a type id"));
    }
    let placement = Placement {
        granule: granule.unwrap_or(1),
        lease_second: 0,
    };
    check_placement(record.due, placement)?;
    check_record(record)
}

fn check_record(record: &Record) -> Result<(), StoreError> {
    check_offset(record.event_offset)?;
    check_offset(record.first_seen)
}

fn check_placement(due: Millis, placement: Placement) -> Result<(), StoreError> {
    if placement.granule > LARGEST_GRANULE {
        return Err(refused("a granule of more than 2^20 seconds"));
    }
    check_second(placement.lease_second.into())?;
    check_second(due / 1000)
}

fn check_second(second: u64) -> Result<(), StoreError> {
    if second > LAST_SECOND {
        return Err(refused("a second beyond the year 2105"));
    }
    Ok(())
}

fn check_offset(offset: u64) -> Result<(), StoreError> {
    if offset > LARGEST_OFFSET {
        return Err(refused("an offset or a time of more than 48 bits"));
    }
    Ok(())
}

fn check_counter(counter: u64) -> Result<(), StoreError> {
    if counter > LARGEST_COUNTER {
        return Err(refused("a counter of more than 53 bits"));
    }
    Ok(())
}

fn refused(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the script was not sent: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::order::Mark;
    use crate::store::script::{Claim, Lookup, Token};

    fn script(body: Body) -> Script {
        Script {
            token: Token(1),
            version: 0,
            clock: 0,
            e: 0,
            ends_rebuild: false,
            new_types: Vec::new(),
            body,
        }
    }

    #[test]
    fn a_script_of_more_than_a_batch_is_refused() {
        let lookup = Lookup {
            id: None,
            mark: Mark([0; 12]),
        };
        assert!(check(&script(Body::Lookup(vec![lookup.clone(); BATCH]))).is_ok());
        assert!(check(&script(Body::Lookup(vec![lookup; BATCH + 1]))).is_err());
    }

    #[test]
    fn a_claim_needs_a_limit_and_a_lease_after_its_last_second() {
        let claim = Claim {
            type_id: TypeId(0),
            after: 0,
            to_second: 10,
            limit: 1,
            lease_second: 11,
        };
        assert!(check(&script(Body::Claim(claim))).is_ok());
        for wrong in [
            Claim { limit: 0, ..claim },
            Claim {
                limit: BATCH as u16 + 1,
                ..claim
            },
            Claim {
                lease_second: 10,
                ..claim
            },
        ] {
            assert!(check(&script(Body::Claim(wrong))).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_six_bytes_cannot_hold_is_refused() {
        let mut late = script(Body::Fold(Vec::new()));
        late.e = LARGEST_COUNTER + 1;
        assert!(check(&late).is_err());
        assert!(check_second(LAST_SECOND + 1).is_err());
        assert!(check_offset(LARGEST_OFFSET + 1).is_err());
    }
}
