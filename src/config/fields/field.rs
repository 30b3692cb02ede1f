//! The forms that a field can have. Each reads what was written, or notes one mistake with the value
//! and the expected form and gives nothing.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::{Field, Fields, Place};
use crate::config::duration;
use crate::config::mistake::Origin;
use crate::config::secret::Secret;
use crate::config::source::{Node, Value, value_of_variable};

/// Longer values are cut in messages.
const SHOWN_CHARS: usize = 80;

impl<'r> Field<'r> {
    /// Notes a mistake of this field.
    pub(in crate::config) fn refuse(&self, what: impl Display) {
        let mistake = self.place.mistake(what.to_string());
        self.reading.mistakes.borrow_mut().push(mistake);
    }

    /// Whether the environment said it.
    pub(in crate::config) fn is_variable(&self) -> bool {
        matches!(self.place.origin, Origin::Variable(_))
    }

    /// Text in quotes.
    pub(in crate::config) fn text(&self) -> Option<String> {
        match &self.node.value {
            Value::Text(text) | Value::Loose(text) => Some(text.clone()),
            _ => self.wrong("text in quotes"),
        }
    }

    /// A whole number.
    pub(in crate::config) fn whole(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let number = match &self.node.value {
            Value::Number(text) | Value::Loose(text) => text.trim().parse().ok(),
            _ => None,
        };
        let good = number.filter(|number| range.contains(number));
        good.or_else(|| {
            let (least, most) = range.into_inner();
            self.wrong(&format!("a whole number from {least} to {most}"))
        })
    }

    /// A number above 0 and at most `most`.
    pub(in crate::config) fn positive(&self, most: f64) -> Option<f64> {
        let number = match &self.node.value {
            Value::Number(text) | Value::Loose(text) => text.trim().parse::<f64>().ok(),
            _ => None,
        };
        number
            .filter(|number| *number > 0.0 && *number <= most)
            .or_else(|| self.wrong(&format!("a number above 0, at most {most}")))
    }

    /// A number from 0 to `most`.
    pub(in crate::config) fn part(&self, most: f64) -> Option<f64> {
        let number = match &self.node.value {
            Value::Number(text) | Value::Loose(text) => text.trim().parse::<f64>().ok(),
            _ => None,
        };
        number
            .filter(|number| (0.0..=most).contains(number))
            .or_else(|| self.wrong(&format!("a number from 0 to {most}")))
    }

    /// A truth value.
    pub(in crate::config) fn truth(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Loose(text) if text.trim() == "true" => Some(true),
            Value::Loose(text) if text.trim() == "false" => Some(false),
            _ => self.wrong("true or false"),
        }
    }

    /// A duration; `range` in milliseconds.
    pub(in crate::config) fn duration(&self, range: RangeInclusive<u64>) -> Option<Duration> {
        let (Value::Text(text) | Value::Loose(text)) = &self.node.value else {
            return self.wrong(duration::FORM);
        };
        let Some(read) = duration::parse(text) else {
            return self.wrong(duration::FORM);
        };
        let inside = u64::try_from(read.as_millis()).is_ok_and(|ms| range.contains(&ms));
        let shown = |ms: &u64| duration::show(Duration::from_millis(*ms));
        let (least, most) = (shown(range.start()), shown(range.end()));
        inside
            .then_some(read)
            .or_else(|| self.wrong(&format!("a duration from {least} to {most}")))
    }

    /// One of `choices`, by its name.
    pub(in crate::config) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        if let Value::Text(text) | Value::Loose(text) = &self.node.value
            && let Some((_, choice)) = choices.iter().find(|(name, _)| name == text)
        {
            return Some(*choice);
        }
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("{name:?}"))
            .collect();
        self.wrong(&names.join(" or "))
    }

    /// The values of a list; `form` says how it should look. A variable holds a TOML list, or a single
    /// value as it is.
    pub(in crate::config) fn items(mut self, form: &str) -> Option<Vec<Field<'r>>> {
        self.list().or_else(|| self.wrong(form))
    }

    /// As [`Field::items`], of values that may be secrets: none is repeated.
    pub(in crate::config) fn secret_items(mut self, form: &str) -> Option<Vec<Field<'r>>> {
        let items = self.list();
        if items.is_none() {
            self.refuse(format_args!("expected {form}"));
        }
        items
    }

    fn list(&mut self) -> Option<Vec<Field<'r>>> {
        self.settle('[');
        let items = match &self.node.value {
            Value::List(items) => items.clone(),
            Value::Loose(_) => vec![self.node.clone()],
            _ => return None,
        };
        let item = |node: Node| Field {
            reading: self.reading,
            place: Place {
                origin: node.origin.clone(),
                ..self.place.clone()
            },
            node,
        };
        Some(items.into_iter().map(item).collect())
    }

    /// The fields of a table. A variable holds an inline TOML table.
    pub(in crate::config) fn fields(mut self) -> Fields<'r> {
        self.settle('{');
        let table = match self.node.value {
            Value::Table(table) => table,
            _ => self.wrong("a table").unwrap_or_default(),
        };
        Fields {
            reading: self.reading,
            place: self.place,
            table,
            places: BTreeMap::new(),
        }
    }

    /// Text, a number or a truth value, as text: what librdkafka takes.
    pub(in crate::config) fn scalar(&self) -> Option<String> {
        match &self.node.value {
            Value::Text(text) | Value::Loose(text) | Value::Number(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            _ => self.wrong("text in quotes, a number, true or false"),
        }
    }

    /// A secret, by reference or as it is; `wrap` makes one of the latter. Its value is never shown.
    pub(in crate::config) fn secret(&self, wrap: impl Fn(String) -> Secret) -> Option<Secret> {
        let (Value::Text(text) | Value::Loose(text)) = &self.node.value else {
            self.refuse("expected text in quotes, env:NAME or file:PATH");
            return None;
        };
        self.resolve(text, wrap)
    }

    /// As [`Field::secret`], from `text` that stands in this field.
    pub(in crate::config) fn resolve(
        &self,
        text: &str,
        wrap: impl Fn(String) -> Secret,
    ) -> Option<Secret> {
        // What a variable says is relative to where the process was started.
        let base = match self.node.origin {
            Origin::Variable(_) => Path::new(""),
            _ => self.reading.base,
        };
        Secret::resolve(text, base, self.reading.environment, wrap)
            .map_err(|what| self.refuse(what))
            .ok()
    }

    /// Reads the text of a variable as TOML when it begins as one.
    fn settle(&mut self, opening: char) {
        if let Value::Loose(text) = &self.node.value
            && text.trim_start().starts_with(opening)
            && let Some(value) = value_of_variable(text.trim(), &self.node.origin)
        {
            self.node.value = value;
        }
    }

    fn wrong<T>(&self, expected: &str) -> Option<T> {
        let value = match &self.node.value {
            Value::Text(text) | Value::Loose(text) => quoted(text),
            Value::Number(text) | Value::Other(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        };
        self.refuse(format_args!("{value}: expected {expected}"));
        None
    }
}

/// A value as messages show it: in quotes, on one line, cut at [`SHOWN_CHARS`].
pub(in crate::config) fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(SHOWN_CHARS).collect();
    if start.len() < text.len() {
        start.push_str("..");
    }
    format!("{start:?}")
}
