//! An exhaustive search of small worlds over the same core: two workers, one shard, one to three
//! orders, and a few faults that strike wherever they can. With `SETTLED_SEARCH_STATES=n` each scenario
//! goes on up to so many states, and wider ones are searched, too.

mod act;
mod happening;
mod laws;
mod mail;
mod part;
mod planted;
mod print;
mod scenario;
mod scenarios;
mod serve;
mod small;
mod time;
mod turn;
mod walk;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::Clock;
use scenario::Scenario;
use scenarios::{SCENARIOS, WIDE};
use walk::walk;

/// Where nobody says how far to go.
const STATES: usize = 20_000;

/// How far to go, if somebody says so.
fn said() -> Option<usize> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it may take is chosen by the person who runs the test"
    )]
    std::env::var("SETTLED_SEARCH_STATES").ok()?.parse().ok()
}

/// Hands these to two threads, one after the other; what they come to, where that is anything.
fn in_turn<T: Sync, R: Send>(all: &[T], act: impl Fn(&T) -> Option<R> + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let turns = std::iter::repeat_with(|| all.get(next.fetch_add(1, Ordering::Relaxed)));
        turns.map_while(|one| one).filter_map(&act).collect()
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        let done = threads.map(|thread| thread.join().unwrap());
        done.into_iter().flat_map(|some: Vec<_>| some).collect()
    })
}

#[test]
fn no_small_world_breaks_a_promise() {
    let (states, began) = (AtomicUsize::new(0), Clock::start());
    let (most, wide) = said().map_or((STATES, &[][..]), |most| (most, WIDE));
    let broken = in_turn(&[SCENARIOS, wide].concat(), |text| {
        let clock = Clock::start();
        let walked = walk(&Scenario::read(text), most);
        states.fetch_add(walked.states, Ordering::Relaxed);
        let end = if walked.to_the_end {
            "to the end"
        } else {
            "cut"
        };
        println!(
            "{text:<54} {:>7} states, depth {:>2}, {end}, {} ms",
            walked.states,
            walked.depth,
            clock.monotonic()
        );
        let (what, way) = walked.broken?;
        Some(format!("{text}: {what}\n  {}", way.join("\n  ")))
    });
    println!(
        "search: {} states in all, {} s",
        states.into_inner(),
        began.monotonic() / 1_000
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
