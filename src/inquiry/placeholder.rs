//! Texts with placeholders, and how a value is encoded so that it stays where it was put.
//! Read once when the template is loaded; rendering never parses the text again.

use std::collections::BTreeMap;

use crate::domain::order::TypeName;

/// What a placeholder may be, for error lines.
const ALLOWED: &str = "{type}, {reqNO} and {query.NAME}";

/// A text with its placeholders found. `{type}` is already filled in: a template belongs to a type.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    ReqNo,
    Query(Box<str>),
}

/// Where a text stands, which decides how values are encoded in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Path and query of a URL: all but RFC 3986's unreserved characters is percent-encoded.
    Url,
    /// Inside the strings of a JSON text; braces outside of strings are JSON's own.
    Json,
    /// A header's value: what is not visible ASCII or a space is percent-encoded, so no line ends.
    Header,
}

/// The query fields of one order, read only for templates that name one.
#[derive(Debug, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

/// A field that the template names and the order does not carry.
#[derive(Debug)]
pub(super) struct MissingField(pub(super) Box<str>);

impl Fields {
    /// An order without a query object, or with one that is no object of strings, has no fields.
    pub(super) fn read(query: Option<&str>) -> Self {
        Self(
            query
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        )
    }
}

impl Text {
    /// Finds the placeholders.
    ///
    /// # Errors
    /// One line that says what is allowed; it never repeats the text, which may hold a secret.
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
                    let (name, after) = rest.split_once('}').ok_or_else(|| bad(place))?;
                    rest = after;
                    if name == "type" {
                        literal.push_str(order_type.as_str());
                        continue;
                    }
                    let piece = Piece::named(name).ok_or_else(|| bad(place))?;
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(piece);
                }
                '}' if inside && !json => return Err(bad(place)),
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
    pub(super) fn fixed(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it names a query field.
    pub(super) fn names_a_field(&self) -> bool {
        self.pieces.iter().any(|p| matches!(p, Piece::Query(_)))
    }

    /// The text with the same value in every place, to see at load whether its shape is right.
    pub(super) fn sample(&self, value: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::ReqNo | Piece::Query(_) => value.to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// Writes the text for one order.
    pub(super) fn render(
        &self,
        place: Place,
        req_no: &str,
        fields: &Fields,
        out: &mut String,
    ) -> Result<(), MissingField> {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::ReqNo => place.encode(req_no, out),
                Piece::Query(name) => {
                    let value = fields.0.get(&**name);
                    place.encode(value.ok_or_else(|| MissingField(name.clone()))?, out);
                }
            }
        }
        Ok(())
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

impl Place {
    /// Appends a value so that it cannot leave its place.
    pub(super) fn encode(self, value: &str, out: &mut String) {
        match self {
            Self::Url => percent(value, out, |b| {
                b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
            }),
            Self::Header => percent(value, out, |b| matches!(b, b' '..=b'~')),
            Self::Json => {
                for c in value.chars() {
                    match c {
                        '"' => out.push_str("\\\""),
                        '\\' => out.push_str("\\\\"),
                        c if c < ' ' => {
                            out.push_str("\\u00");
                            out.push(hex(c as u8 >> 4));
                            out.push(hex(c as u8));
                        }
                        c => out.push(c),
                    }
                }
            }
        }
    }
}

fn percent(value: &str, out: &mut String, plain: impl Fn(u8) -> bool) {
    for byte in value.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(hex(byte >> 4));
            out.push(hex(byte));
        }
    }
}

fn hex(nibble: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(nibble & 15)])
}

fn bad(place: Place) -> String {
    let brace = match place {
        Place::Url => "; a brace of the URL itself is written %7B",
        Place::Json => "; a brace inside a JSON string is written \\u007b",
        Place::Header => "",
    };
    format!("unknown placeholder: allowed are {ALLOWED}{brace}")
}
