//! The two halves of JSON that the wire needs: an object writer without a tree in between, and a
//! field that is read whatever its type, so that one parse can say of each field what is wrong.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::order::Millis;
use super::wire_time;

/// The most characters of foreign text that a message repeats.
const ECHO_MAX: usize = 64;

/// Writes one JSON object, fields in the order of the calls.
#[derive(Debug)]
pub struct ObjectWriter {
    out: Vec<u8>,
}

impl ObjectWriter {
    /// Opens the object; `capacity` in bytes saves growing.
    pub fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self { out }
    }

    /// Closes the object.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }

    /// A string, escaped. Names are ours and need no escapes.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.string(value);
    }

    /// A string, left out when there is none.
    pub fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    /// A time in the wire's form.
    pub fn time(&mut self, name: &str, value: Millis) {
        self.name(name);
        self.out.push(b'"');
        self.out.extend_from_slice(&wire_time::write(value));
        self.out.push(b'"');
    }

    /// JSON that was checked before.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// An object within the object.
    pub fn object(&mut self, name: &str, value: Self) {
        self.name(name);
        self.out.extend_from_slice(&value.finish());
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let mut rest = text.as_bytes();
        while let Some(at) = rest
            .iter()
            .position(|b| matches!(b, 0..0x20 | b'"' | b'\\'))
        {
            self.out.extend_from_slice(&rest[..at]);
            match rest[at] {
                quoted @ (b'"' | b'\\') => self.out.extend_from_slice(&[b'\\', quoted]),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                control => {
                    let hex = |n: u8| b"0123456789abcdef"[usize::from(n)];
                    self.out.extend_from_slice(b"\\u00");
                    self.out
                        .extend_from_slice(&[hex(control >> 4), hex(control & 15)]);
                }
            }
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }
}

/// A field's value, borrowed where the text holds no escapes.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Field<'a> {
    /// Absent or `null`.
    #[default]
    Absent,
    /// A string.
    Text(Cow<'a, str>),
    /// A number without sign or fraction; `3.0` is one.
    Number(u64),
    /// Anything else, by the name of its type.
    Other(&'static str),
}

impl Field<'_> {
    /// For a message: what stands there, foreign text cut and escaped.
    pub fn shown(&self) -> String {
        match self {
            Self::Absent => "nothing".to_owned(),
            Self::Text(text) => echo(text),
            Self::Number(number) => format!("the number {number}"),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }
}

/// Foreign text for a message: quoted, escaped, at most 64 characters.
pub fn echo(text: &str) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().flat_map(char::escape_debug).enumerate() {
        if count == ECHO_MAX - 2 {
            shown.push_str("..");
            break;
        }
        shown.push(character);
    }
    format!("\"{shown}\"")
}

/// The text, cut after `max` characters.
pub fn cut(text: &str, max: usize) -> &str {
    text.char_indices()
        .nth(max)
        .map_or(text, |(end, _)| &text[..end])
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Other("a negative number"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        // JSON Schema counts 3.0 as the integer 3, and so do writers that know no integers. Above
        // 2^16 nothing on the wire is a number.
        if number.fract() == 0.0 && (0.0..65_536.0).contains(&number) {
            #[expect(
                clippy::cast_sign_loss,
                reason = "checked to be a whole number from 0 on"
            )]
            return Ok(Field::Number(number as u64));
        }
        Ok(Field::Other("a number with a fraction or beyond 64 bits"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Other("a boolean"))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an object"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an array"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_and_number_is_read_back_by_serde_json(
            text in ".{0,40}|[\\x00-\\x1f\"\\\\]{0,8}", number: u64,
        ) {
            let mut object = ObjectWriter::new(0);
            object.text("text", &text);
            object.number("number", number);
            let value: serde_json::Value = serde_json::from_slice(&object.finish()).unwrap();
            prop_assert_eq!(&value["text"], &text);
            prop_assert_eq!(&value["number"], number);
        }

        #[test]
        fn an_echo_is_one_short_printable_line(text in ".{0,200}|[\\x00-\\x1f]{0,80}") {
            let shown = echo(&text);
            prop_assert!(shown.chars().count() <= ECHO_MAX + 2, "{}", shown);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }

    #[test]
    fn a_short_text_is_echoed_whole() {
        assert_eq!(echo("TX 1"), "\"TX 1\"");
        assert_eq!(echo(&"x".repeat(62)).len(), 64);
        assert!(echo(&"x".repeat(63)).ends_with("..\""));
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(cut("änderung", 2), "än");
        assert_eq!(cut("ok", 2), "ok");
    }

    #[test]
    fn a_field_is_read_whatever_its_type() {
        for (json, field) in [
            ("null", Field::Absent),
            ("\"a\"", Field::Text("a".into())),
            ("3", Field::Number(3)),
            ("3.0", Field::Number(3)),
            ("-3", Field::Other("a negative number")),
            (
                "3.5",
                Field::Other("a number with a fraction or beyond 64 bits"),
            ),
            ("true", Field::Other("a boolean")),
            ("[[1]]", Field::Other("an array")),
            ("{\"a\":{}}", Field::Other("an object")),
        ] {
            assert_eq!(
                serde_json::from_str::<Field<'_>>(json).unwrap(),
                field,
                "{json}"
            );
        }
    }
}
