//! What was written, before anyone knows what it means: the TOML file as a tree whose every value
//! remembers its line, with the environment's variables laid over it. Meaning is given in
//! [`fields`](super::fields).

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::{Environment, PREFIX};
use super::mistake::{Mistake, Origin};

/// The fields of a table, by name.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Text in quotes.
    Text(String),
    /// A decimal integer or a float, as written but for `_`.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// What no field takes: a date, or a number that is not decimal.
    Other(String),
    /// `[..]`.
    List(Vec<Node>),
    /// `{..}` or a section.
    Table(Table),
    /// The text of a variable: whatever its field makes of it.
    Loose(String),
}

/// Reads a whole file. Every syntax error is a mistake; then there is no tree.
pub(super) fn from_toml(name: &str, text: &str) -> Result<Table, Vec<Mistake>> {
    let name: Arc<str> = name.into();
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let place = |at: usize| Origin::Line(name.clone(), line_of(text, at));
        return Ok(table_of(table.into_inner(), &place));
    }
    let mistake = |error: &toml::de::Error| {
        let span = error.span().unwrap_or(text.len()..text.len());
        let what = match error.message() {
            // Keys are no secrets; anything else that is cut out of the file could be one.
            "duplicate key" => {
                let line = text.lines().nth(line_of(text, span.start) - 1);
                let section = line.filter(|line| line.starts_with('['));
                let section = section.and_then(|line| line.split_inclusive(']').next());
                let name = section.or(text.get(span.clone())).unwrap_or_default();
                format!("{name}: this name stands here a second time; expected each name once")
            }
            message => message.to_owned(),
        };
        Mistake {
            origin: Origin::Line(name.clone(), line_of(text, span.start)),
            path: String::new(),
            what,
        }
    };
    Err(errors.iter().map(mistake).collect())
}

/// Reads one TOML value out of a variable; `None` when it is not one.
pub(super) fn value_of_variable(text: &str, origin: &Origin) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    Some(value_of(value.into_inner(), &|_| origin.clone()))
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    before.split(|byte| *byte == b'\n').count()
}

fn table_of(table: DeTable<'_>, place: &dyn Fn(usize) -> Origin) -> Table {
    let field = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        // A section's own span may begin at any of its fields: its name tells where it stands.
        let at = match value.get_ref() {
            DeValue::Table(_) => key.span().start,
            _ => value.span().start,
        };
        let node = Node {
            origin: place(at),
            value: value_of(value.into_inner(), place),
        };
        (std::borrow::Cow::into_owned(key.into_inner()), node)
    };
    table.into_iter().map(field).collect()
}

fn value_of(value: DeValue<'_>, place: &dyn Fn(usize) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => {
            Value::Number(number.as_str().to_owned())
        }
        DeValue::Integer(number) => Value::Other(number.to_string()),
        DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(time) => Value::Other(time.to_string()),
        DeValue::Array(items) => {
            let item = |item: Spanned<DeValue<'_>>| Node {
                origin: place(item.span().start),
                value: value_of(item.into_inner(), place),
            };
            Value::List(items.into_iter().map(item).collect())
        }
        DeValue::Table(table) => Value::Table(table_of(table, place)),
    }
}

/// Lays the environment over the file: `SETTLED_A__B` is field `b` of section `a`.
pub(super) fn overlay(root: &mut Table, environment: &Environment) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (name, value) in environment.fields() {
        let origin = Origin::Variable(name.to_owned());
        let segments: Vec<String> = name[PREFIX.len()..].split("__").map(canonical).collect();
        let set = match value {
            Some(text) => set(root, &segments, text, &origin),
            None => Err("expected UTF-8 text".to_owned()),
        };
        if let Err(what) = set {
            mistakes.push(Mistake {
                origin,
                path: segments.join("."),
                what,
            });
        }
    }
    mistakes
}

fn set(table: &mut Table, segments: &[String], text: &str, origin: &Origin) -> Result<(), String> {
    let Some((first, rest)) = segments.split_first() else {
        return Ok(());
    };
    let name = existing(table, first)?.unwrap_or_else(|| first.clone());
    if rest.is_empty() {
        let value = Value::Loose(text.to_owned());
        let origin = origin.clone();
        table.insert(name, Node { value, origin });
        return Ok(());
    }
    let section = table.entry(name).or_insert_with(|| Node {
        value: Value::Table(Table::new()),
        origin: origin.clone(),
    });
    if let Value::Loose(text) = &section.value
        && let Some(value) = value_of_variable(text, &section.origin)
    {
        section.value = value;
    }
    match &mut section.value {
        Value::Table(inner) => set(inner, rest, text, origin),
        // The wrong type is told where that value was written.
        _ => Ok(()),
    }
}

/// The name in `table` that a variable's `segment` means: variables have neither lower case nor `-`
/// nor `.`.
fn existing(table: &Table, segment: &str) -> Result<Option<String>, String> {
    let mut meant = table.keys().filter(|key| canonical(key) == segment);
    match (meant.next(), meant.next()) {
        (Some(one), Some(other)) => Err(format!(
            "means both {one:?} and {other:?}; expected to mean one: set it in the file"
        )),
        (one, _) => Ok(one.cloned()),
    }
}

fn canonical(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}
