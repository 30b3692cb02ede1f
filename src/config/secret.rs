//! Values that are never shown, and how they are written: as they are, or better by reference,
//! `env:NAME` or `file:PATH`, resolved when the configuration is loaded.

use std::fmt;
use std::path::Path;

use super::environment::Environment;

/// What stands for a secret in the effective configuration. Never taken as a value.
pub(super) const REDACTED: &str = "(secret)";

/// No token, password or URL is longer; whoever names a log file by mistake learns it.
const MAX_BYTES: usize = 64 * 1024;

/// A value that is never shown: no `Display`, and its `Debug` says only `(secret)`.
#[derive(Clone)]
pub struct Secret {
    value: String,
    shown: String,
}

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self {
            value,
            shown: REDACTED.to_owned(),
        }
    }

    /// Wraps a Redis URL, of which only the password is secret; `None` when it is none.
    pub fn redis_url(value: String) -> Option<Self> {
        use redis::IntoConnectionInfo;
        value.as_str().into_connection_info().ok()?;
        Some(Self::url(value))
    }

    /// Wraps a value that is public but for the password of a URL, if it has one.
    pub(super) fn url(value: String) -> Self {
        let shown = without_password(&value);
        Self { value, shown }
    }

    /// Wraps a value that may be shown as it is.
    pub(super) fn public(value: String) -> Self {
        let shown = value.clone();
        Self { value, shown }
    }

    /// The value; name the use where it is called.
    pub fn reveal(&self) -> &str {
        &self.value
    }

    /// What may be shown in its place: the reference it came by, a URL without its password, or
    /// `(secret)`.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Resolves `text`; `wrap` makes a secret of what is not a reference. Paths are relative to
    /// `base`. The error is the rest of a line and holds no secret.
    pub(super) fn resolve(
        text: &str,
        base: &Path,
        environment: &Environment,
        wrap: impl Fn(String) -> Self,
    ) -> Result<Self, String> {
        let value = if let Some(name) = text.strip_prefix("env:") {
            let value = environment.value(name);
            value
                .ok_or_else(|| format!("{text}: expected a variable {name} in the environment"))?
                .to_owned()
        } else if let Some(path) = text.strip_prefix("file:") {
            let read = std::fs::read(base.join(path));
            let bytes = read.map_err(|error| format!("{text}: expected a file: {error}"))?;
            if bytes.len() > MAX_BYTES {
                return Err(format!("{text}: expected at most 64 KiB"));
            }
            String::from_utf8(bytes).map_err(|_| format!("{text}: expected UTF-8 text"))?
        } else if text.contains(REDACTED) {
            return Err(format!(
                "{REDACTED}: expected the secret itself, env:NAME or file:PATH"
            ));
        } else {
            return Ok(wrap(text.to_owned()));
        };
        let value = value.strip_suffix('\n').unwrap_or(&value);
        let value = value.strip_suffix('\r').unwrap_or(value).to_owned();
        if value.is_empty() {
            return Err(format!("{text}: expected a value, found nothing"));
        }
        let shown = text.to_owned();
        Ok(Self { value, shown })
    }
}

impl PartialEq for Secret {
    /// Two secrets are equal when their values are, whatever they came by. Not for checking tokens:
    /// it takes longer the longer they agree.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// `redis://user:word@host` becomes `redis://user:(secret)@host`. A query may hold a password too
/// (`unix:///path?pass=word`): then nothing is shown.
fn without_password(url: &str) -> String {
    if url.contains('?') {
        return REDACTED.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return REDACTED.to_owned();
    };
    // The last @ of all: a password may hold /, # and @ when it is not encoded.
    match rest.rsplit_once('@') {
        None => url.to_owned(),
        Some((login, host)) => {
            let user = login.split_once(':').map_or("", |(user, _)| user);
            format!("{scheme}://{user}:{REDACTED}@{host}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_everything_but_its_password() {
        for (url, shown) in [
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("redis://:pw@h/0", "redis://:(secret)@h/0"),
            ("rediss://me:p@w/x@h", "rediss://me:(secret)@h"),
            ("redis://pw@h", "redis://:(secret)@h"),
            ("unix:///run/r.sock?pass=pw", "(secret)"),
            ("pw", "(secret)"),
        ] {
            let secret = Secret::url(url.to_owned());
            assert_eq!(secret.shown(), shown);
            assert_eq!(secret.reveal(), url);
            assert_eq!(format!("{secret:?}"), "(secret)");
        }
    }
}
