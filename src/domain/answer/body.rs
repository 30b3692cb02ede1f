//! An answer in the protocol's own form. Read once, without an allocation.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::json::{Field, cut, echo};
use crate::domain::status::Status;

/// What an answer says, in whichever form.
pub(super) struct Said<'a> {
    pub(super) status: Status,
    /// The order's number, wherever it stands.
    pub(super) numbers: [Field<'a>; 2],
    /// Where the number is expected, for messages.
    pub(super) number_place: &'a str,
    /// The owner's own number; the first that is there.
    pub(super) rsp_nos: [Field<'a>; 2],
    pub(super) ret_cd: Field<'a>,
    pub(super) ret_msg: Field<'a>,
}

/// Everything that we read of an answer; `data` and unknown fields are skipped.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    status: Field<'a>,
    #[serde(borrow, default, rename = "reqNO")]
    req_no: Field<'a>,
    #[serde(borrow, default, rename = "reqNo")]
    req_no_camel: Field<'a>,
    #[serde(borrow, default, rename = "rspNO")]
    rsp_no: Field<'a>,
    #[serde(borrow, default, rename = "rspNo")]
    rsp_no_camel: Field<'a>,
    #[serde(borrow, default, rename = "retCd")]
    ret_cd: Field<'a>,
    #[serde(borrow, default, rename = "retMsg")]
    ret_msg: Field<'a>,
}

/// Reads a body, or says in one line how it breaks the contract.
pub(super) fn read(body: &[u8]) -> Result<Said<'_>, String> {
    let text = utf8(body)?;
    // Serde would read an array as a struct, field by field.
    if !text.trim_start().starts_with('{') {
        let shown = echo(cut(text, 16));
        return Err(format!(
            "the body is no JSON object: it begins with {shown}"
        ));
    }
    let wire: Wire<'_> = serde_json::from_str(text).map_err(|error| broken(&error))?;
    let status = match &wire.status {
        Field::Text(code) => Status::from_code(code),
        Field::Number(code) => Status::from_number(*code),
        Field::Absent | Field::Other(_) => None,
    };
    let Some(status) = status else {
        let shown = wire.status.shown();
        return Err(format!("status: 1, 2, 3 or 4 is expected, not {shown}"));
    };
    Ok(Said {
        status,
        numbers: [wire.req_no, wire.req_no_camel],
        number_place: "reqNO",
        rsp_nos: [wire.rsp_no, wire.rsp_no_camel],
        ret_cd: wire.ret_cd,
        ret_msg: wire.ret_msg,
    })
}

/// The `data` of an answer that was read before.
pub(super) fn data(body: &[u8]) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Carrier {
        data: Option<Box<RawValue>>,
    }
    serde_json::from_slice::<Carrier>(body).ok()?.data
}

pub(super) fn utf8(body: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())
}

/// Serde's own messages may repeat what stands in the body.
pub(super) fn broken(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    if error.is_data() {
        format!("a field occurs twice, at line {line} column {column}")
    } else {
        format!("the body is no JSON at line {line} column {column}")
    }
}
