//! How an order's identity stands in the view's keys and values.

use crate::domain::order::{OrderId, ReqNo, TypeId};
use crate::store::script::Token;

/// Appends the order's field: type id, then its number.
pub(super) fn write(id: &OrderId, out: &mut Vec<u8>) {
    out.push(id.type_id.0);
    out.extend_from_slice(id.req_no.as_bytes());
}

/// Reads a field.
pub(super) fn read(field: &[u8]) -> Option<OrderId> {
    let (type_id, number) = field.split_first()?;
    Some(OrderId {
        type_id: TypeId(*type_id),
        req_no: read_number(number)?,
    })
}

/// Reads the number of a bucket entry.
pub(super) fn read_number(number: &[u8]) -> Option<ReqNo> {
    ReqNo::from_bytes(number)
}

/// The token as the meta hash keeps it.
pub(super) fn token(token: Token) -> String {
    format!("{:016x}", token.0)
}

/// Reads a bucket entry: record hash, claim number, number.
pub(super) fn read_entry(entry: &[u8]) -> Option<(u32, ReqNo)> {
    let (_hash, rest) = entry.split_at_checked(2)?;
    let (claim, number) = rest.split_at_checked(4)?;
    let claim = u32::from_be_bytes(claim.try_into().ok()?);
    Some((claim, read_number(number)?))
}
