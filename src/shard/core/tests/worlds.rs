//! Seeded worlds. `SETTLED_SEED=n` runs one and prints what happened, `SETTLED_SEEDS=n` runs so many,
//! from `SETTLED_FIRST_SEED=n` on; scripts/night runs 200,000.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::{Tale, World};
use crate::clock::Clock;

pub fn told(seed: u64, world: &mut World) -> Result<Tale, String> {
    catch_unwind(AssertUnwindSafe(|| world.run()))
        .unwrap_or_else(|_| Err(format!("seed {seed} panicked")))
}

/// So many worlds run where nobody says how many.
const SEEDS: u64 = 2_000;

/// What so many worlds must have met, or they have lost their teeth.
const TEETH: [&str; 17] = [
    "DeadLetter(Conflict)",
    "Event(Requeued)",
    "answer after its lease",
    "commit landed, reply lost",
    "event by way of another partition",
    "late script ran",
    "late script refused",
    "paused: GateFull",
    "rebuild interrupted",
    "recovery waits for an open transaction",
    "strike BankAway",
    "strike ClockStep",
    "strike LongNight",
    "strike Reload",
    "strike Split",
    "unknown commit landed late",
    "zombie fenced",
];

/// Runs a seed; a bad one runs again and tells its story.
pub fn run(seed: u64) -> Tale {
    match told(seed, &mut World::new(seed)) {
        Ok(tale) => tale,
        Err(what) => {
            let mut again = World::new(seed);
            again.remember();
            let verdict = told(seed, &mut again);
            println!(
                "{}",
                again.memory(number("SETTLED_LINES").unwrap_or(120) as usize)
            );
            panic!("seed {seed}: {what} ({verdict:?})");
        }
    }
}

fn number(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a seed is chosen by the person who runs the test"
    )]
    std::env::var(name).ok()?.parse().ok()
}

/// Seeds of one thread.
fn run_all(seeds: impl Iterator<Item = u64>) -> (Tale, Vec<(u64, String)>) {
    let (mut sum, mut bad) = (Tale::default(), Vec::new());
    for seed in seeds {
        match told(seed, &mut World::new(seed)) {
            Ok(tale) => sum.add(tale),
            Err(what) => bad.push((seed, what)),
        }
    }
    (sum, bad)
}

#[test]
fn no_world_breaks_a_promise() {
    if let Some(seed) = number("SETTLED_SEED") {
        println!("{:#?}", run(seed));
        return;
    }
    let first = number("SETTLED_FIRST_SEED").unwrap_or(0);
    let count = number("SETTLED_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let clock = Clock::start();
    let (mut sum, mut bad) = (Tale::default(), Vec::new());
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads as u64)
            .map(|thread| (first + thread..first + count).step_by(threads))
            .map(|seeds| scope.spawn(|| run_all(seeds)))
            .collect();
        for some in all {
            let (tale, more) = some.join().unwrap();
            sum.add(tale);
            bad.extend(more);
        }
    });
    println!(
        "worlds: seeds {first} to {}, {} broken, {} s\n{sum:#?}",
        first + count - 1,
        bad.len(),
        clock.monotonic() / 1_000
    );
    bad.sort();
    let mut kinds = BTreeMap::<&str, Vec<u64>>::new();
    for (seed, what) in &bad {
        println!(
            "seed {seed}: {}",
            what.chars().take(300).collect::<String>()
        );
        let kind = what.split(':').next().unwrap_or_default();
        kinds.entry(kind).or_default().push(*seed);
    }
    for (kind, seeds) in kinds {
        println!(
            "{kind} x {}: {:?}",
            seeds.len(),
            &seeds[..seeds.len().min(5)]
        );
    }
    if let Some((seed, _)) = bad.first() {
        run(*seed);
    }
    if count >= SEEDS {
        let missing: Vec<_> = TEETH
            .iter()
            .filter(|what| !sum.covered.contains_key(**what))
            .collect();
        assert!(missing.is_empty(), "no world has met {missing:?}");
    }
}
