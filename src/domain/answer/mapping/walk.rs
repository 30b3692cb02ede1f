//! The walk through a foreign answer: goes down only where a pointer leads, skips the rest, and
//! refuses a name that stands twice on the way.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Where pointers lead: a place to read, or names to go down by; never both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// The places that are read here.
    places: Vec<usize>,
    inner: Vec<Step>,
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    name: String,
    /// The same name in an array.
    index: Option<usize>,
    node: Node,
}

impl Node {
    /// Leads a pointer to `place`; `false` when it would end inside another one or lead through one.
    pub(super) fn insert(&mut self, tokens: &[String], place: usize) -> bool {
        let Some((name, rest)) = tokens.split_first() else {
            self.places.push(place);
            return self.inner.is_empty();
        };
        if !self.places.is_empty() {
            return false;
        }
        let at = self.inner.iter().position(|step| step.name == *name);
        let at = at.unwrap_or_else(|| {
            self.inner.push(Step {
                name: name.clone(),
                index: index(name),
                node: Self::default(),
            });
            self.inner.len() - 1
        });
        self.inner[at].node.insert(rest, place)
    }
}

/// A token as the index of an array: digits without a leading zero.
pub(super) fn index(token: &str) -> Option<usize> {
    let good = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| good)
}

/// Reads what stands where the pointers lead; `found` is by place.
///
/// # Errors
/// No JSON, or (`is_data`) a name on the way to a place that stands twice in its object.
pub(super) fn read<'a>(
    text: &'a str,
    root: &Node,
    found: &mut [Option<&'a RawValue>],
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    Walk { node: root, found }.deserialize(&mut json)?;
    json.end()
}

struct Walk<'n, 'f, 'a> {
    node: &'n Node,
    found: &'f mut [Option<&'a RawValue>],
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.node.places.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let raw: &'de RawValue = de::Deserialize::deserialize(deserializer)?;
        for place in &self.node.places {
            if let Some(found) = self.found.get_mut(*place) {
                *found = Some(raw);
            }
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // No more steps than there are places.
        let mut seen = 0_u32;
        while let Some(at) = map.next_key_seed(Name(&self.node.inner))? {
            let Some(at) = at else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen & (1 << at) != 0 {
                return Err(de::Error::custom("twice"));
            }
            seen |= 1 << at;
            map.next_value_seed(Walk {
                node: &self.node.inner[at].node,
                found: self.found,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let mut steps = self.node.inner.iter();
            let more = match steps.find(|step| step.index == Some(index)) {
                Some(step) => {
                    let walk = Walk {
                        node: &step.node,
                        found: self.found,
                    };
                    seq.next_element_seed(walk)?.is_some()
                }
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_borrowed_str<E>(self, _: &'de str) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Which step a name means, without keeping the name.
struct Name<'n>(&'n [Step]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|step| step.name == name))
    }
}
