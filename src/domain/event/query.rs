//! The `query` object of an event: strings by name, kept as the text that came.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{QUERY_MAX, Reason, Refusal};
use crate::domain::json::echo;

/// Checks the object; `None` when there is none or it is empty.
pub(super) fn query(raw: Option<&RawValue>) -> Result<Option<Box<str>>, Refusal> {
    const FORM: &str = "an object of strings, each name once";
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    if raw.len() > QUERY_MAX {
        return Err(Refusal::new(
            Reason::TooLarge,
            format!(
                "query: at most {QUERY_MAX} bytes is expected, not {}",
                raw.len()
            ),
        ));
    }
    match serde_json::from_str::<QueryFields>(raw) {
        Ok(QueryFields { empty: true }) => Ok(None),
        Ok(QueryFields { empty: false }) => Ok(Some(raw.into())),
        Err(_) => Err(Refusal::new(
            Reason::Schema,
            format!("query: {FORM} is expected, not {}", echo(raw)),
        )),
    }
}

/// Checks a query object without keeping it.
struct QueryFields {
    empty: bool,
}

impl<'de> Deserialize<'de> for QueryFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = QueryFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QueryFields, A::Error> {
                // At most 1 KiB: a list is quicker than a set.
                let mut names: Vec<Text<'de>> = Vec::new();
                while let Some((name, _)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    if names.iter().any(|known| known.0 == name.0) {
                        return Err(serde::de::Error::custom("a name occurs twice"));
                    }
                    names.push(name);
                }
                Ok(QueryFields {
                    empty: names.is_empty(),
                })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// A string, borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
