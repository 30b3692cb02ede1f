//! An answer in a foreign form: where it says what, by JSON pointers (RFC 6901), and what its status
//! values mean. The configuration makes a [`Mapping`]; a body is read in one walk, without a tree.

mod walk;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::body::{Said, broken, utf8};
use crate::domain::json::{Field, echo};
use crate::domain::status::Status;
use walk::Node;

/// More values than any owner has.
const VALUES_MAX: usize = 200;

/// A longer pointer or value is a mistake.
const TEXT_MAX: usize = 256;

/// What an answer may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The status, by the values' table.
    Status,
    /// The number that was asked about.
    ReqNo,
    /// The owner's own number.
    RspNo,
    /// The owner's return code.
    RetCd,
    /// The owner's message.
    RetMsg,
    /// What is handed to API callers.
    Data,
}

/// How many places are read with each answer: all but `data`.
const READ: usize = 5;

impl Place {
    /// All of them, in the order of the configuration.
    pub const ALL: [Self; 6] = [
        Self::Status,
        Self::ReqNo,
        Self::RspNo,
        Self::RetCd,
        Self::RetMsg,
        Self::Data,
    ];

    /// As the configuration names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::ReqNo => "req_no",
            Self::RspNo => "rsp_no",
            Self::RetCd => "ret_cd",
            Self::RetMsg => "ret_msg",
            Self::Data => "data",
        }
    }
}

/// A mapping that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct MappingFault {
    /// The name of a [`Place`], or `values`.
    pub field: &'static str,
    /// What stands there, where it does, and what is expected.
    pub problem: String,
}

impl MappingFault {
    fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self {
            field,
            problem: problem.into(),
        }
    }
}

/// A checked mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pointers: BTreeMap<Place, String>,
    values: BTreeMap<String, Status>,
    /// The pointers that are read with each answer, as one tree.
    root: Node,
    /// The tokens of `data`.
    data: Option<Vec<String>>,
}

impl Mapping {
    /// `pointers`: where the answer says what; `values`: what a status there means.
    ///
    /// # Errors
    /// The first field that cannot be: a pointer without its form or inside another, no place for
    /// the status or the number, no values or too many.
    pub fn new(
        pointers: BTreeMap<Place, String>,
        values: BTreeMap<String, Status>,
    ) -> Result<Self, MappingFault> {
        for (place, why) in [
            (Place::Status, "expected a pointer like \"/trade_state\""),
            (
                Place::ReqNo,
                "expected a pointer to the order's number: no 1 or 2 counts without it",
            ),
        ] {
            if !pointers.contains_key(&place) {
                return Err(MappingFault::new(place.as_str(), why));
            }
        }
        let (mut root, mut data) = (Node::default(), None);
        for (place, pointer) in &pointers {
            let fault = |why: String| MappingFault::new(place.as_str(), why);
            let tokens = tokens(pointer).map_err(fault)?;
            if *place == Place::Data {
                data = Some(tokens);
            } else if !root.insert(&tokens, *place as usize) {
                let why = "expected a place that is not inside another one of this answer";
                return Err(fault(format!("{}: {why}", echo(pointer))));
            }
        }
        if values.is_empty() {
            let why = "expected at least one, like { SUCCESS = \"1\" }";
            return Err(MappingFault::new("values", why));
        }
        if values.len() > VALUES_MAX || values.keys().any(|value| value.len() > TEXT_MAX) {
            let why = format!("expected at most {VALUES_MAX}, of {TEXT_MAX} bytes each");
            return Err(MappingFault::new("values", why));
        }
        Ok(Self {
            pointers,
            values,
            root,
            data,
        })
    }

    /// The pointer of a place.
    pub fn pointer(&self, place: Place) -> Option<&str> {
        self.pointers.get(&place).map(String::as_str)
    }

    /// What each status value means.
    pub fn values(&self) -> &BTreeMap<String, Status> {
        &self.values
    }

    /// Reads a body, or says in one line how it breaks the contract.
    pub(super) fn read<'a>(&'a self, body: &'a [u8]) -> Result<Said<'a>, String> {
        let mut found: [Option<&'a RawValue>; READ] = [None; READ];
        walk::read(utf8(body)?, &self.root, &mut found).map_err(|error| broken(&error))?;
        let field = |place: Place| match found[place as usize] {
            // A value that was skipped over as well-formed may still hold half a surrogate pair.
            Some(raw) => {
                serde_json::from_str::<Field<'a>>(raw.get()).map_err(|error| broken(&error))
            }
            None => Ok(Field::Absent),
        };
        let number_place = self.pointer(Place::ReqNo).unwrap_or_default();
        Ok(Said {
            status: self.status(&field(Place::Status)?, found[Place::Status as usize])?,
            numbers: [field(Place::ReqNo)?, Field::Absent],
            number_place,
            rsp_nos: [field(Place::RspNo)?, Field::Absent],
            ret_cd: field(Place::RetCd)?,
            ret_msg: field(Place::RetMsg)?,
        })
    }

    /// Text is looked up as it is, a number or a truth value as it is written.
    fn status(&self, field: &Field<'_>, raw: Option<&RawValue>) -> Result<Status, String> {
        let written = raw.map_or("", RawValue::get);
        let value = match field {
            Field::Text(text) => Some(text.as_ref()),
            Field::Number(_) => Some(written),
            Field::Other(_) if !written.starts_with(['{', '[']) => Some(written),
            Field::Absent | Field::Other(_) => None,
        };
        let listed = value.and_then(|value| self.values.get(value));
        listed.copied().ok_or_else(|| {
            let place = self.pointer(Place::Status).unwrap_or_default();
            let shown = match (field, value) {
                (Field::Text(_), _) | (_, None) => field.shown(),
                (_, Some(written)) => echo(written),
            };
            format!("{place}: one of the type's answer values is expected, not {shown}")
        })
    }

    /// The `data` of an answer that was read before; a caller's question can afford to look for it
    /// step by step.
    pub(super) fn data(&self, body: &[u8]) -> Option<Box<RawValue>> {
        let mut at: &RawValue = serde_json::from_slice(body).ok()?;
        for token in self.data.as_ref()? {
            at = match at.get().as_bytes().first()? {
                b'{' => {
                    let fields: BTreeMap<String, &RawValue> =
                        serde_json::from_str(at.get()).ok()?;
                    fields.get(token).copied()?
                }
                b'[' => {
                    let items: Vec<&RawValue> = serde_json::from_str(at.get()).ok()?;
                    items.get(walk::index(token)?).copied()?
                }
                _ => return None,
            };
        }
        (at.get() != "null").then(|| at.to_owned())
    }
}

/// The tokens of a JSON pointer, unescaped.
fn tokens(pointer: &str) -> Result<Vec<String>, String> {
    let expected = |what: &str| Err(format!("{}: expected {what}", echo(pointer)));
    if pointer.len() > TEXT_MAX {
        return expected("a pointer of at most 256 bytes");
    }
    let Some(rest) = pointer.strip_prefix('/') else {
        return expected("a JSON pointer like \"/trade_state\" or \"/order/state\"");
    };
    let mut tokens = Vec::new();
    for token in rest.split('/') {
        let plain = token.replace("~1", "").replace("~0", "");
        if plain.contains('~') {
            return expected("~ to be written ~0, and / inside a name ~1");
        }
        tokens.push(token.replace("~1", "/").replace("~0", "~"));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests;
