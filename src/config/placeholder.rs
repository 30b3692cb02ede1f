//! Texts with the placeholders `{type}`, `{reqNO}` and `{query.NAME}`. They are found here, once, when
//! the configuration is read, so that a mistake is told with its line; the query engine fills them in
//! and never parses a text again.

use super::fields::quoted;
use crate::domain::order::TypeName;

const FORM: &str = "expected only the placeholders {type}, {reqNO} and {query.NAME}, each closed";

/// A text with its placeholders found. `{type}` is already filled in: a template belongs to a type.
#[derive(Clone, Debug)]
pub struct Text {
    pieces: Vec<Piece>,
}

/// A part of a text.
#[derive(Clone, Debug)]
pub enum Piece {
    /// As it stands.
    Literal(String),
    /// The order's request number.
    ReqNo,
    /// This field of the order's query object.
    Query(Box<str>),
}

/// Where a text stands, which decides what a brace in it means and how values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Path and query of a URL.
    Url,
    /// Inside the strings of a JSON text; braces outside of strings are JSON's own.
    Json,
    /// A header's value.
    Header,
}

impl Text {
    /// Finds the placeholders.
    ///
    /// # Errors
    /// The rest of a mistake's line; of the text it repeats no more than the wrong placeholder.
    pub(super) fn parse(source: &str, place: Place, order_type: &TypeName) -> Result<Self, String> {
        let json = place == Place::Json;
        let mut inside = !json;
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = source;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '{' if inside => {
                    let (name, after) = rest.split_once('}').ok_or_else(|| bad("{", place))?;
                    rest = after;
                    if name == "type" {
                        literal.push_str(order_type.as_str());
                        continue;
                    }
                    let piece =
                        Piece::named(name).ok_or_else(|| bad(&format!("{{{name}}}"), place))?;
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(piece);
                }
                '}' if inside && !json => return Err(bad("}", place)),
                '\\' if inside && json => {
                    literal.push(c);
                    let escaped = rest.chars().next().unwrap_or('\\');
                    rest = rest.get(escaped.len_utf8()..).unwrap_or_default();
                    literal.push(escaped);
                }
                '"' if json => {
                    inside = !inside;
                    literal.push(c);
                }
                _ => literal.push(c),
            }
        }
        pieces.push(Piece::Literal(literal));
        Ok(Self { pieces })
    }

    /// The text, when nothing in it varies from order to order.
    pub fn fixed(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it names a query field.
    pub fn names_a_field(&self) -> bool {
        self.pieces.iter().any(|p| matches!(p, Piece::Query(_)))
    }

    /// The text with the same value in every place, to see at load whether its shape is right.
    pub fn sample(&self, value: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::ReqNo | Piece::Query(_) => value.to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// Its parts, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

impl Piece {
    fn named(name: &str) -> Option<Self> {
        if name == "reqNO" {
            return Some(Self::ReqNo);
        }
        let field = name.strip_prefix("query.")?;
        let good = (1..=64).contains(&field.len())
            && field
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        good.then(|| Self::Query(field.into()))
    }
}

fn bad(found: &str, place: Place) -> String {
    let brace = match place {
        Place::Url => "; a brace of the URL itself is written %7B",
        Place::Json => "; a brace inside a JSON string is written \\u007b",
        Place::Header => "",
    };
    format!("{}: {FORM}{brace}", quoted(found))
}
