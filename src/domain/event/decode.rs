//! Reads an event: one parse, then each field by itself, so that the refusal can name the first
//! field that is wrong and how it should look.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::query::query;
use super::{
    ACTOR_MAX, Body, Event, REASON_MAX, RET_CD_MAX, RET_MSG_MAX, RSP_NO_MAX, Reason, Refusal,
    SOURCE_MAX, TerminalEvent, VALUE_MAX,
};
use crate::domain::json::{Field, cut, echo};
use crate::domain::order::{Millis, OrderKey, ReqNo, TypeName};
use crate::domain::status::{Status, Terminal};
use crate::domain::wire_time;

/// Everything that we read of an event; unknown fields are skipped.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    v: Field<'a>,
    #[serde(borrow, default, rename = "type")]
    order_type: Field<'a>,
    #[serde(borrow, default, rename = "reqNO")]
    req_no: Field<'a>,
    #[serde(borrow, default)]
    status: Field<'a>,
    #[serde(borrow, default)]
    command: Field<'a>,
    #[serde(borrow, default)]
    phase: Field<'a>,
    #[serde(borrow, default)]
    at: Field<'a>,
    #[serde(borrow, default, rename = "askAt")]
    ask_at: Field<'a>,
    #[serde(borrow, default)]
    source: Field<'a>,
    #[serde(borrow, default, rename = "rspNO")]
    rsp_no: Field<'a>,
    #[serde(borrow, default, rename = "retCd")]
    ret_cd: Field<'a>,
    #[serde(borrow, default, rename = "retMsg")]
    ret_msg: Field<'a>,
    #[serde(borrow, default)]
    actor: Field<'a>,
    #[serde(borrow, default)]
    reason: Field<'a>,
    #[serde(borrow, default)]
    query: Option<&'a RawValue>,
}

/// Reads the value of a record of `order-events`.
///
/// # Errors
/// The reason and one line for a person; the caller keeps the record as a dead letter.
pub fn decode(value: &[u8]) -> Result<Event, Refusal> {
    let wire = parse(value)?;
    if !matches!(wire.v, Field::Absent | Field::Number(1)) {
        return Err(expected("v", "the number 1", &wire.v));
    }
    let key = OrderKey {
        order_type: order_type(&wire.order_type)?,
        req_no: req_no(&wire.req_no)?,
    };
    let at = time("at", &wire.at)?.ok_or_else(|| expected("at", TIME, &wire.at))?;
    let source = text("source", &wire.source, SOURCE_MAX)?
        .ok_or_else(|| missing("source", "who says it, 1 to 64 characters"))?;
    let body = match &wire.command {
        Field::Absent => said(&wire, source)?,
        Field::Text(name) if name == "settle" => {
            by_hand(&wire)?;
            match status(&wire.status)?.split() {
                Ok(status) => terminal(&wire, status, source)?,
                Err(_) => return Err(expected("status", "1 or 2 with settle", &wire.status)),
            }
        }
        Field::Text(name) if name == "requeue" => {
            by_hand(&wire)?;
            Body::Requeue {
                phase: phase(&wire.phase)?,
                query: query(wire.query)?,
            }
        }
        other => return Err(expected("command", "\"settle\" or \"requeue\"", other)),
    };
    Ok(Event { key, at, body })
}

const TIME: &str = "an RFC 3339 time from 1970 on, like \"2026-11-23T07:00:00.123Z\"";

fn parse(value: &[u8]) -> Result<Wire<'_>, Refusal> {
    if value.len() > VALUE_MAX {
        return Err(Refusal::new(
            Reason::TooLarge,
            format!(
                "the value: at most {VALUE_MAX} bytes is expected, not {}",
                value.len()
            ),
        ));
    }
    let text = std::str::from_utf8(value).map_err(|error| {
        let at = error.valid_up_to();
        Refusal::new(
            Reason::NotJson,
            format!("the value is not UTF-8 at byte {at}: a JSON object is expected"),
        )
    })?;
    // Serde would read an array as a struct, field by field.
    if !text
        .trim_start_matches([' ', '\t', '\n', '\r'])
        .starts_with('{')
    {
        return Err(Refusal::new(
            Reason::NotJson,
            format!(
                "the value begins with {}: a JSON object is expected",
                echo(cut(text, 16))
            ),
        ));
    }
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.is_data() {
            // The one way left, every field being read whatever its type.
            let detail =
                format!("a field occurs twice, at line {line} column {column}: once is expected");
            Refusal::new(Reason::Schema, detail)
        } else {
            let detail =
                format!("no JSON at line {line} column {column}: one JSON object is expected");
            Refusal::new(Reason::NotJson, detail)
        }
    })
}

