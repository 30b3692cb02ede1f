//! `settled order show`: what both logs hold of one order, from where the view says that it began.
//! Bounded, and says so where it stopped early. Only reads; the worker has no part in it, as it has due
//! times to keep.

use std::io::{self, BufRead};
use std::path::Path;

use anyhow::Context;
use rdkafka::Message;
use serde_json::Value;

use crate::config::Config;
use crate::domain::event::decode;
use crate::domain::order::{Millis, OrderKey};
use crate::domain::result::OrderResult;
use crate::kafka::Log;
use crate::kafka::ends::EndAsker;
use crate::kafka::settings::{Settings, World};
use crate::store::Store;
use crate::store::redis::RedisStore;
use crate::store::script::Found;
use crate::verify::logs::{Logs, Stretch};

/// Records of each log that are read for one order, some seconds of a fast broker.
const RECORDS_MAX: u64 = 2_000_000;

/// Brokers' clocks differ.
const SLACK: Millis = 60_000;

/// The longest log line that is read; ours are shorter.
const LINE_MAX: usize = 64 * 1024;

/// What is known of one order.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What the view says.
    pub state: Option<Found>,
    /// Its events, as they were appended.
    pub events: Vec<Entry>,
    /// Its results.
    pub results: Vec<Entry>,
    /// Its questions, from log lines.
    pub questions: Vec<Value>,
    /// One line for each log that was not read to its end.
    pub stopped: Vec<String>,
}

/// A record about the order.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Of its topic.
    pub partition: u16,
    /// In the partition.
    pub offset: u64,
    /// When it was appended.
    pub appended: Millis,
    /// The record's value.
    pub value: Value,
}

/// Reads the history of `key` from both logs.
///
/// # Errors
/// Kafka or Redis does not answer, or a log cannot be read. Cancelling leaves nothing behind.
pub async fn read(config: &Config, key: &OrderKey) -> anyhow::Result<History> {
    let settings = Settings::new(config, World::Real);
    let store = RedisStore::connect(&config.redis.urls, &config.redis.prefix).await?;
    let search = Search {
        ends: EndAsker::new(&settings).context("kafka")?,
        logs: Logs::new(&settings).context("kafka")?,
        shard: key.shard(config.shards),
        key: key.clone(),
    };
    let state = store.find(search.shard, key).await?;
    let window = config.dedupe_window.as_millis() as Millis;
    let since = search.since(&state, window, crate::clock::Clock::start().wall());
    let since = since.await?;
    let mut history = History {
        state: Some(state),
        ..History::default()
    };
    history.events = search
        .entries(Log::Events, since, &mut history.stopped)
        .await?;
    history.results = search
        .entries(Log::Results, since, &mut history.stopped)
        .await?;
    Ok(history)
}

struct Search {
    ends: EndAsker,
    logs: Logs,
    shard: u16,
    key: OrderKey,
}

impl Search {
    /// A time before its first event, as far as anybody remembers. A later phase has forgotten the
    /// earlier ones: they are looked for as far back as a settled order would be remembered.
    async fn since(&self, state: &Found, window: Millis, now: Millis) -> anyhow::Result<Millis> {
        let (first_seen, phase) = match state {
            Found::Open { record, .. } => (record.first_seen, record.phase),
            Found::Settled { offset, .. } => {
                match self.ends.result_at(self.shard, *offset).await? {
                    Some(result) if result.key == self.key => (result.first_seen, result.phase),
                    _ => (now.saturating_sub(window), 1),
                }
            }
            Found::Unknown => (now, 1),
        };
        let earlier = if phase == 0 { 0 } else { window };
        Ok(first_seen.saturating_sub(earlier + SLACK))
    }

