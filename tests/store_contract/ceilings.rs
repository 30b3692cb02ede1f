//! `reserve.lua` and its twin: random requests at the server's own time, with wiped, rolled back and
//! aged ceilings in between; every answer and every number that is kept must agree.

use redis::Commands;
use settled::clock::Clock;
use settled::domain::order::TypeName;
use settled::store::Store;
use settled::store::ceiling::{Breaker, Heard, Known, Reserve};
use settled::store::key;
use settled::store::memory::MemoryStore;
use settled::store::redis::RedisStore;

use super::number_from_env;
use super::random::Random;
use super::redis_server::RedisServer;

/// Seconds of a debug build.
const STEPS: u64 = 3_000;

/// The numbers that are no times: mode and row.
const NO_TIMES: [usize; 2] = [6, 8];

struct Draw {
    random: Random,
    /// What workers were told, the latest last.
    told: Vec<Known>,
}

impl Draw {
    fn reserve(&mut self) -> Reserve {
        let random = &mut self.random;
        let mut wanted = [0; 3];
        for wanted in &mut wanted {
            *wanted = random.pick(&[0, 0, 1, 3, 25, 250]);
        }
        let known = match random.below(4) {
            0 => None,
            1 if !self.told.is_empty() => {
                let mut known = random.pick(&self.told);
                known.breaker = match random.below(3) {
                    0 => Breaker::Open,
                    1 => Breaker::Closing {
                        for_us: random.below(40_000_000),
                    },
                    _ => Breaker::Closed,
                };
                Some(known)
            }
            _ => self.told.last().copied(),
        };
        Reserve {
            wanted,
            most: random.pick(&[0, 1, 4, 250, 250, 250]),
            per_second: random.pick(&[0.3, 1.0, 7.0, 100.0, 3_000.0, 100_000.0]),
            parts: random.pick(&[[0.2, 0.2, 0.6], [0.0, 0.5, 0.5], [0.9, 0.0, 0.1]]),
            heard: Heard {
                answered: random.once_in(3),
                failures: random.pick(&[0, 0, 0, 1, 7, 19, 25]),
            },
            hold_us: random.pick(&[0, 0, 0, 0, 0, 3_000, 90_000_000]),
            known,
        }
    }
}

/// As if it had been written `by_us` earlier.
fn aged(text: &str, by_us: u64) -> String {
    let numbers = text.split(' ').enumerate().map(|(i, number)| {
        let number: u64 = number.parse().unwrap();
        if NO_TIMES.contains(&i) {
            number.to_string()
        } else {
            number.saturating_sub(by_us).to_string()
        }
    });
    numbers.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_script_and_its_twin_give_the_same_start_times() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let seed = number_from_env("STORE_SEED").unwrap_or_else(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("randomness");
        u64::from_le_bytes(bytes)
    });
    println!("STORE_SEED={seed}");
    let store = RedisStore::connect(&server.urls(), "p:").await.unwrap();
    let twin = MemoryStore::new(Clock::start());
    let name = TypeName::new("transfer").unwrap();
    let key = key::ceiling("p:", &name);
    let mut redis = server.connect();
    let mut draw = Draw {
        random: Random::new(seed),
        told: Vec::new(),
    };
    let mut old = None;
    for step in 0..STEPS {
        let reserve = draw.reserve();
        let said = store.reserve(&name, &reserve).await.unwrap();
        let expected = twin.reserve_now(&name, &reserve, said.known.at_us);
        assert_eq!(said, expected, "step {step}: {reserve:?}");
        let kept: String = redis.get(&key).unwrap();
        assert_eq!(Some(&kept), twin.ceiling(&name).as_ref(), "step {step}");
        draw.told.push(said.known);
        let changed = match draw.random.below(12) {
            0 => Some(aged(&kept, draw.random.below(50_000_000))),
            1 => old.replace(kept),
            2 if draw.random.once_in(4) => Some("none of ours".to_owned()),
            3 if draw.random.once_in(20) => Some(aged(&kept, 4_000_000_000)),
            _ => None,
        };
        if let Some(text) = changed {
            let () = redis.set(&key, &text).unwrap();
            twin.set_ceiling(&name, &text);
        }
    }
}

/// A figure of the mean, which the machine's other work does not spoil.
#[tokio::test]
async fn a_reservation_costs_redis_a_fraction_of_a_millisecond() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let store = RedisStore::connect(&server.urls(), "").await.unwrap();
    let name = TypeName::new("transfer").unwrap();
    let mut draw = Draw {
        random: Random::new(1),
        told: Vec::new(),
    };
    for _ in 0..1_000 {
        store.reserve(&name, &draw.reserve()).await.unwrap();
    }
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut server.connect())
        .unwrap();
    let line = stats.lines().find(|line| line.contains("_evalsha:"));
    let mean_us: f64 = line
        .and_then(|line| line.split("usec_per_call=").nth(1)?.split(',').next())
        .unwrap()
        .parse()
        .unwrap();
    println!("{mean_us} us of Redis for a reservation");
    assert!(mean_us < 500.0, "{mean_us} us");
}
