//! The overload model: the real engine, the real shard core, the store in memory and a simulated bank
//! in virtual time, through outages that a plain retry would not survive.

mod overload;
mod world;
