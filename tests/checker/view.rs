//! The view's keys as they stand in Redis, by what their names say.

use std::collections::BTreeMap;

use super::Site;

/// A key's place in the documented layout: `meta`, `o`, `q`, `d`, `m`, `x`, `h`, or `t` of no shard.
fn kind(key: &str) -> String {
    let Some(rest) = key.strip_prefix("s{") else {
        return key.chars().take(1).collect();
    };
    let (_, purpose) = rest.split_once('}').unwrap();
    if purpose == "meta" {
        return purpose.to_owned();
    }
    purpose.chars().take(1).collect()
}

impl Site {
    /// How many keys of each kind there are.
    pub fn keys(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for key in self.key_names() {
            *counts.entry(kind(&key)).or_default() += 1;
        }
        counts
    }

    /// How many orders are marked as settled.
    pub fn marks(&self) -> usize {
        let mut redis = self.redis();
        let marks = self.key_names().into_iter().filter(|key| kind(key) == "m");
        marks
            .map(|key| {
                redis::cmd("HLEN")
                    .arg(key)
                    .query::<usize>(&mut redis)
                    .unwrap()
            })
            .sum()
    }

    /// Wipes the view.
    pub fn flush_all(&self) {
        redis::cmd("FLUSHALL")
            .query::<()>(&mut self.redis())
            .unwrap();
    }

    fn key_names(&self) -> Vec<String> {
        redis::cmd("KEYS")
            .arg("*")
            .query(&mut self.redis())
            .unwrap()
    }

    fn redis(&self) -> redis::Connection {
        let client = redis::Client::open(self.redis.url.as_str()).unwrap();
        client.get_connection().unwrap()
    }
}
