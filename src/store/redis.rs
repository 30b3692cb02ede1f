//! The view in Redis.
