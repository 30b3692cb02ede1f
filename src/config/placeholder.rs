//! The placeholders of a request template: `{type}`, `{reqNO}`, `{query.NAME}`. Checked here so that
//! a mistake is told with its line; filled in by the query engine.

use super::fields::quoted;

const FORM: &str = "the placeholders {type}, {reqNO} and {query.NAME}, each closed";

/// `text` with every placeholder replaced by `sample`; the error is the rest of a line.
pub(super) fn filled(text: &str, sample: &str) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let known = after.split_once('}').filter(|(name, _)| is_known(name));
        let Some((_, after)) = known else {
            return Err(format!("{}: expected only {FORM}", quoted(text)));
        };
        filled.push_str(before);
        filled.push_str(sample);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether `text` has a placeholder.
pub(super) fn is_in(text: &str) -> bool {
    text.contains('{')
}

fn is_known(name: &str) -> bool {
    let query = |field: &str| {
        !field.is_empty()
            && field
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    matches!(name, "type" | "reqNO") || name.strip_prefix("query.").is_some_and(query)
}
