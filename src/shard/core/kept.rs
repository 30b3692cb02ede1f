//! What the view keeps beside a record, as one JSON text: the query fields and the trace parent.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize, Serialize)]
struct Kept<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    query: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<std::borrow::Cow<'a, str>>,
}

/// `None` when there is nothing to keep.
pub fn join(query: Option<&str>, traceparent: Option<&str>) -> Option<Box<str>> {
    let query = query.and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
    if query.is_none() && traceparent.is_none() {
        return None;
    }
    serde_json::to_string(&Kept {
        query,
        traceparent: traceparent.map(Into::into),
    })
    .ok()
    .map(Into::into)
}

/// The query object and the trace parent.
pub fn split(kept: Option<&str>) -> (Option<Box<str>>, Option<Box<str>>) {
    let Some(kept) = kept.and_then(|text| serde_json::from_str::<Kept<'_>>(text).ok()) else {
        return (None, None);
    };
    (
        kept.query.map(|raw| raw.get().into()),
        kept.traceparent.map(|text| text.into_owned().into()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let kept = join(Some(r#"{"bank":"CMB"}"#), Some("00-ab-cd-01")).unwrap();
        let (query, parent) = split(Some(&kept));
        assert_eq!(query.as_deref(), Some(r#"{"bank":"CMB"}"#));
        assert_eq!(parent.as_deref(), Some("00-ab-cd-01"));
        assert_eq!(join(None, None), None);
        assert_eq!(split(None), (None, None));
    }
}
