//! What the bank answers when its answer is well-formed HTTP: the protocol's own, and those tricks
//! that are played within a whole reply.

use std::fmt::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};

use super::ledger::Verdict;
use super::log_body::LogBody;

pub(super) type Answer = Response<Either<Full<Bytes>, LogBody>>;

const HTML: &str = "<!DOCTYPE html><html><head><title>Maintenance</title></head>\
                    <body><p>status: 1, success</p></body></html>";

/// The protocol's answer.
pub(super) fn protocol(req_no: &str, status: u8, name: u64) -> String {
    let (code, message) = match status {
        1 => ("0000", "success"),
        2 => ("1002", "refused by the bank"),
        3 => ("0001", "in progress"),
        _ => ("0404", "no such order"),
    };
    let req_no = serde_json::to_string(req_no).unwrap_or_default();
    let mut out = String::with_capacity(192);
    // Writing to a String cannot fail.
    let written = if status <= 2 {
        write!(
            out,
            r#"{{"status":"{status}","reqNO":{req_no},"rspNO":"B{name:016x}","retCd":"{code}","retMsg":"{message}","data":{{"simulated":true}}}}"#
        )
    } else {
        write!(
            out,
            r#"{{"status":"{status}","reqNO":{req_no},"retCd":"{code}","retMsg":"{message}"}}"#
        )
    };
    if written.is_err() {
        out.clear();
    }
    out
}

/// A status of HTTP with the headers that go with it. The body would settle the order, were it read.
pub(super) fn code(code: u16, req_no: &str, verdict: &Verdict) -> Answer {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json(status, protocol(req_no, 1, verdict.name.0));
    if matches!(code, 300..=399) {
        let target = format!("http://{}/latest/meta-data/", verdict.redirect);
        header(&mut answer, LOCATION, &target);
    }
    if matches!(code, 429 | 503) && verdict.retry_after > 0 {
        header(&mut answer, RETRY_AFTER, &verdict.retry_after.to_string());
    }
    answer
}

/// A page for people.
pub(super) fn html() -> Answer {
    let mut answer = json(StatusCode::OK, HTML.to_owned());
    header(&mut answer, CONTENT_TYPE, "text/html; charset=utf-8");
    answer
}

/// Success of an order that was not asked about.
pub(super) fn other_number(req_no: &str, name: u64) -> Answer {
    json(
        StatusCode::OK,
        protocol(&format!("other-{req_no}"), 1, name),
    )
}

/// Success, and no word of whose.
pub(super) fn no_number() -> Answer {
    let body = r#"{"status":"1","retCd":"0000","retMsg":"success"}"#;
    json(StatusCode::OK, body.to_owned())
}

/// A status that the protocol does not have.
pub(super) fn other_status(req_no: &str, name: u64) -> Answer {
    let body = protocol(req_no, 1, name).replacen(r#""status":"1""#, r#""status":"7""#, 1);
    json(StatusCode::OK, body)
}

/// What nobody asked for: compressed, small, and large once it is unpacked.
pub(super) fn zip_bomb() -> Answer {
    static BOMB: OnceLock<Bytes> = OnceLock::new();
    let bomb = BOMB.get_or_init(|| gzip_of_spaces().into()).clone();
    let mut answer = Response::new(Either::Left(Full::new(bomb)));
    header(&mut answer, CONTENT_TYPE, "application/json");
    header(&mut answer, CONTENT_ENCODING, "gzip");
    answer
}

pub(super) fn json(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *answer.status_mut() = status;
    header(&mut answer, CONTENT_TYPE, "application/json");
    answer
}

fn header(answer: &mut Answer, name: HeaderName, value: &str) {
    // What is written here is visible ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Fifteen gzip members one after the other (RFC 1952 allows it), each of 4,226,557 spaces: what zlib
/// makes of them, whose middle is all zeros.
fn gzip_of_spaces() -> Vec<u8> {
    const MEMBERS: usize = 15;
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];
    const BEGIN: [u8; 15] = [
        0xec, 0xc1, 0x81, 0, 0, 0, 0, 0x80, 0x20, 0x95, 0xfd, 0x29, 0x17, 0xa9, 0x0a,
    ];
    const ZEROS: usize = 4_094;
    const END: [u8; 5] = [0x80, 0x37, 0xe2, 0x01, 0x00];
    const CRC: u32 = 0x19ac_eb5c;
    const LENGTH: u32 = 4_226_557;
    let member = [
        &HEAD[..],
        &BEGIN,
        &[0; ZEROS],
        &END,
        &CRC.to_le_bytes(),
        &LENGTH.to_le_bytes(),
    ];
    member.concat().repeat(MEMBERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bomb_is_small_enough_to_be_read_and_unpacks_to_63_mb() {
        let bomb = gzip_of_spaces();
        assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bomb).unwrap();
        // gzip compares the check sums.
        let unpacked = std::process::Command::new("gzip")
            .arg("-dc")
            .stdin(std::fs::File::open(file.path()).unwrap())
            .output()
            .unwrap();
        assert!(unpacked.status.success(), "{:?}", unpacked.stderr);
        assert_eq!(unpacked.stdout.len(), 15 * 4_226_557);
        assert!(unpacked.stdout.iter().all(|byte| *byte == b' '));
    }
}
