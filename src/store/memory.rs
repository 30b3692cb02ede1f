//! The view in memory.
