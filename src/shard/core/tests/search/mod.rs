//! An exhaustive search of small worlds over the same core: two workers, one shard, one to three
//! orders, and a few faults that strike wherever they can. `SETTLED_SEARCH_STATES=n` lets each
//! scenario go on up to so many states.

mod act;
mod happening;
mod laws;
mod mail;
mod part;
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
use scenarios::SCENARIOS;
use walk::walk;

/// Where nobody says how far to go.
const STATES: usize = 20_000;

fn most() -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it may take is chosen by the person who runs the test"
    )]
    let said = std::env::var("SETTLED_SEARCH_STATES").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(STATES)
}

#[test]
fn no_small_world_breaks_a_promise() {
    let (next, states, broken) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(scenario) = SCENARIOS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let clock = Clock::start();
                    let walked = walk(&Scenario::read(scenario), most());
                    let end = if walked.to_the_end {
                        "to the end"
                    } else {
                        "cut"
                    };
                    println!(
                        "{:<50} {:>8} states, depth {:>3}, {end}, {} ms",
                        scenario,
                        walked.states,
                        walked.depth,
                        clock.monotonic()
                    );
                    states.fetch_add(walked.states, Ordering::Relaxed);
                    if let Some((what, way)) = walked.broken {
                        broken.fetch_add(1, Ordering::Relaxed);
                        println!("{scenario}: {what}\n  {}", way.join("\n  "));
                    }
                }
            });
        }
    });
    println!("{} states in all", states.load(Ordering::Relaxed));
    assert_eq!(broken.into_inner(), 0, "promises are broken: see above");
}
