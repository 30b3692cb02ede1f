//! The pure core under test: worlds drawn from seeds, and its rules one by one.

mod world;
mod worlds;
