//! Events of the user's own, one JSON object a line. A line that is no event is told with its number
//! and published all the same, so that its dead letter can be seen.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::sample::Published;
use crate::domain::event::{decode, is_stale};
use crate::domain::order::{Millis, TypeName};

/// The longest line; the embedded broker keeps 5 MiB a partition in all.
const LINE_MAX: u64 = 1024 * 1024;

/// Lines that are read before the worker starts, for their order types.
const AHEAD_LINES: usize = 10_000;

/// How long the first lines of standard input are waited for.
const AHEAD_WAIT: Duration = Duration::from_secs(1);

/// Order types that are configured from the lines read ahead.
const TYPES_MAX: usize = 100;

/// Why the events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// No such file, or the like.
    #[error("--events {path}: {error}")]
    Unreadable {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line without an end.
    #[error("--events {path}: line {line}: longer than 1 MiB")]
    TooLong {
        /// As it was named.
        path: PathBuf,
        /// From 1 on.
        line: u64,
    },
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1 on.
    pub number: u64,
    /// To be published.
    pub record: Published,
    /// Why it is no event, `reason: detail`.
    pub bad: Option<String>,
}

/// The lines of a file or of standard input.
pub struct OwnEvents {
    path: PathBuf,
    input: Box<dyn AsyncBufRead + Send + Unpin>,
    number: u64,
    ahead: VecDeque<(u64, Vec<u8>)>,
    /// A line that is being read; a cancelled read goes on with it.
    partial: Vec<u8>,
    shards: u16,
    window: Millis,
}

impl OwnEvents {
    /// Opens `path`; `-` is standard input.
    ///
    /// # Errors
    /// [`EventsError::Unreadable`].
    pub async fn open(path: &Path, shards: u16, window: Millis) -> Result<Self, EventsError> {
        let unreadable = |error| EventsError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let input: Box<dyn AsyncBufRead + Send + Unpin> = if path == Path::new("-") {
            Box::new(BufReader::new(tokio::io::stdin()))
        } else {
            let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
            if file.metadata().await.map_err(unreadable)?.is_dir() {
                return Err(unreadable(io::ErrorKind::IsADirectory.into()));
            }
            Box::new(BufReader::new(file))
        };
        Ok(Self::new(path, input, shards, window))
    }

    fn new(
        path: &Path,
        input: Box<dyn AsyncBufRead + Send + Unpin>,
        shards: u16,
        window: Millis,
    ) -> Self {
        Self {
            path: path.to_owned(),
            input,
            number: 0,
            ahead: VecDeque::new(),
            partial: Vec::new(),
            shards,
            window,
        }
    }

    /// The order types of the first lines, the most that are configured; waits a second for them.
    ///
    /// # Errors
    /// See [`EventsError`].
    pub async fn order_types(&mut self) -> Result<BTreeSet<TypeName>, EventsError> {
        let reading = async {
            while self.ahead.len() < AHEAD_LINES {
                match self.read().await? {
                    Some(line) => self.ahead.push_back(line),
                    None => break,
                }
            }
            Ok(())
        };
        if let Ok(read) = tokio::time::timeout(AHEAD_WAIT, reading).await {
            read?;
        }
        let events = self.ahead.iter().filter_map(|(_, line)| decode(line).ok());
        let types: BTreeSet<TypeName> = events.map(|event| event.key.order_type).collect();
        Ok(types.into_iter().take(TYPES_MAX).collect())
    }

    /// The next line at `now`, wall time; `None`: that was all. Cancelling loses nothing.
    ///
    /// # Errors
    /// See [`EventsError`].
    pub async fn next(&mut self, now: Millis) -> Result<Option<Line>, EventsError> {
        let line = match self.ahead.pop_front() {
            Some(line) => Some(line),
            None => self.read().await?,
        };
        Ok(line.map(|(number, value)| self.line(number, value, now)))
    }

    fn line(&self, number: u64, value: Vec<u8>, now: Millis) -> Line {
        let event = decode(&value);
        let bad = match &event {
            Err(refusal) => Some(format!("{}: {}", refusal.reason.as_str(), refusal.detail)),
            Ok(event) if is_stale(event.at, now, self.window) => Some(
                "stale: at: more than 24 hours ago, which is as long as orders are remembered"
                    .to_owned(),
            ),
            Ok(_) => None,
        };
        let key = event.ok().map(|event| event.key);
        Line {
            number,
            record: Published {
                partition: key.as_ref().map(|key| key.shard(self.shards)),
                key: key.map(|key| key.to_string()),
                value,
            },
            bad,
        }
    }

    /// The next line that is not empty.
    async fn read(&mut self) -> Result<Option<(u64, Vec<u8>)>, EventsError> {
        loop {
            let room = LINE_MAX.saturating_sub(self.partial.len() as u64);
            let mut input = (&mut self.input).take(room);
            let read = input.read_until(b'\n', &mut self.partial).await;
            let read = read.map_err(|error| EventsError::Unreadable {
                path: self.path.clone(),
                error,
            })?;
            let ended = self.partial.last() == Some(&b'\n');
            if !ended && self.partial.len() as u64 >= LINE_MAX {
                return Err(EventsError::TooLong {
                    path: self.path.clone(),
                    line: self.number + 1,
                });
            }
            if read == 0 && self.partial.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            let line = std::mem::take(&mut self.partial);
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Ok(Some((self.number, line.to_vec())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &'static str) -> OwnEvents {
        OwnEvents::new(Path::new("-"), Box::new(text.as_bytes()), 4, 1_000)
    }

    const GOOD: &str =
        r#"{"type":"pay","reqNO":"1","status":3,"at":"2026-11-23T07:00:00Z","source":"t"}"#;
    const AT: Millis = 1_795_417_200_000;

    #[tokio::test]
    async fn lines_are_numbered_as_an_editor_does_and_keyed_by_their_order() {
        let text = concat!(
            "\n\r\n",
            r#"{"type":"pay","reqNO":"1","status":3,"at":"2026-11-23T07:00:00Z","source":"t"}"#,
            "\r\n{}\n\nlast"
        );
        let mut events = events(text);
        assert_eq!(
            events.order_types().await.unwrap(),
            TypeName::new("pay").into_iter().collect()
        );
        let good = events.next(AT).await.unwrap().unwrap();
        assert_eq!((good.number, good.bad), (3, None));
        assert_eq!(
            (good.record.key.as_deref(), &*good.record.value),
            (Some("pay/1"), GOOD.as_bytes())
        );
        let empty = events.next(AT).await.unwrap().unwrap();
        assert_eq!((empty.number, empty.record.partition), (4, None));
        assert!(empty.bad.unwrap().starts_with("schema: "), "says why");
        let last = events.next(AT).await.unwrap().unwrap();
        assert_eq!((last.number, &*last.record.value), (6, &b"last"[..]));
        assert_eq!(events.next(AT).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_event_of_long_ago_is_told_because_it_becomes_a_dead_letter() {
        let line = events(GOOD).next(AT + 1_001).await.unwrap().unwrap();
        assert!(line.bad.unwrap().starts_with("stale: "));
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_an_error() {
        let text: &'static str = "x".repeat(LINE_MAX as usize + 1).leak();
        let error = events(text).next(AT).await.unwrap_err();
        assert!(
            matches!(error, EventsError::TooLong { line: 1, .. }),
            "{error}"
        );
    }
}
