//! The process environment, read once. `config` turns it into values and secrets; `cli` asks it for
//! the file's name and the log filter. Nothing else reads the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The prefix of every variable that configures `settled`.
pub(super) const PREFIX: &str = "SETTLED_";

/// Which configuration file; `--config` goes before it.
pub const CONFIG: &str = "SETTLED_CONFIG";
/// Which log lines, as in `info` or `settled=debug`; `--log-level` goes before it.
pub const LOG: &str = "SETTLED_LOG";
/// `text` or `json`; `--log-format` goes before it.
pub const LOG_FORMAT: &str = "SETTLED_LOG_FORMAT";

/// Who is logged in, as the system says; the first that is set.
const LOGIN: [&str; 2] = ["LOGNAME", "USER"];

/// Which fault point ends or stops this worker; only a build with fault points knows it.
#[cfg(feature = "fault-points")]
pub const FAULT: &str = "SETTLED_FAULT";

/// The variables that are no fields.
const NO_FIELDS: &[&str] = &[
    CONFIG,
    LOG,
    LOG_FORMAT,
    #[cfg(feature = "fault-points")]
    FAULT,
];

/// Variables with this prefix tell the project's tests which servers to use; a `settled` that they
/// start inherits them.
const OF_TESTS: &str = "SETTLED_TEST_";

/// A snapshot of the environment. Its values may be secret: it has no `Debug`.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, OsString>,
}

impl Environment {
    /// What this process was started with.
    pub fn of_process() -> Self {
        let named = |(name, value): (OsString, _)| Some((name.into_string().ok()?, value));
        Self {
            values: std::env::vars_os().filter_map(named).collect(),
        }
    }

    /// The value of `name`; `None` when it is not set or not UTF-8.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.to_str()
    }

    /// The login name.
    pub fn login(&self) -> Option<&str> {
        let mut names = LOGIN.iter().filter_map(|name| self.value(name));
        names.find(|name| !name.is_empty())
    }

    /// The variables that set a field of the configuration, in the order of their names; the value is
    /// `None` when it is not UTF-8.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.values
            .range(PREFIX.to_owned()..)
            .take_while(|(name, _)| name.starts_with(PREFIX))
            .filter(|(name, _)| !NO_FIELDS.contains(&name.as_str()))
            .filter(|(name, _)| !is_service_link(name) && !name.starts_with(OF_TESTS))
            .map(|(name, value)| (name.as_str(), value.to_str()))
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let own = |(name, value): (N, V)| (name.into(), value.into());
        Self {
            values: pairs.into_iter().map(own).collect(),
        }
    }
}

/// Kubernetes gives every pod variables for each service of its namespace; a service called
/// `settled` must not keep `settled` from starting.
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>)
fn is_service_link(name: &str) -> bool {
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.ends_with("_PORT")
            || name.contains("_PORT_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_no_fields_are_left_alone() {
        let environment: Environment = [
            ("SETTLED_PORT", "tcp://10.0.0.11:8080"),
            ("SETTLED_PORT_8080_TCP_ADDR", "10.0.0.11"),
            ("SETTLED_SERVICE_HOST", "10.0.0.11"),
            ("SETTLED_API_SERVICE_PORT_HTTP", "8080"),
            ("SETTLED_CONFIG", "a.toml"),
            ("SETTLED_TEST_REDIS", "redis://h"),
            ("SETTLED_SHARDS", "4"),
            ("SETTLER", "x"),
        ]
        .into_iter()
        .collect();
        let fields: Vec<_> = environment.fields().collect();
        assert_eq!(fields, [("SETTLED_SHARDS", Some("4"))]);
        assert_eq!(environment.value("SETTLED_CONFIG"), Some("a.toml"));
    }

    #[test]
    fn only_a_build_with_fault_points_takes_a_fault_for_no_field() {
        let environment: Environment = [("SETTLED_FAULT", "asked:kill")].into_iter().collect();
        let refused = usize::from(!cfg!(feature = "fault-points"));
        assert_eq!(environment.fields().count(), refused);
    }
}
