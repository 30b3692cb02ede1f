//! Fills in the placeholders of a template: every value is encoded so that it stays where it was put.
//! The texts were parsed when the configuration was read.

use std::collections::BTreeMap;

use crate::config::{Piece, Place, Text};

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

/// Writes the text for one order.
pub(super) fn render(
    text: &Text,
    place: Place,
    req_no: &str,
    fields: &Fields,
    out: &mut String,
) -> Result<(), MissingField> {
    for piece in text.pieces() {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::ReqNo => encode(place, req_no, out),
            Piece::Query(name) => {
                let value = fields.0.get(&**name);
                encode(place, value.ok_or_else(|| MissingField(name.clone()))?, out);
            }
        }
    }
    Ok(())
}

/// Appends a value so that it cannot leave its place.
pub(super) fn encode(place: Place, value: &str, out: &mut String) {
    match place {
        Place::Url => percent(value, out, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
        }),
        Place::Header => percent(value, out, |b| matches!(b, b' '..=b'~')),
        Place::Json => {
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
