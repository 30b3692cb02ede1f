//! The keys of a shard as they stand in Redis, read and decoded without the store under test: every
//! key that begins with the shard's prefix must be one that the memory store has, too.

use std::collections::BTreeMap;

use redis::{Commands, Connection};
use settled::domain::order::{Mark, TypeId};
use settled::domain::record::Record;
use settled::store::Dump;
use settled::store::key::Key;

/// Where a planted key's real value waits.
const SAVED: &str = "saved:";

/// Reads all keys with this beginning as one string, which a debug build parses a hundred times
/// faster than replies: (length u32, text) of name, type, number of values and each value.
const READ_ALL: &str = "
local out = {}
local function put(text)
  out[#out + 1] = struct.pack('>I4', #text) .. text
end
local reads = { hash = { 'HGETALL' }, list = { 'LRANGE', 0, -1 }, string = { 'STRLEN' } }
reads.zset = { 'ZRANGE', 0, -1, 'WITHSCORES' }
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key).ok
  local read = reads[kind]
  local values = redis.call(read[1], key, unpack(read, 2))
  if kind == 'string' then values = {} end
  put(key)
  put(kind)
  put(tostring(#values))
  for i = 1, #values do put(values[i]) end
end
return table.concat(out)";

struct Stored {
    name: String,
    kind: String,
    values: Vec<Vec<u8>>,
}

fn read_all(redis: &mut Connection, beginning: &str) -> Vec<Stored> {
    let mut eval = redis::cmd("EVAL");
    let blob: Vec<u8> = eval
        .arg(READ_ALL)
        .arg(0)
        .arg(beginning)
        .query(redis)
        .unwrap();
    let mut rest = blob.as_slice();
    let mut take = || {
        let (len, after) = rest.split_at_checked(4)?;
        let (value, after) = after.split_at(number(len) as usize);
        rest = after;
        Some(value.to_vec())
    };
    let mut all = Vec::new();
    while let Some(name) = take() {
        let kind = text(&take().unwrap());
        let count: usize = text(&take().unwrap()).parse().unwrap();
        all.push(Stored {
            name: text(&name),
            kind,
            values: (0..count).map(|_| take().unwrap()).collect(),
        });
    }
    all
}

/// Everything under the shard's keys, in the form of [`Dump`]; also buckets that no record names.
pub fn dump(redis: &mut Connection, prefix: &str, shard: u16) -> Dump {
    let base = format!("{prefix}s{{{shard}}}");
    let (planted, mut keys): (Vec<_>, Vec<_>) = read_all(redis, &base)
        .into_iter()
        .partition(|key| key.kind == "string");
    if !planted.is_empty() {
        // The value that waits behind a key of the wrong type still belongs to the view.
        let mut saved = read_all(redis, &format!("{SAVED}{base}"));
        saved.retain(|saved| {
            planted
                .iter()
                .any(|key| key.name == saved.name[SAVED.len()..])
        });
        keys.extend(saved);
    }
    let mut dump = Dump::default();
    for key in &keys {
        add(&mut dump, purpose(&key.name, &base), &key.values);
    }
    dump
}

fn kind(redis: &mut Connection, key: &str) -> String {
    redis::cmd("TYPE").arg(key).query(redis).unwrap()
}

fn purpose<'a>(key: &'a str, base: &str) -> (char, &'a str) {
    let rest = key.strip_prefix(SAVED).unwrap_or(key);
    let rest = rest.strip_prefix(base).unwrap();
    (rest.chars().next().unwrap(), &rest[1..])
}

fn add(dump: &mut Dump, (purpose, name): (char, &str), value: &[Vec<u8>]) {
    let pairs = || value.chunks_exact(2).map(|pair| (&pair[0], &pair[1]));
    match purpose {
        'm' if name == "eta" => dump.meta = meta(pairs()),
        'm' => {
            let hour = name.split_once('.').unwrap().0.parse().unwrap();
            let marks = pairs().map(|(mark, value)| {
                let code = char::from(value[0]).to_string();
                (
                    Mark(mark.as_slice().try_into().unwrap()),
                    (code, number(&value[1..])),
                )
            });
            dump.marks.entry(hour).or_default().extend(marks);
        }
        'o' => dump
            .records
            .extend(pairs().map(|(field, packed)| (order(field), Record::unpack(packed).unwrap()))),
        'q' => dump
            .queries
            .extend(pairs().map(|(field, query)| (order(field), text(query)))),
        'd' => {
            let entries = value.iter().map(|entry| {
                let claim = number(&entry[2..6]) as u32;
                (claim, req_no(&entry[6..]))
            });
            dump.buckets.insert(name.to_owned(), entries.collect());
        }
        'x' => dump
            .exhausted
            .extend(pairs().map(|(field, score)| (order(field), text(score).parse().unwrap()))),
        'h' => dump.slots.extend(pairs().map(|(name, value)| {
            let numbers = (
                number(&value[..4]),
                number(&value[4..10]),
                number(&value[10..]),
            );
            (text(name), numbers)
        })),
        _ => panic!("a key that no view has: {purpose}{name}"),
    }
}

fn meta<'a>(pairs: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> BTreeMap<String, String> {
    let mut meta = BTreeMap::new();
    for (name, value) in pairs {
        let name = text(name);
        let (first, id) = name.split_at(1);
        let is_id = id.parse::<u8>().is_ok();
        let (name, value) = match (first, name.as_str()) {
            ("t", _) if is_id => (format!("type.{id}"), text(value)),
            ("c", _) if is_id => (format!("cursor.{id}"), text(value)),
            ("x", _) if is_id => (format!("exhausted.{id}"), text(value)),
            // The name's id; `t` tells the same.
            ("n", _) => continue,
            (_, "mark_key") => {
                let (high, low) = value.split_at(8);
                (name, format!("{:016x}{:016x}", number(high), number(low)))
            }
            (_, "hours") => {
                let hours = value.chunks_exact(6);
                let hours = hours.map(|h| format!("{}:{}", number(&h[..4]), number(&h[4..])));
                (name, hours.collect::<Vec<_>>().join(","))
            }
            _ => (name, text(value)),
        };
        meta.insert(name, value);
    }
    let ids: Vec<_> = meta
        .keys()
        .filter_map(|name| name.strip_prefix("type.").map(str::to_owned))
        .collect();
    for id in ids {
        meta.entry(format!("exhausted.{id}"))
            .or_insert_with(|| "0".to_owned());
    }
    if !meta.is_empty() {
        meta.entry("hours".to_owned()).or_default();
    }
    meta
}

