//! One shard's life: the pure core that decides, and the actor that carries its commands out.

mod actor;
pub mod core;
mod floor;
mod inlet;
mod letters;
mod ownership;
mod ports;
mod report;

pub use actor::Shard;
pub use inlet::Inlet;
pub use ownership::Ownership;
pub use ports::{Ports, Retention};
