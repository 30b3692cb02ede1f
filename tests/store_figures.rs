//! Figures of the view in a real redis-server, by hand and in a release build:
//! `cargo test --release --test store_figures -- --ignored --nocapture`. Asserts nothing about time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the whole crate is a test"
)]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "support/redis_server.rs"]
mod redis_server;

use std::time::Duration;

use redis_server::RedisServer;
use settled::clock::Clock;
use settled::domain::order::{MarkKey, OrderId, OrderKey, ReqNo, TypeId, TypeName};
use settled::domain::record::Record;
use settled::domain::status::{Open, Terminal};
use settled::store::redis::RedisStore;
use settled::store::script::{
    BATCH, Body, Claim, Claimed, Floor, Fold, Folded, Placement, Reply, Reschedule, Script, Settle,
    SettleOne, SettleOutcome, Token,
};
use settled::store::{Acquire, Store};

const SHARDS: u16 = 16;
const ORDERS: u64 = 300_000;
const NOW: u32 = 1_800_000_000;
const HOUR: u32 = NOW / 3600;
const TYPES: [&str; 3] = ["transfer", "payment", "refund"];
const MARK_KEY: MarkKey = MarkKey([7; 16]);
/// Orders are due within this many seconds, evenly: a schedule of widening delays at some moment.
const SPREAD: u64 = 600;

struct Bench {
    store: RedisStore,
    versions: Vec<u64>,
    r: u64,
}

fn order(n: u64) -> (u16, OrderId, OrderKey) {
    let type_id = TypeId((n % 3) as u8);
    let req_no = ReqNo::new(&format!("TX20261123{:014}", n * 7_919 % 99_999_999_999)).unwrap();
    let key = OrderKey {
        order_type: TypeName::new(TYPES[usize::from(type_id.0)]).unwrap(),
        req_no,
    };
    (key.shard(SHARDS), OrderId { type_id, req_no }, key)
}

fn record(n: u64, due_second: u64) -> Record {
    Record {
        claim: 0,
        bucket: 0,
        leased: false,
        exhausted: false,
        has_query: false,
        last: Open::InProgress,
        due: due_second * 1000 + n % 1000,
        phase: 0,
        asked: 1,
        drawn_in_progress: 1,
        drawn_unknown: 0,
        streak: 0,
        first_seen: u64::from(NOW) * 1000 - n % 300_000,
        event_offset: n,
    }
}

/// As DESIGN section 5: delays of 32 s and more are rounded up by at most 1/32.
fn placement(delay_seconds: u64) -> Placement {
    Placement {
        granule: (delay_seconds / 32).max(1) as u32,
        lease_second: 0,
    }
}

impl Bench {
    async fn new(server: &RedisServer) -> Self {
        let store = RedisStore::connect(&server.urls(), "").await.unwrap();
        let mut bench = Self {
            store,
            versions: vec![0; SHARDS.into()],
            r: 0,
        };
        for shard in 0..SHARDS {
            let acquire = Acquire {
                shard,
                shards: SHARDS,
                token: Token(1),
                floor: Some(Floor { e: 0, r: 0 }),
                mark_key: MARK_KEY,
            };
            bench.store.acquire(acquire).await.unwrap();
            let types = TYPES.iter().enumerate();
            let types =
                types.map(|(id, name)| (TypeId(id as u8), TypeName::new(name).unwrap(), NOW - 1));
            let mut script = bench.script(shard, Body::Fold(Vec::new()));
            script.new_types = types.collect();
            bench.run(shard, script).await;
        }
        bench
    }

    fn script(&self, shard: u16, body: Body) -> Script {
        Script {
            token: Token(1),
            version: self.versions[usize::from(shard)],
            clock: u64::from(NOW) * 1000,
            e: 1,
            ends_rebuild: false,
            new_types: Vec::new(),
            body,
        }
    }

    async fn run(&mut self, shard: u16, script: Script) -> Reply {
        let reply = self.store.run(shard, &script).await.unwrap();
        assert_ne!(reply, Reply::Mismatch);
        self.versions[usize::from(shard)] += 1;
        reply
    }

    /// The cursor that it left, and what it took.
    async fn claim(&mut self, shard: u16, type_id: u8, to_second: u32) -> (u32, Vec<Claimed>) {
        let claim = Claim {
            type_id: TypeId(type_id),
            after: 0,
            to_second,
            limit: BATCH as u16,
            lease_second: to_second + 10,
        };
        let Reply::Claimed {
            cursor, claimed, ..
        } = self.send(shard, Body::Claim(claim)).await
        else {
            panic!("not a claim")
        };
        (cursor, claimed)
    }

    async fn send(&mut self, shard: u16, body: Body) -> Reply {
        let script = self.script(shard, body);
        self.run(shard, script).await
    }
}

/// CPU time of a process, user and system, from /proc.
fn cpu(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

struct Phase<'a> {
    name: &'a str,
    clock: Clock,
    start_us: u64,
    redis: (u32, Duration),
    own: Duration,
}

impl<'a> Phase<'a> {
    fn start(name: &'a str, clock: Clock, redis: u32) -> Self {
        Self {
            name,
            clock,
            start_us: clock.monotonic_us(),
            redis: (redis, cpu(redis)),
            own: cpu(std::process::id()),
        }
    }

