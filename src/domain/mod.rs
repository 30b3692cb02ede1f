//! The words of the field, without any I/O: orders, events, statuses, schedules, answers, results.

pub mod answer;
pub mod event;
pub mod json;
pub mod order;
pub mod record;
pub mod result;
pub mod schedule;
pub mod status;
pub mod wire_time;
