//! Who an order is: its type, its request number, the shard that it lives in and the names under
//! which the view keeps it. All values are small and copied, so that no order costs an allocation.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// Record hashes per shard, part of the view's layout. 1024 keeps each below the 128 entries at
/// which Redis gives up its compact encoding until a shard holds 131,072 pending orders.
pub const RECORD_HASHES: u16 = 1024;

/// An order type's name: `[a-z0-9_-]{1,32}`. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeName(Arc<str>);

impl TypeName {
    /// `None` unless the name has the wire's form.
    pub fn new(name: &str) -> Option<Self> {
        let good = (1..=32).contains(&name.len())
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        good.then(|| Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TypeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request number: 1 to 48 visible ASCII characters without `/`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReqNo {
    len: u8,
    bytes: [u8; Self::MAX],
}

impl ReqNo {
    /// The longest number, in bytes.
    pub const MAX: usize = 48;

    /// `None` unless the number has the wire's form.
    pub fn new(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// As [`ReqNo::new`], from bytes as the view keeps them.
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        let good = (1..=Self::MAX).contains(&text.len())
            && text.iter().all(|b| matches!(b, 0x21..=0x7e) && *b != b'/');
        good.then(|| {
            let mut bytes = [0; Self::MAX];
            bytes[..text.len()].copy_from_slice(text);
            Self {
                len: text.len() as u8,
                bytes,
            }
        })
    }

    /// The number as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The number as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for ReqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for ReqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An order's identity on the wire; displayed as `<type>/<reqNO>`, which is also its Kafka key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderKey {
    /// Selects schedule, query interface and limits.
    pub order_type: TypeName,
    /// The business system's number.
    pub req_no: ReqNo,
}

impl OrderKey {
    /// Reads `<type>/<reqNO>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (order_type, req_no) = text.split_once('/')?;
        Some(Self {
            order_type: TypeName::new(order_type)?,
            req_no: ReqNo::new(req_no)?,
        })
    }

    /// The shard of this order among `shards`: Kafka's default partitioner (murmur2, sign bit
    /// cleared) over the key of the *body*, whatever key the record was sent with.
    pub fn shard(&self, shards: u16) -> u16 {
        let mut key = [0; 32 + 1 + ReqNo::MAX];
        let key = self.write_to(&mut key);
        ((murmur2(key) & 0x7fff_ffff) % u32::from(shards)) as u16
    }

    /// The 12 bytes under which a settled order is remembered.
    pub fn mark(&self, key: &MarkKey) -> Mark {
        let mut text = [0; 32 + 1 + ReqNo::MAX];
        let digest = Sha256::new()
            .chain_update(key.0)
            .chain_update(self.write_to(&mut text))
            .finalize();
        let mut mark = [0; 12];
        mark.copy_from_slice(&digest[..12]);
        Mark(mark)
    }

    fn write_to<'a>(&self, buffer: &'a mut [u8; 32 + 1 + ReqNo::MAX]) -> &'a [u8] {
        let (name, number) = (self.order_type.as_str().as_bytes(), self.req_no.as_bytes());
        let len = name.len() + 1 + number.len();
        buffer[..name.len()].copy_from_slice(name);
        buffer[name.len()] = b'/';
        buffer[name.len() + 1..len].copy_from_slice(number);
        &buffer[..len]
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.order_type, self.req_no)
    }
}

/// An order type's number within one shard's view: given once, never reused while the view lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u8);

/// An order's identity within one shard's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId {
    /// The type's number in this view.
    pub type_id: TypeId,
    /// The business system's number.
    pub req_no: ReqNo,
}

impl OrderId {
    /// FNV-1a: cheap, stable and good enough for numbers that people count up.
    pub fn hash32(&self) -> u32 {
        let mut hash: u32 = 0x811c_9dc5 ^ u32::from(self.type_id.0);
        for byte in self.req_no.as_bytes() {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        hash ^ (hash >> 15)
    }

    /// Which of the shard's record hashes holds this order.
    pub fn record_hash(&self) -> u16 {
        (self.hash32() % u32::from(RECORD_HASHES)) as u16
    }
}

/// The secret of one view's marks, so that nobody can choose numbers that collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MarkKey(pub [u8; 16]);

/// A settled order's keyed hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark(pub [u8; 12]);

/// Kafka's murmur2 (seed 0x9747b28c), as `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_kafkas_own_test_vectors() {
        // From Kafka's UtilsTest.testMurmur2.
        for (text, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), expected.cast_unsigned(), "{text}");
        }
    }

    #[test]
    fn names_and_numbers_have_the_wires_form() {
        for good in ["a", "pay_2-x", &"z".repeat(32)] {
            assert!(TypeName::new(good).is_some(), "{good}");
        }
        for bad in ["", "Pay", "a b", "a/b", &"z".repeat(33)] {
            assert!(TypeName::new(bad).is_none(), "{bad}");
        }
        for good in ["1", "TX20261123000017", "a:b", &"9".repeat(48)] {
            assert_eq!(ReqNo::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "a b", "ä", "a\n", &"9".repeat(49)] {
            assert!(ReqNo::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_reads_back_what_it_displays() {
        let key = OrderKey::parse("transfer/TX1").unwrap();
        assert_eq!(OrderKey::parse(&key.to_string()), Some(key));
        assert_eq!(OrderKey::parse("transfer"), None);
    }
}
