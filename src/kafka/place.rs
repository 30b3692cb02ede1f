//! Positions as librdkafka writes them (signed numbers, some of them logical) and as we do.

use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

/// A list of this one partition.
pub(super) fn of(topic: &str, partition: u16) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, i32::from(partition));
    list
}

/// A list of this one partition at this offset (or time, where the library asks for times there).
pub(super) fn at(topic: &str, partition: u16, offset: u64) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(topic, i32::from(partition), raw(offset))?;
    Ok(list)
}

/// Our offset for the library.
pub(super) fn raw(offset: u64) -> Offset {
    Offset::Offset(offset.cast_signed())
}

/// The library's offset; `None` for the logical ones (no position yet, nothing found).
pub(super) fn concrete(offset: Offset) -> Option<u64> {
    match offset {
        Offset::Offset(offset) => u64::try_from(offset).ok(),
        _ => None,
    }
}

/// An offset or time of something that exists; the library's negative numbers stand for «unknown».
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
