//! Seeded worlds. `SETTLED_SEED=n` runs one and prints what happened, `SETTLED_SEEDS=n` runs so many.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::{Tale, World};

fn told(seed: u64, world: &mut World) -> Result<Tale, String> {
    catch_unwind(AssertUnwindSafe(|| world.run()))
        .unwrap_or_else(|_| Err(format!("seed {seed} panicked")))
}

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

#[test]
fn no_world_breaks_a_promise() {
    if let Some(seed) = number("SETTLED_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let first = number("SETTLED_FIRST_SEED").unwrap_or(0);
    let mut sum = Tale::default();
    let mut bad = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for seed in first..first + number("SETTLED_SEEDS").unwrap_or(300) {
        match told(seed, &mut World::new(seed)) {
            Ok(tale) => {
                sum.steps += tale.steps;
                sum.settled += tale.settled;
                sum.exhausted += tale.exhausted;
                sum.questions += tale.questions;
                sum.generations += tale.generations;
                sum.took += tale.took;
                for (what, count) in tale.covered {
                    *sum.covered.entry(what).or_default() += count;
                }
            }
            Err(what) => {
                let kind = what.split(':').next().unwrap_or_default().to_owned();
                println!(
                    "seed {seed}: {}",
                    what.chars().take(300).collect::<String>()
                );
                bad.entry(kind).or_default().push(seed);
            }
        }
    }
    println!("{sum:#?}");
    if let Some(seed) = bad.values().flatten().min() {
        let kinds: Vec<_> = bad
            .iter()
            .map(|(kind, seeds)| {
                format!(
                    "{kind} x {}: {:?}",
                    seeds.len(),
                    &seeds[..seeds.len().min(5)]
                )
            })
            .collect();
        println!("{}", kinds.join("\n"));
        run(*seed);
    }
}
