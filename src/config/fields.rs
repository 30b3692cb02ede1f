//! Gives meaning to what was written: sections ask for their fields by name and form; every mistake
//! is noted with its place and reading goes on, so that one start shows them all. A field that
//! nobody asked for is unknown, and the names that were asked for are the known ones.

mod field;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::environment::Environment;
use super::mistake::{Mistake, Origin};
use super::source::{Node, Table};
pub(super) use field::quoted;

/// One reading of a configuration.
pub(super) struct Reading<'e> {
    environment: &'e Environment,
    base: &'e Path,
    mistakes: RefCell<Vec<Mistake>>,
    unknown: RefCell<Vec<Place>>,
    known: RefCell<BTreeSet<String>>,
}

/// Where a value stands: in the text and in the configuration.
#[derive(Clone)]
struct Place {
    origin: Origin,
    /// As the user wrote it.
    path: String,
    /// With `NAME` for what users name.
    pattern: String,
}

/// The fields of one section.
pub(super) struct Fields<'r> {
    reading: &'r Reading<'r>,
    place: Place,
    table: Table,
    /// Where the fields that were asked for stand.
    places: BTreeMap<&'static str, Place>,
}

/// One value that was written.
pub(super) struct Field<'r> {
    reading: &'r Reading<'r>,
    place: Place,
    node: Node,
}

impl<'e> Reading<'e> {
    /// `base`: what paths of secrets are relative to.
    pub(super) fn new(environment: &'e Environment, base: &'e Path) -> Self {
        Self {
            environment,
            base,
            mistakes: RefCell::default(),
            unknown: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// The outermost fields.
    pub(super) fn root(&'e self, table: Table, origin: Origin) -> Fields<'e> {
        let place = Place {
            origin,
            path: String::new(),
            pattern: String::new(),
        };
        Fields {
            reading: self,
            place,
            table,
            places: BTreeMap::new(),
        }
    }

    /// Everything that was wrong, unknown fields with the nearest known one.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.borrow().clone();
        for place in self.unknown.borrow().iter() {
            let known = self.known.borrow();
            let meant = place.named_as_here(nearest(&place.pattern, &known));
            mistakes.push(place.mistake(format!("unknown field; did you mean {meant}?")));
        }
        mistakes
    }

    /// Every field that was asked for, with `NAME` for what users name.
    pub(super) fn known(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }
}

impl Place {
    fn mistake(&self, what: String) -> Mistake {
        Mistake {
            origin: self.origin.clone(),
            path: self.path.clone(),
            what,
        }
    }

    /// `pattern` with the names that the user gave on the way to this place.
    fn named_as_here(&self, pattern: &str) -> String {
        let mut here = self.path.split('.').zip(self.pattern.split('.'));
        let name = |segment| match here.next() {
            Some((name, "NAME")) if segment == "NAME" => name,
            _ => segment,
        };
        pattern.split('.').map(name).collect::<Vec<_>>().join(".")
    }

    fn inner(&self, name: &str, pattern: &str, origin: Origin) -> Self {
        let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let quoted = if !name.is_empty() && name.bytes().all(bare) {
            name.to_owned()
        } else {
            format!("{name:?}")
        };
        let under = |path: &str, name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Self {
            origin,
            path: under(&self.path, &quoted),
            pattern: under(&self.pattern, pattern),
        }
    }
}

impl<'r> Fields<'r> {
    /// The field `name`, if it was written.
    pub(super) fn field(&mut self, name: &'static str) -> Option<Field<'r>> {
        let node = self.table.remove(name);
        let origin = node.as_ref().map_or(&self.place.origin, |n| &n.origin);
        let place = self.place.inner(name, name, origin.clone());
        self.reading
            .known
            .borrow_mut()
            .insert(place.pattern.clone());
        self.places.insert(name, place.clone());
        Some(Field {
            reading: self.reading,
            place,
            node: node?,
        })
    }

    /// The fields of section `name`; of an empty one when it was not written.
    pub(super) fn section(&mut self, name: &'static str) -> Fields<'r> {
        match self.field(name) {
            Some(field) => field.fields(),
            None => Fields {
                reading: self.reading,
                place: self.places[name].clone(),
                table: Table::new(),
                places: BTreeMap::new(),
            },
        }
    }

    /// Whether nothing was written in the section.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// What a section holds whose names are the user's.
    pub(super) fn named(mut self) -> Vec<(String, Field<'r>)> {
        let named = |(name, node): (String, Node)| {
            let place = self.place.inner(&name, "NAME", node.origin.clone());
            let field = Field {
                reading: self.reading,
                place,
                node,
            };
            (name, field)
        };
        std::mem::take(&mut self.table)
            .into_iter()
            .map(named)
            .collect()
    }

    /// Ends the section: notes what its `validate` found, but for fields that already lack their
    /// form and so stand at their default, and whatever was written but not asked for.
    pub(super) fn end(mut self, broken: Vec<Broken>) {
        for Broken { field, what } in broken {
            let place = self.places.get(field).unwrap_or(&self.place);
            let mut mistakes = self.reading.mistakes.borrow_mut();
            if mistakes.iter().all(|told| told.path != place.path) {
                mistakes.push(place.mistake(what));
            }
        }
        let unknown = std::mem::take(&mut self.table)
            .into_iter()
            .map(|(name, node)| self.place.inner(&name, &name, node.origin));
        self.reading.unknown.borrow_mut().extend(unknown);
    }
}

/// A rule that a section breaks though each field has its form.
pub(super) struct Broken {
    /// Which field.
    pub(super) field: &'static str,
    /// The rest of the line: the value, where it may be shown, and what was expected.
    pub(super) what: String,
}

impl Broken {
    /// `field` should be as `expected` says.
    pub(super) fn new(field: &'static str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { field, what }
    }
}

/// The known field that `unknown` probably means: the same name in another section, else the most
/// similar one, names of the same section first.
fn nearest<'k>(unknown: &str, known: &'k BTreeSet<String>) -> &'k str {
    let (parent, name) = unknown.rsplit_once('.').unwrap_or(("", unknown));
    let distance = |path: &str| {
        let (other_parent, other_name) = path.rsplit_once('.').unwrap_or(("", path));
        let names = strsim::damerau_levenshtein(name, other_name);
        // A name that is written right but in the wrong section beats a similar one in the right one.
        let elsewhere = usize::from(other_parent != parent);
        (
            if names == 0 { 0 } else { names + 2 * elsewhere },
            elsewhere,
        )
    };
    known
        .iter()
        .map(String::as_str)
        .min_by_key(|path| distance(path))
        .unwrap_or_default()
}
