//! One contract, two stores: seeded random operations run on the memory store and on a real
//! redis-server; every reply and, after every step, the complete content must agree. This is the
//! proof of the Lua scripts. `STORE_SEED` repeats a run, `STORE_STEPS` makes it longer.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the whole crate is a test"
)]

mod ceilings;
mod cluster;
mod pauses;
#[path = "../support/random.rs"]
mod random;
mod raw;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/redis_cluster.rs"]
mod redis_cluster;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod scripts;
mod server_errors;
mod world;

use redis_server::RedisServer;
use world::World;

/// 20 to 30 seconds of a debug build.
const STEPS: u64 = 2_500;

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?;
    Some(text.to_str()?.parse().expect("a number"))
}

#[tokio::test]
async fn memory_and_redis_agree_on_every_reply_and_every_byte() {
    agree(RedisServer::start(), STEPS).await;
}

#[tokio::test]
async fn memory_and_a_redis_cluster_agree_on_every_reply_and_every_byte() {
    agree(RedisServer::start_cluster(), STEPS / 5).await;
}

/// `None`: there is no server, which was said.
async fn agree(server: Option<RedisServer>, steps: u64) {
    let Some(server) = server else {
        return;
    };
    let seed = number_from_env("STORE_SEED").unwrap_or_else(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("randomness");
        u64::from_le_bytes(bytes)
    });
    println!("STORE_SEED={seed}");
    let mut world = World::new(&server, seed).await;
    let steps = number_from_env("STORE_STEPS").unwrap_or(steps);
    for _ in 0..steps {
        world.step().await;
    }
    world.finish().await;
}