    /// The records of a log that are about the order.
    async fn entries(
        &self,
        log: Log,
        since: Millis,
        stopped: &mut Vec<String>,
    ) -> anyhow::Result<Vec<Entry>> {
        let shard = self.shard;
        let ends = self.ends.ends(log, shard).await?;
        let Some(from) = self.ends.offset_for_time(log, shard, since).await? else {
            return Ok(Vec::new());
        };
        let from = from.max(ends.low);
        let to = ends.high.min(from.saturating_add(RECORDS_MAX));
        if to < ends.high {
            stopped.push(format!(
                "{log:?} of shard {shard}: read from {from} to {to}, of {}",
                ends.high
            ));
        }
        let stretch = Stretch {
            log,
            partition: shard,
            from,
            to,
        };
        let key = self.key.clone();
        let take = move |entries: &mut Vec<Entry>,
                         record: &rdkafka::message::BorrowedMessage<'_>| {
            let value = record.payload().unwrap_or_default();
            if is_about(log, &key, value)
                && let Ok(value) = serde_json::from_slice(value)
            {
                entries.push(Entry {
                    partition: shard,
                    offset: u64::try_from(record.offset()).unwrap_or_default(),
                    appended: millis(record.timestamp().to_millis()),
                    value,
                });
            }
        };
        Ok(self.logs.read(stretch, Vec::new(), take).await?)
    }
}

fn millis(time: Option<i64>) -> Millis {
    time.and_then(|time| u64::try_from(time).ok()).unwrap_or(0)
}

/// Most records are not: their number does not stand in them at all.
fn is_about(log: Log, key: &OrderKey, value: &[u8]) -> bool {
    let number = key.req_no.as_str();
    // A number with a quote or a backslash stands escaped.
    let plain = !number.contains(['"', '\\']);
    if plain && !std::str::from_utf8(value).is_ok_and(|text| text.contains(number)) {
        return false;
    }
    match log {
        Log::Events => decode(value).is_ok_and(|event| event.key == *key),
        Log::Results => OrderResult::decode(value, None).is_some_and(|result| result.key == *key),
    }
}

/// The questions about `key` among the log lines of `file`; `-` is standard input. Lines that are none
/// of ours are passed over.
///
/// # Errors
/// The file cannot be read.
pub fn questions(file: &Path, key: &OrderKey) -> anyhow::Result<Vec<Value>> {
    let name = file.display();
    if file.as_os_str() == "-" {
        return among(io::stdin().lock(), key).context("standard input");
    }
    let lines = std::fs::File::open(file).with_context(|| name.to_string())?;
    among(io::BufReader::new(lines), key).with_context(|| name.to_string())
}

fn among(mut lines: impl BufRead, key: &OrderKey) -> anyhow::Result<Vec<Value>> {
    let key = key.to_string();
    let mut found = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        if line.len() > LINE_MAX {
            continue;
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&line)
            && value["target"] == "settled::question"
            && value["order"] == key.as_str()
        {
            found.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_about_the_order_that_its_body_names() {
        let event = |req_no: &str| {
            format!(
                r#"{{"v":1,"type":"transfer","reqNO":"{req_no}","status":"3","at":"2026-11-23T07:00:00Z","source":"TX1"}}"#
            )
        };
        let key = OrderKey::parse("transfer/TX1").unwrap();
        assert!(is_about(Log::Events, &key, event("TX1").as_bytes()));
        for other in [&event("TX11"), &event("TX2"), "TX1", "{}"] {
            assert!(!is_about(Log::Events, &key, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn questions_are_found_among_other_lines() {
        let log = b"not json TX1\n\
            {\"target\":\"settled::shard\",\"order\":\"transfer/TX1\"}\n\
            {\"target\":\"settled::question\",\"order\":\"transfer/TX2\",\"attempt\":1}\n\
            {\"target\":\"settled::question\",\"order\":\"transfer/TX1\",\"attempt\":2}";
        let key = OrderKey::parse("transfer/TX1").unwrap();
        let found = among(&log[..], &key).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["attempt"], 2);
    }
}
