//! Bodies of verbs: at most 64 KiB, no field that is not known. A misspelt field of a command must not
//! be read as one that is absent.

use axum::body::Body;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api::events;
use crate::api::refusal::Refusal;
use crate::domain::event::{ACTOR_MAX, REASON_MAX};
use crate::domain::json::echo;

/// Who commands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub actor: String,
    pub reason: String,
}

/// Reads a body; `known` has its fields, those of an object within it as `outer.inner`.
pub(super) async fn read<T: DeserializeOwned>(
    body: Body,
    known: &[&'static str],
) -> Result<T, Refusal> {
    let bytes = events::read(body).await?;
    parse(&bytes, known)
}

fn parse<T: DeserializeOwned>(bytes: &[u8], known: &[&'static str]) -> Result<T, Refusal> {
    let object: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        bad(format!(
            "no JSON object at line {line} column {column}: one is expected"
        ))
    })?;
    let inner = object.iter().filter_map(|(outer, value)| {
        let fields = value.as_object()?.keys();
        Some(fields.map(move |field| format!("{outer}.{field}")))
    });
    let fields = object.keys().cloned().chain(inner.flatten());
    for field in fields {
        if !known.contains(&field.as_str()) {
            let meant = nearest(&field, known);
            return Err(bad(format!(
                "{}: unknown field; did you mean {meant}?",
                echo(&field)
            )));
        }
    }
    serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner().to_string();
        bad(format!("{path}: {}", echo(&inner)))
    })
}

/// Both are required of everything that an operator changes.
pub(super) fn who(actor: Option<String>, reason: Option<String>) -> Result<Who, Refusal> {
    let said = |name: &str, text: Option<String>, max: usize, what: &str| {
        text.filter(|text| (1..=max).contains(&text.chars().count()))
            .ok_or_else(|| bad(format!("{name}: expected {what}, 1 to {max} characters")))
    };
    Ok(Who {
        actor: said("actor", actor, ACTOR_MAX, "who commands it")?,
        reason: said("reason", reason, REASON_MAX, "why it is commanded")?,
    })
}

/// A request that cannot be understood.
pub(super) fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad-request", message)
}

/// The known name that is probably meant.
pub(super) fn nearest<'k>(unknown: &str, known: &[&'k str]) -> &'k str {
    let distance = |name: &&&str| {
        let inner = name.rsplit_once('.').map_or(**name, |(_, inner)| inner);
        let whole = strsim::damerau_levenshtein(unknown, name);
        whole.min(strsim::damerau_levenshtein(unknown, inner) + 1)
    };
    known
        .iter()
        .min_by_key(distance)
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Small {
        #[expect(dead_code, reason = "its type is what is read")]
        limit: Option<u16>,
    }

    fn told(body: &str) -> String {
        let known = ["limit", "filter", "filter.type", "actor"];
        let refusal = parse::<Small>(body.as_bytes(), &known).unwrap_err();
        format!("{refusal:?}")
    }

    #[test]
    fn a_body_is_one_object_of_known_fields() {
        assert!(parse::<Small>(b"{\"limit\":3}", &["limit"]).is_ok());
        for (body, said) in [
            ("[1]", "no JSON object at line 1"),
            ("{\"limit\":3", "no JSON object at line 1 column 10"),
            ("{\"limt\":3}", "unknown field; did you mean limit?"),
            ("{\"filter\":{\"typ\":1}}", "did you mean filter.type?"),
            ("{\"type\":1}", "did you mean filter.type?"),
            ("{\"limit\":\"3\"}", "limit: "),
        ] {
            assert!(told(body).contains(said), "{body}: {}", told(body));
        }
    }

    #[test]
    fn nobody_commands_without_a_name_and_a_reason() {
        let text = |n: usize| Some("ä".repeat(n));
        assert!(who(text(1), text(512)).is_ok());
        for (actor, reason) in [
            (None, text(1)),
            (text(1), None),
            (text(0), text(1)),
            (text(129), text(1)),
            (text(1), text(513)),
        ] {
            assert!(who(actor, reason).is_err());
        }
    }
}
