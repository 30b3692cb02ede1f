//! What the black-box tests stand on: a real broker and a real redis-server per test process, topics
//! and prefixes of a test's own, raw records in and out, and waiting without sleeping. A service that
//! cannot be had skips the test aloud, and fails it under CI.

#![expect(dead_code, reason = "each test binary uses a part of it")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on ends so"
)]

pub mod broker;
pub mod process;
pub mod redis;
pub mod redis_cluster;
pub mod schemas;
pub mod tally;
pub mod topics;

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use settled::clock::Clock;

/// The broker of this test process; `None`: the test says that it was skipped and returns.
pub fn kafka() -> Option<&'static broker::Broker> {
    or_skip("real kafka", broker::shared())
}

/// The redis-server of this test process; as [`kafka`].
pub fn redis() -> Option<&'static redis::RedisServer> {
    or_skip("real redis", redis::shared())
}

fn or_skip<T>(what: &str, service: Result<T, String>) -> Option<T> {
    match service {
        Ok(service) => Some(service),
        Err(why) => {
            println!("skipped: {what} ({why})");
            assert!(
                std::env::var_os("CI").is_none(),
                "{what} is needed under CI: {why}"
            );
            None
        }
    }
}

/// A name that no other test, and no other run against the same server, has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let time = Clock::start().wall();
    format!("{name}-{:x}-{time:x}-{number}", std::process::id())
}

/// Asks again every few milliseconds until there is an answer.
///
/// # Panics
/// At the deadline, with `what` was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::time::timeout(deadline, asking).await;
    answer.unwrap_or_else(|_| panic!("{what}: not within {deadline:?}"))
}
