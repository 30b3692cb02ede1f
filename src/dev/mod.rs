//! What `settled dev` is made of.

pub mod bank;
