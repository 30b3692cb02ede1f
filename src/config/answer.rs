//! `answer` of an order type: where a foreign answer says what, and what its status values mean.

use std::collections::BTreeMap;

use super::fields::{Broken, Fields, quoted};
use crate::domain::answer::{Mapping, Place};
use crate::domain::status::Status;

/// The mapping; `None` when nothing was written: the protocol's own form.
pub(super) fn read(mut fields: Fields<'_>) -> Option<Mapping> {
    let written = !fields.is_empty();
    let mut pointers = BTreeMap::new();
    for place in Place::ALL {
        let pointer = fields.field(place.as_str()).and_then(|field| field.text());
        pointers.extend(pointer.map(|pointer| (place, pointer)));
    }
    let values = values(fields.section("values"));
    let mapping = written.then(|| Mapping::new(pointers, values));
    let (mapping, broken) = match mapping {
        Some(Err(fault)) => (None, vec![Broken::new(fault.field, fault.problem)]),
        Some(Ok(mapping)) => (Some(mapping), Vec::new()),
        None => (None, Vec::new()),
    };
    fields.end(broken);
    mapping
}

/// The owner's values are the names here.
fn values(section: Fields<'_>) -> BTreeMap<String, Status> {
    let mut values = BTreeMap::new();
    for (value, field) in section.named() {
        // One that is wrong keeps its place, so that it is told once.
        let code = field.scalar();
        let status = code.as_deref().map(|code| {
            Status::from_code(code).unwrap_or_else(|| {
                field.refuse(format_args!(
                    "{}: expected \"1\" success, \"2\" failure, \"3\" in progress or \"4\" unknown",
                    quoted(code)
                ));
                Status::Unknown
            })
        });
        values.insert(value, status.unwrap_or(Status::Unknown));
    }
    values
}
