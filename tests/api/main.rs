//! The two HTTP listeners over real sockets on port 0. The rest of the program is closures here, so
//! that each answer of a neighbour can be produced at will.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

#[path = "../support/plain_http.rs"]
mod plain_http;

mod desk;
mod events;
mod listeners;
mod orders;
mod query;
mod terms;
mod world;