fn order(field: &[u8]) -> String {
    format!("{}/{}", field[0], req_no(&field[1..]))
}

/// A number that begins below `!` is shortened: how many characters are kept, those, then digits in
/// half bytes.
fn req_no(number: &[u8]) -> String {
    let kept = usize::from(number[0]);
    if kept > 0x1f {
        return text(number);
    }
    let digits = number[1 + kept..].iter().map(|byte| format!("{byte:02x}"));
    let digits: String = digits.collect();
    text(&number[1..=kept]) + digits.trim_end_matches('f')
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// Puts a value of the wrong type in the key's place.
pub fn plant(redis: &mut Connection, prefix: &str, shard: u16, key: Key) {
    let name = key.name(prefix, shard);
    if redis.exists(&name).unwrap() {
        let _: () = redis.rename(&name, format!("{SAVED}{name}")).unwrap();
    }
    let _: () = redis.set(&name, "wrong").unwrap();
}

/// Puts the key's value back, unless the planted one was removed meanwhile.
pub fn mend(redis: &mut Connection, prefix: &str, shard: u16, key: Key) {
    let name = key.name(prefix, shard);
    let saved = format!("{SAVED}{name}");
    if kind(redis, &name) == "string" {
        let _: () = redis.del(&name).unwrap();
        if redis.exists(&saved).unwrap() {
            let _: () = redis.rename(&saved, &name).unwrap();
        }
    } else {
        let _: () = redis.del(&saved).unwrap();
    }
}

/// Removes every key of the shard.
pub fn wipe(redis: &mut Connection, prefix: &str, shard: u16) {
    let keys: Vec<String> = redis.keys(format!("{prefix}s{{{shard}}}*")).unwrap();
    if !keys.is_empty() {
        let _: () = redis.del(keys).unwrap();
    }
}

/// Removes one key.
pub fn lose(redis: &mut Connection, prefix: &str, shard: u16, key: Key) {
    let _: () = redis.del(key.name(prefix, shard)).unwrap();
}

/// The bucket keys of a dump.
pub fn buckets(dump: &Dump) -> Vec<(TypeId, u32)> {
    let parse = |name: &String| {
        let (id, second) = name.split_once('.').unwrap();
        (TypeId(id.parse().unwrap()), second.parse().unwrap())
    };
    dump.buckets.keys().map(parse).collect()
}
