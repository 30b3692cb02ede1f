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

    /// Makes a key a string.
    pub fn put(&self, key: &str, value: &str) {
        redis::cmd("SET")
            .arg(key)
            .arg(value)
            .exec(&mut self.redis())
            .unwrap();
    }

    /// Removes the record of one order, whose number does not end in digits: only then it stands in
    /// its field as it is.
    pub fn take_from_the_view(&self, number: &str) {
        let mut redis = self.redis();
        let mut removed = 0;
        for key in self.key_names().iter().filter(|key| kind(key) == "o") {
            let fields: Vec<Vec<u8>> = redis::cmd("HKEYS").arg(key).query(&mut redis).unwrap();
            for field in fields {
                if field.get(1..) == Some(number.as_bytes()) {
                    let removing = redis::cmd("HDEL")
                        .arg(key)
                        .arg(field)
                        .query::<u32>(&mut redis);
                    removed += removing.unwrap();
                }
            }
        }
        assert_eq!(removed, 1, "{number} is in the view");
    }

    fn key_names(&self) -> Vec<String> {
        redis::cmd("KEYS")
            .arg("*")
            .query(&mut self.redis())
            .unwrap()
    }

    /// A plain connection.
    pub fn redis(&self) -> redis::Connection {
        let client = redis::Client::open(self.redis.url.as_str()).unwrap();
        client.get_connection().unwrap()
    }
}
