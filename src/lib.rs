//! `settled` brings every in-progress order to a settled state.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod domain;
pub mod fault;
pub mod inquiry;
pub mod kafka;
pub mod metrics;
mod plant;
pub mod shard;
pub mod store;
pub mod telemetry;
pub mod verify;