    fn end(self, scripts: u64, orders: u64) {
        let seconds = (self.clock.monotonic_us() - self.start_us) as f64 / 1e6;
        let redis = cpu(self.redis.0).saturating_sub(self.redis.1).as_secs_f64();
        let own = cpu(std::process::id())
            .saturating_sub(self.own)
            .as_secs_f64();
        println!(
            "{:11} {:7.0} scripts/s {:9.0} orders/s; a order: redis {:5.2} us of CPU, client {:5.2}",
            self.name,
            scripts as f64 / seconds,
            orders as f64 / seconds,
            redis * 1e6 / orders as f64,
            own * 1e6 / orders as f64,
        );
    }
}

/// A number of INFO.
fn info(server: &RedisServer, name: &str) -> u64 {
    let info: String = redis::cmd("INFO").query(&mut server.connect()).unwrap();
    let mut lines = info.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().parse().unwrap()
}

#[expect(
    clippy::too_many_lines,
    reason = "one figure after the other, on one server"
)]
#[tokio::test]
#[ignore = "figures, by hand"]
async fn store_figures() {
    let server = RedisServer::start().expect("redis-server");
    let process = info(&server, "process_id") as u32;
    let clock = Clock::start();
    let mut bench = Bench::new(&server).await;
    let mut shards: Vec<Vec<(OrderId, OrderKey, u64)>> = vec![Vec::new(); SHARDS.into()];
    for n in 0..ORDERS {
        let (shard, id, key) = order(n);
        shards[usize::from(shard)].push((id, key, n));
    }
    let before = info(&server, "used_memory");

    let mut scripts = 0;
    let phase = Phase::start("fold", clock, process);
    for (shard, orders) in shards.iter().enumerate() {
        for batch in orders.chunks(BATCH) {
            let folds = batch.iter().map(|(id, key, n)| {
                let delay = n * 37 % SPREAD;
                Fold {
                    id: *id,
                    mark: key.mark(&MARK_KEY),
                    record: record(*n, u64::from(NOW) + delay),
                    requeue: None,
                    query: None,
                    placement: placement(delay),
                }
            });
            let reply = bench.send(shard as u16, Body::Fold(folds.collect())).await;
            let Reply::Folded { outcomes, .. } = reply else {
                panic!("not a fold")
            };
            assert!(outcomes.iter().all(|outcome| *outcome == Folded::Added));
            scripts += 1;
        }
    }
    phase.end(scripts, ORDERS);
    let pending = info(&server, "used_memory") - before;
    println!(
        "bytes per pending order: {:.1}",
        pending as f64 / ORDERS as f64
    );

    let phase = Phase::start("claim", clock, process);
    let (mut scripts, mut orders) = (0, 0);
    let mut claimed: Vec<Vec<Claimed>> = vec![Vec::new(); SHARDS.into()];
    for shard in 0..SHARDS {
        for type_id in 0..3 {
            let mut cursor = NOW;
            while cursor < NOW + SPREAD as u32 {
                let (moved, some) = bench.claim(shard, type_id, NOW + SPREAD as u32).await;
                cursor = moved;
                scripts += 1;
                orders += some.len() as u64;
                claimed[usize::from(shard)].extend(some);
            }
        }
    }
    phase.end(scripts, orders);

    let phase = Phase::start("reschedule", clock, process);
    let (mut scripts, mut orders) = (0, 0);
    for (shard, claimed) in claimed.iter().enumerate() {
        for batch in claimed.chunks(BATCH) {
            let all = batch.iter().enumerate().map(|(i, one)| Reschedule {
                id: one.id,
                claim: one.record.claim,
                record: Record {
                    due: u64::from(NOW) * 1000 + 700_000 + i as u64 * 40,
                    ..one.record
                },
                placement: placement(16),
            });
            bench
                .send(shard as u16, Body::Reschedule(all.collect()))
                .await;
            scripts += 1;
            orders += batch.len() as u64;
        }
    }
    phase.end(scripts, orders);

    let phase = Phase::start("settle", clock, process);
    let mut scripts = 0;
    for (shard, orders) in shards.iter().enumerate() {
        bench.r = 0;
        for batch in orders.chunks(BATCH) {
            let results = batch.iter().map(|(id, key, n)| SettleOne {
                id: Some(*id),
                mark: key.mark(&MARK_KEY),
                outcome: SettleOutcome::Settled {
                    status: Terminal::Success,
                    mark_hour: Some(HOUR),
                },
                offset: *n,
            });
            let settle = Settle {
                from_r: bench.r,
                to_r: bench.r + 1,
                results: results.collect(),
            };
            bench.r += 1;
            bench.send(shard as u16, Body::Settle(settle)).await;
            scripts += 1;
        }
    }
    phase.end(scripts, ORDERS);
    // What is left of the buckets holds stale entries only.
    for shard in 0..SHARDS {
        for type_id in 0..3 {
            let (mut cursor, to_second) = (NOW, NOW + 2 * SPREAD as u32);
            while cursor < to_second {
                (cursor, _) = bench.claim(shard, type_id, to_second).await;
            }
        }
    }
    let marks = info(&server, "used_memory") - before;
    println!("bytes per mark: {:.1}", marks as f64 / ORDERS as f64);
}
