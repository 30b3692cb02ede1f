//! Which node of a Redis Cluster owns what, as the nodes tell it. Pure.

use std::collections::BTreeSet;

use redis::Value;

/// Host and port.
pub(super) type Address = (String, u16);

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// The slot of a key: of what stands between its first braces, else of all of it
/// (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).
pub(super) fn slot_of(key: &str) -> u16 {
    let tagged = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let tag = tagged.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    crc16(tag.unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// What one node believes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// First slot, last slot, owner; ascending.
    ranges: Vec<(u16, u16, Address)>,
    /// Owners and replicas.
    pub members: BTreeSet<Address>,
}

impl Slots {
    /// Reads an answer to `CLUSTER SLOTS`; a node that does not know its own host is where it was
    /// asked. `None`: it is none, or nothing is owned.
    pub fn read(answer: &Value, asked: &str) -> Option<Self> {
        let mut slots = Self::default();
        for range in parts(answer)? {
            let [first, last, nodes @ ..] = parts(range)? else {
                return None;
            };
            let mut nodes = nodes.iter().map(|node| address(node, asked));
            let owner = nodes.next()?;
            slots.members.extend(nodes.flatten());
            let Some(owner) = owner else { continue };
            slots.members.insert(owner.clone());
            slots.ranges.push((number(first)?, number(last)?, owner));
        }
        slots.ranges.sort_unstable();
        (!slots.ranges.is_empty()).then_some(slots)
    }

    /// What most of the nodes believe; one that was cut off from the others speaks for itself alone.
    pub fn of_most(said: Vec<Self>) -> Option<Self> {
        let alike = |one: &Self| {
            said.iter()
                .filter(|other| other.ranges == one.ranges)
                .count()
        };
        let best = (0..said.len()).rev().max_by_key(|at| alike(&said[*at]))?;
        said.into_iter().nth(best)
    }

    pub fn owner(&self, slot: u16) -> Option<&Address> {
        let behind = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, owner) = self.ranges.get(behind.checked_sub(1)?)?;
        (slot <= *last).then_some(owner)
    }

    pub fn owners(&self) -> BTreeSet<&Address> {
        self.ranges.iter().map(|(.., owner)| owner).collect()
    }
}

/// Where a redirection leads: `host:port`; without a host, to the one that was asked.
pub(super) fn redirected(to: &str, asked: &str) -> Option<Address> {
    let (host, port) = to.rsplit_once(':')?;
    let host = if host.is_empty() { asked } else { host };
    Some((host.to_owned(), port.parse().ok()?))
}

/// `?`: the node is not known well enough to be asked.
fn address(node: &Value, asked: &str) -> Option<Address> {
    let [host, port, ..] = parts(node)? else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        _ => "",
    };
    let host = if host.is_empty() { asked } else { host };
    (host != "?").then_some((host.to_owned(), number(port)?))
}

fn parts(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(parts) => Some(parts),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64) -> Value {
        let id = Value::BulkString(b"id".to_vec());
        Value::Array(vec![
            Value::BulkString(host.as_bytes().to_vec()),
            Value::Int(port),
            id,
        ])
    }

    fn range(first: i64, last: i64, nodes: &[(&str, i64)]) -> Value {
        let nodes = nodes.iter().map(|(host, port)| node(host, *port));
        Value::Array(
            [Value::Int(first), Value::Int(last)]
                .into_iter()
                .chain(nodes)
                .collect(),
        )
    }

    fn at(host: &str, port: u16) -> Address {
        (host.to_owned(), port)
    }

    #[test]
    fn a_key_belongs_to_the_slot_that_redis_gives_it() {
        // As `CLUSTER KEYSLOT` of Redis 7.0 answers.
        for (key, slot) in [
            ("123456789", 12_739),
            ("s{0}meta", 13_907),
            ("app:s{255}oAA", slot_of("255")),
            ("{}x", slot_of("{}x")),
            ("a{b}{c}", slot_of("b")),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    #[test]
    fn an_answer_names_owners_and_replicas() {
        let answer = Value::Array(vec![
            range(8_192, 16_383, &[("", 7_001), ("10.0.0.3", 7_003)]),
            range(0, 8_190, &[("10.0.0.2", 7_002), ("?", 7_004)]),
        ]);
        let slots = Slots::read(&answer, "10.0.0.1").unwrap();
        assert_eq!(slots.owner(0), Some(&at("10.0.0.2", 7_002)));
        assert_eq!(slots.owner(8_190), Some(&at("10.0.0.2", 7_002)));
        assert_eq!(slots.owner(8_191), None, "nobody's");
        assert_eq!(slots.owner(16_383), Some(&at("10.0.0.1", 7_001)));
        assert_eq!(slots.owners().len(), 2);
        assert_eq!(slots.members.len(), 3);
    }

    #[test]
    fn an_answer_that_owns_nothing_is_none() {
        for answer in [Value::Array(Vec::new()), Value::Nil, Value::Okay] {
            assert_eq!(Slots::read(&answer, "10.0.0.1"), None);
        }
    }

    #[test]
    fn most_are_believed_and_the_first_where_none_are_more() {
        let of = |port| {
            let answer = Value::Array(vec![range(0, 16_383, &[("h", port)])]);
            Slots::read(&answer, "h").unwrap()
        };
        let most = Slots::of_most(vec![of(1), of(2), of(2)]).unwrap();
        assert_eq!(most.owner(5), Some(&at("h", 2)));
        let first = Slots::of_most(vec![of(1), of(2)]).unwrap();
        assert_eq!(first.owner(5), Some(&at("h", 1)));
        assert_eq!(Slots::of_most(Vec::new()), None);
    }

    #[test]
    fn a_redirection_without_a_host_leads_to_the_one_that_was_asked() {
        assert_eq!(
            redirected("10.0.0.2:7002", "h"),
            Some(at("10.0.0.2", 7_002))
        );
        assert_eq!(redirected(":7002", "h"), Some(at("h", 7_002)));
        assert_eq!(redirected("::1:7002", "h"), Some(at("::1", 7_002)));
        assert_eq!(redirected("nowhere", "h"), None);
    }
}