/// A status without a command: what the business system knows.
fn said(wire: &Wire<'_>, source: &str) -> Result<Body, Refusal> {
    match status(&wire.status)?.split() {
        Ok(status) => terminal(wire, status, source),
        Err(status) => Ok(Body::Pending {
            status,
            ask_at: time("askAt", &wire.ask_at)?,
            query: query(wire.query)?,
        }),
    }
}

fn terminal(wire: &Wire<'_>, status: Terminal, source: &str) -> Result<Body, Refusal> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Ok(Body::Terminal(Box::new(TerminalEvent {
        status,
        source: source.to_owned(),
        rsp_no: owned(optional_text("rspNO", &wire.rsp_no, RSP_NO_MAX)?),
        ret_cd: owned(optional_text("retCd", &wire.ret_cd, RET_CD_MAX)?),
        ret_msg: owned(
            optional_text("retMsg", &wire.ret_msg, usize::MAX)?.map(|text| cut(text, RET_MSG_MAX)),
        ),
    })))
}

fn by_hand(wire: &Wire<'_>) -> Result<(), Refusal> {
    text("actor", &wire.actor, ACTOR_MAX)?
        .ok_or_else(|| missing("actor", "who commands it, 1 to 128 characters"))?;
    text("reason", &wire.reason, REASON_MAX)?
        .ok_or_else(|| missing("reason", "why it is commanded, 1 to 512 characters"))?;
    Ok(())
}

fn order_type(field: &Field<'_>) -> Result<TypeName, Refusal> {
    const FORM: &str = "1 to 32 of a-z, 0-9, _ and -";
    match field {
        Field::Absent => return Err(missing("type", FORM)),
        Field::Text(name) => TypeName::new(name),
        _ => None,
    }
    .ok_or_else(|| refused(Reason::BadType, "type", FORM, field))
}

fn req_no(field: &Field<'_>) -> Result<ReqNo, Refusal> {
    const FORM: &str = "a string of 1 to 48 visible ASCII characters without /";
    match field {
        Field::Absent => return Err(missing("reqNO", FORM)),
        Field::Text(number) => ReqNo::new(number),
        _ => None,
    }
    .ok_or_else(|| refused(Reason::BadNumber, "reqNO", FORM, field))
}

fn status(field: &Field<'_>) -> Result<Status, Refusal> {
    let status = match field {
        Field::Text(code) => Status::from_code(code),
        Field::Number(code) => Status::from_number(*code),
        Field::Absent | Field::Other(_) => None,
    };
    status.ok_or_else(|| expected("status", "1, 2, 3 or 4", field))
}

fn phase(field: &Field<'_>) -> Result<u16, Refusal> {
    match field {
        Field::Number(phase @ 1..=65_535) => Ok(*phase as u16),
        _ => Err(expected("phase", "a number from 1 to 65535", field)),
    }
}

fn time(name: &str, field: &Field<'_>) -> Result<Option<Millis>, Refusal> {
    match field {
        Field::Absent => return Ok(None),
        Field::Text(text) => wire_time::parse(text),
        _ => None,
    }
    .map(Some)
    .ok_or_else(|| expected(name, TIME, field))
}

/// A text that must not be empty.
fn text<'a>(name: &str, field: &'a Field<'_>, max: usize) -> Result<Option<&'a str>, Refusal> {
    match optional_text(name, field, max)? {
        Some("") => Err(expected(name, "at least one character", field)),
        text => Ok(text),
    }
}

fn optional_text<'a>(
    name: &str,
    field: &'a Field<'_>,
    max: usize,
) -> Result<Option<&'a str>, Refusal> {
    match field {
        Field::Absent => Ok(None),
        Field::Text(text) if text.len() <= max || text.chars().count() <= max => Ok(Some(text)),
        Field::Text(_) => {
            let form = format!("a string of at most {max} characters");
            Err(expected(name, &form, field))
        }
        _ => Err(expected(name, "a string", field)),
    }
}

fn missing(name: &str, form: &str) -> Refusal {
    Refusal::new(
        Reason::Schema,
        format!("{name}: is missing: {form} is expected"),
    )
}

fn expected(name: &str, form: &str, found: &Field<'_>) -> Refusal {
    if *found == Field::Absent {
        return missing(name, form);
    }
    refused(Reason::Schema, name, form, found)
}

fn refused(reason: Reason, name: &str, form: &str, found: &Field<'_>) -> Refusal {
    let shown = found.shown();
    Refusal::new(reason, format!("{name}: {form} is expected, not {shown}"))
}
