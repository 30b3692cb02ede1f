//! What Redis says of itself: the longest commands, the mean of the scripts, memory.

use std::collections::BTreeMap;

use redis::{ConnectionLike, Value, cmd};

use crate::checker::Site;

/// Counts from now on; nothing shorter than this many microseconds is noted one by one.
pub fn reset(redis: &mut impl ConnectionLike) {
    for (name, value) in [
        ("slowlog-log-slower-than", "200"),
        ("slowlog-max-len", "100000"),
    ] {
        cmd("CONFIG")
            .arg(&["SET", name, value])
            .exec(redis)
            .unwrap();
    }
    cmd("SLOWLOG").arg("RESET").exec(redis).unwrap();
    cmd("CONFIG").arg("RESETSTAT").exec(redis).unwrap();
}

/// The longest commands since [`reset`], and the mean of the scripts.
pub fn tell(redis: &mut impl ConnectionLike) -> String {
    let slow: Vec<Vec<Value>> = cmd("SLOWLOG").arg(&["GET", "100000"]).query(redis).unwrap();
    let mut scripts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for entry in slow {
        let [_, _, Value::Int(us), Value::Array(words), ..] = &entry[..] else {
            continue;
        };
        let word = |at: usize| match words.get(at) {
            Some(Value::BulkString(word)) => String::from_utf8_lossy(word).into_owned(),
            _ => String::new(),
        };
        if word(0).starts_with("EVAL") {
            // A script is known by the beginning of its digest.
            let digest = word(1).chars().take(8).collect();
            scripts.entry(digest).or_default().push(*us);
        }
    }
    let longest = scripts
        .values()
        .flatten()
        .max()
        .copied()
        .unwrap_or_default();
    let mut text = format!("longest {:.2} ms;", longest as f64 / 1e3);
    let stats: String = cmd("INFO").arg("commandstats").query(redis).unwrap();
    let script = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let field = |name: &str| {
        let fields = script.unwrap_or_default().split(',');
        let mut fields = fields.filter_map(|field| field.split_once('='));
        let value = fields.find(|field| field.0 == name).map(|field| field.1);
        value.and_then(|value| value.parse::<f64>().ok())
    };
    text += &format!(
        " {:.0} scripts of {:.0} us;",
        field("calls").unwrap_or_default(),
        field("usec_per_call").unwrap_or_default()
    );
    for (digest, mut times) in scripts {
        times.sort_unstable();
        let over = times.iter().filter(|us| **us > 2_000).count();
        text += &format!(
            " {digest} {} over 0.2 ms, {over} over 2 ms, longest {:.2};",
            times.len(),
            times[times.len() - 1] as f64 / 1e3
        );
    }
    text
}

/// `used_memory`, in bytes.
pub fn used_memory(redis: &mut impl ConnectionLike) -> u64 {
    let info: String = cmd("INFO").arg("memory").query(redis).unwrap();
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    used.unwrap().parse().unwrap()
}

/// What the view of all shards holds, counted in Redis itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Records: pending and exhausted orders.
    pub records: u64,
    /// Exhausted orders.
    pub exhausted: u64,
    /// Shards that are half rebuilt.
    pub rebuilding: u64,
}

impl View {
    /// Counts.
    pub fn of(site: &Site, redis: &mut impl ConnectionLike) -> Self {
        let hashes = hash_names();
        let mut view = Self::default();
        for shard in 0..site_shards(site) {
            let mut pipe = redis::pipe();
            for hash in &hashes {
                pipe.cmd("HLEN").arg(format!("s{{{shard}}}o{hash}"));
            }
            pipe.cmd("ZCARD").arg(format!("s{{{shard}}}x"));
            pipe.cmd("HEXISTS")
                .arg(format!("s{{{shard}}}meta"))
                .arg("rebuild");
            let counts: Vec<u64> = pipe.query(redis).unwrap();
            let (records, rest) = counts.split_at(hashes.len());
            view.records += records.iter().sum::<u64>();
            view.exhausted += rest[0];
            view.rebuilding += rest[1];
        }
        view
    }
}

fn site_shards(site: &Site) -> i32 {
    site.shards
}

/// The two characters of each of the 1024 record hashes of a shard.
fn hash_names() -> Vec<String> {
    const SIGNS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-";
    let sign = |n: usize| char::from(SIGNS[n]);
    let name = |n: usize| [sign(n / 64), sign(n % 64)].iter().collect();
    (0..1_024).map(name).collect()
}
