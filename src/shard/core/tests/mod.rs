//! The pure core under test: worlds drawn from seeds, and its rules one by one.

mod bank;
mod coordinator;
mod dice;
mod log;
mod said;
mod storm;
mod watch;
mod wire;
mod worker;
mod world;
mod worlds;
