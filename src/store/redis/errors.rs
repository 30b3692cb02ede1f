//! The one table from what Redis and its client say to what a caller may conclude: did it run, and
//! is it worth another try? Pure; nothing else in the crate looks at a Redis error.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;

/// What passes, among the errors that have no name of their own: too many clients; a slot that moves
/// away (every script looks at its beginning); a cluster that has lost a part of itself.
const NOT_NOW: [&str; 3] = [
    "max number of clients",
    "access a non local key in a cluster node",
    "while the cluster is down",
];

/// What an error means. `NOSCRIPT` never comes here: the script is sent again with its text.
pub(super) fn store_error(error: &RedisError) -> StoreError {
    let said = error.to_string();
    match error.kind() {
        ErrorKind::Server(kind) => match kind {
            // A refusal of ours, or a script that met what it cannot read.
            ServerErrorKind::ResponseError if NOT_NOW.iter().any(|what| said.contains(what)) => {
                StoreError::Unavailable(said)
            }
            ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot => {
                StoreError::Corrupt(said)
            }
            // LOADING, READONLY, MOVED, ASK, TRYAGAIN, CLUSTERDOWN, MASTERDOWN, NOPERM: it did not run.
            _ => StoreError::Unavailable(said),
        },
        ErrorKind::Extension => match error.code() {
            Some("OOM") => StoreError::Full(said),
            Some("WRONGTYPE" | "CORRUPT") => StoreError::Corrupt(said),
            // BUSY, MISCONF, NOREPLICAS, NOAUTH, WRONGPASS and the like: it did not run.
            _ => StoreError::Unavailable(said),
        },
        ErrorKind::Io if error.is_connection_refusal() => StoreError::Unavailable(said),
        // A timeout, a connection that broke, an answer that cannot be read: it may have run.
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            StoreError::Lost(said)
        }
        // Said by the client before anything was sent.
        _ => StoreError::Unavailable(said),
    }
}

/// An answer that does not have the form that its script gives it.
pub(super) fn unreadable(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the view answered {what}"))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// What the client makes of an error line that a server sent.
    fn answered(line: &str) -> StoreError {
        let wire = format!("-{line}\r\n");
        let value = redis::parse_redis_value(wire.as_bytes()).unwrap();
        store_error(&value.extract_error().unwrap_err())
    }

    #[test]
    fn every_error_of_a_server_says_whether_it_ran() {
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica.",
            "MOVED 3999 127.0.0.1:6381",
            "ASK 3999 127.0.0.1:6381",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "CLUSTERDOWN The cluster is down",
            "MASTERDOWN Link with MASTER is down",
            "BUSY Redis is busy running a script.",
            "MISCONF Redis is configured to save RDB snapshots",
            "NOREPLICAS Not enough good replicas to write.",
            "NOAUTH Authentication required.",
            "NOPERM this user has no permissions",
            "ERR max number of clients reached",
            "ERR Script attempted to access a non local key in a cluster node script: f_0, on @user_script:14.",
            "ERR Script attempted to execute a write command while the cluster is down and readonly",
        ] {
            let error = answered(line);
            assert!(
                matches!(error, StoreError::Unavailable(_)),
                "{line}: {error}"
            );
        }
        let full = answered("OOM command not allowed when used memory > 'maxmemory'.");
        assert!(matches!(full, StoreError::Full(_)), "{full}");
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "CORRUPT layout 2",
            "ERR user_script:1: bad argument",
            "CROSSSLOT Keys in request don't hash to the same slot",
        ] {
            let error = answered(line);
            assert!(matches!(error, StoreError::Corrupt(_)), "{line}: {error}");
        }
    }

    #[test]
    fn only_a_refused_connection_proves_that_nothing_was_sent() {
        let refused = RedisError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(matches!(store_error(&refused), StoreError::Unavailable(_)));
        for kind in [
            io::ErrorKind::TimedOut,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
        ] {
            let lost = store_error(&RedisError::from(io::Error::from(kind)));
            assert!(matches!(lost, StoreError::Lost(_)), "{kind}: {lost}");
        }
    }
}
