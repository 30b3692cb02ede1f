//! Views side by side, in two stores each, and the steps that both take.

use std::collections::BTreeMap;
use std::fmt::Debug;

use redis::Connection;
use settled::clock::Clock;
use settled::domain::order::{MarkKey, Millis, OrderId, OrderKey, TypeName};
use settled::store::key::{Key, mark_hash};
use settled::store::memory::MemoryStore;
use settled::store::operator::{OperatorStore, Span};
use settled::store::redis::RedisStore;
use settled::store::script::{
    BATCH, Body, Claim, Floor, Folded, Found, Meta, Reply, Script, Token,
};
use settled::store::{Acquire, Acquired, Store, StoreError};

use super::random::Random;
use super::raw;
use super::redis_server::RedisServer;
use super::scripts::{FIRST_HOUR, Owner, START_SECOND, req_no};

const SHARDS: u16 = 16;
/// Shard 1 and 16 share digits, both prefixes share shards: nothing may leak between them.
const VIEWS: [(usize, u16); 4] = [(0, 1), (0, 12), (1, 1), (1, 2)];
const PREFIXES: [&str; 2] = ["", "app:"];

/// Both stores under each prefix.
struct Pair {
    memory: MemoryStore,
    redis: RedisStore,
}

pub struct World {
    random: Random,
    redis: Connection,
    pairs: Vec<Pair>,
    clock: Millis,
    steps: u64,
    last: Option<(usize, u16, Script)>,
    planted: Option<(usize, u16, Key)>,
    /// An order that the planted key belongs to.
    focus: Option<OrderId>,
    full: bool,
    /// How often what happened, so that a generator that went dull is seen.
    seen: BTreeMap<&'static str, u64>,
}

impl World {
    pub async fn new(server: &RedisServer, seed: u64) -> Self {
        let mut pairs = Vec::new();
        for prefix in PREFIXES {
            pairs.push(Pair {
                memory: MemoryStore::new(Clock::start()),
                redis: RedisStore::connect(&server.urls(), prefix).await.unwrap(),
            });
        }
        Self {
            random: Random::new(seed),
            redis: server.connect(),
            pairs,
            clock: START_SECOND * 1000,
            steps: 0,
            last: None,
            planted: None,
            focus: None,
            full: false,
            seen: BTreeMap::new(),
        }
    }

    /// One random operation on one view, on both stores, and the comparison.
    pub async fn step(&mut self) {
        self.steps += 1;
        self.clock += self.random.below(1500);
        let (pair, shard) = match self.planted {
            Some((pair, shard, _)) if self.random.once_in(2) => (pair, shard),
            _ => self.random.pick(&VIEWS),
        };
        let meta = self.pairs[pair].memory.meta_now(shard, 0).ok().flatten();
        match (self.random.below(200), meta) {
            (0, _) => {
                self.count("wiped");
                self.pairs[pair].memory.wipe(shard);
                raw::wipe(&mut self.redis, PREFIXES[pair], shard);
                if self
                    .planted
                    .is_some_and(|(p, s, _)| (p, s) == (pair, shard))
                {
                    self.mend();
                }
            }
            (1..4, _) => self.lose(pair, shard),
            (4..6, Some(meta)) => self.lose_bucket_and_sweep(pair, shard, meta).await,
            (46..48, Some(meta)) => self.herd(pair, shard, meta).await,
            (6..12, _) => self.plant(pair, shard),
            (12..16, _) => self.mend(),
            (16..19, _) => self.fill(),
            (19..21, _) => {
                let () = redis::cmd("SCRIPT")
                    .arg("FLUSH")
                    .query(&mut self.redis)
                    .unwrap();
            }
            (21..26, _) => {
                if let Some((pair, shard, script)) = self.last.clone() {
                    self.count("repeated");
                    self.run(pair, shard, &script).await;
                }
            }
            (26..32, Some(meta)) => self.lose_reply(pair, shard, &meta).await,
            (32..38, _) | (_, None) => self.acquire(pair, shard).await,
            (38..46, _) => self.look(pair, shard).await,
            (_, Some(meta)) => {
                let script = self.script(pair, shard, meta);
                self.run_on(pair, shard, &script).await;
            }
        }
        self.compare(pair, shard);
        if self.steps.is_multiple_of(100) {
            for (pair, shard) in VIEWS {
                self.compare(pair, shard);
                self.look(pair, shard).await;
            }
            self.compare_dumps(pair, shard).await;
        }
    }

    /// Prints what was exercised and fails when something never was.
    pub async fn finish(&mut self) {
        self.mend();
        if self.full {
            self.fill();
        }
        for (pair, shard) in VIEWS {
            self.compare(pair, shard);
            self.look(pair, shard).await;
            self.compare_dumps(pair, shard).await;
        }
        println!("{:#?}", self.seen);
        if self.steps >= super::STEPS {
            for what in [
                "added",
                "known",
                "settled",
                "requeued",
                "claimed",
                "claimed at once",
                "stale",
                "rescheduled",
                "claim lost",
                "leases ended",
                "leases: more",
                "leases: a full bucket",
                "repaired",
                "discarded",
                "marks: more",
                "marks: done",
                "mismatch",
                "corrupt",
                "full",
                "repeated",
                "lost reply",
                "wiped",
                "lost key",
                "absent",
                "rebuilding",
                "coarse bucket full",
                "drained while full",
                "found settled",
                "found open",
                "listed",
                "listed: more",
            ] {
                assert!(self.seen.contains_key(what), "never happened: {what}");
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn script(&mut self, pair: usize, shard: u16, meta: Meta) -> Script {
        let dump = self.pairs[pair].memory.dump_with_stale_buckets(shard);
        if dump.buckets.values().any(|entries| entries.len() > 63) {
            self.count("coarse bucket full");
        }
        let mut owner = Owner::new(&mut self.random, meta, dump, self.clock);
        let here = |(p, s, _)| (p, s) == (pair, shard);
        owner.focus = self.focus.filter(|_| self.planted.is_some_and(here));
        owner.script()
    }

    /// Runs a script; leases and marks are often walked to their end.
    async fn run_on(&mut self, pair: usize, shard: u16, script: &Script) {
        let mut script = script.clone();
        let to_the_end = self.random.once_in(2);
        while let Some(reply) = self.run(pair, shard, &script).await {
            script.version += 1;
            match (&mut script.body, reply) {
                (
                    Body::EndLeases { from_second, .. },
                    Reply::LeasesEnded {
                        next_second: Some(next),
                        ..
                    },
                ) if to_the_end => *from_second = next,
                (Body::DropMarks { .. }, Reply::MarksDropped { more: true }) if to_the_end => {}
                _ => break,
            }
        }
    }

    /// Runs the script on both stores; the reply when it ran.
    async fn run(&mut self, pair: usize, shard: u16, script: &Script) -> Option<Reply> {
        self.last = Some((pair, shard, script.clone()));
        let Pair { memory, redis } = &self.pairs[pair];
        let before = memory.snapshot(shard);
        let expected = memory.apply(shard, script);
        let got = redis.run(shard, script).await;
        if self.full && expected.as_ref().is_ok_and(adds_orders) {
            assert!(matches!(got, Err(StoreError::Full(_))), "{got:?}");
            memory.restore(shard, before);
            self.count("full");
            return None;
        }
        if self.full && matches!(expected, Ok(Reply::Claimed { .. } | Reply::Settled)) {
            self.count("drained while full");
        }
        self.same(&expected, &got, script);
        let reply = expected.ok()?;
        self.count_reply(&reply);
        Some(reply)
    }

    fn same<T: Debug + PartialEq>(
        &mut self,
        expected: &Result<T, StoreError>,
        got: &Result<T, StoreError>,
        asked: &impl Debug,
    ) {
        match (expected, got) {
            (Ok(expected), Ok(got)) if expected == got => {}
            (Err(StoreError::Corrupt(_)), Err(StoreError::Corrupt(_))) => self.count("corrupt"),
            _ => panic!(
                "step {}: {asked:#?}\nmemory: {expected:#?}\nredis: {got:#?}",
                self.steps
            ),
        }
    }

    fn count_reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Mismatch => self.count("mismatch"),
            Reply::Folded { outcomes, claimed } => {
                for outcome in outcomes {
                    self.count(match outcome {
                        Folded::Added => "added",
                        Folded::Known => "known",
                        Folded::Settled => "settled",
                        Folded::Requeued => "requeued",
                    });
                }
                for _ in claimed {
                    self.count("claimed at once");
                }
            }
            Reply::Found(all) => {
                for found in all {
                    self.count(match found {
                        Found::Unknown => "found nothing",
                        Found::Settled { .. } => "found settled",
                        Found::Open { .. } => "found open",
                    });
                }
            }
            Reply::Claimed { claimed, stale, .. } => {
                for _ in claimed {
                    self.count("claimed");
                }
                for _ in 0..*stale {
                    self.count("stale");
                }
            }
            Reply::Rescheduled { applied, .. } => {
                for applied in applied {
                    self.count(if *applied {
                        "rescheduled"
                    } else {
                        "claim lost"
                    });
                }
            }
            Reply::Settled => self.count("settle"),
            Reply::LeasesEnded { ended, next_second } => {
                (0..*ended).for_each(|_| self.count("leases ended"));
                if next_second.is_some() {
                    self.count("leases: more");
                }
            }
            Reply::Swept { repaired, .. } => (0..*repaired).for_each(|_| self.count("repaired")),
            Reply::Discarded => self.count("discarded"),
            Reply::MarksDropped { more } => {
                self.count(if *more { "marks: more" } else { "marks: done" });
            }
        }
    }

    /// The reply is lost: the meta data tells whether the script ran.
    async fn lose_reply(&mut self, pair: usize, shard: u16, meta: &Meta) {
        let script = self.script(pair, shard, meta.clone());
        let arrives = self.random.once_in(2);
        if arrives {
            self.run(pair, shard, &script).await;
        }
        let Pair { memory, redis } = &self.pairs[pair];
        let expected = memory.meta_now(shard, 0);
        let got = redis.meta(shard).await.map(without_time);
        self.same(&expected, &got, &"meta");
        let Ok(Some(now)) = expected else {
            return;
        };
        self.count("lost reply");
        if now.token == script.token && now.version == script.version {
            self.run(pair, shard, &script).await;
        }
    }

    async fn acquire(&mut self, pair: usize, shard: u16) {
        let floor = Floor {
            e: self.random.below(1000),
            r: self.random.below(1000),
        };
        let acquire = Acquire {
            shard,
            shards: if self.random.once_in(15) { 8 } else { SHARDS },
            token: Token(self.random.next() | 1),
            floor: (!self.random.once_in(3)).then_some(floor),
            mark_key: MarkKey([self.random.next() as u8; 16]),
        };
        let Pair { memory, redis } = &self.pairs[pair];
        let before = memory.snapshot(shard);
        let had_view = memory.meta_now(shard, 0).is_ok_and(|meta| meta.is_some());
        let expected = memory.acquire_now(acquire, 0);
        let got = redis.acquire(acquire).await;
        if self.full && !had_view && matches!(expected, Ok(Acquired::Owned(_))) {
            assert!(matches!(got, Err(StoreError::Full(_))), "{got:?}");
            memory.restore(shard, before);
            return;
        }
        let got = got.map(|acquired| match acquired {
            Acquired::Owned(meta) => Acquired::Owned(Meta { now: 0, ..meta }),
            Acquired::Absent => Acquired::Absent,
        });
        self.same(&expected, &got, &acquire);
        match expected {
            Ok(Acquired::Absent) => self.count("absent"),
            Ok(Acquired::Owned(meta)) if meta.rebuild.is_some() => self.count("rebuilding"),
            _ => {}
        }
    }

    /// The plain reads: survey, meta, find and the store's own dump.
    async fn look(&mut self, pair: usize, shard: u16) {
        let orders = [(); 3].map(|()| OrderKey {
            order_type: TypeName::new(self.random.pick(&["transfer", "pay_2", "none"])).unwrap(),
            req_no: req_no(self.random.below(30)),
        });
        let Pair { memory, redis } = &self.pairs[pair];
        let survey = (memory.survey_now(shard), redis.survey(shard).await);
        let meta = (
            memory.meta_now(shard, 0),
            redis.meta(shard).await.map(without_time),
        );
        let found = (
            memory.find_all(shard, &orders).await,
            redis.find_all(shard, &orders).await,
        );
        self.same(&survey.0, &survey.1, &"survey");
        self.same(&meta.0, &meta.1, &"meta");
        self.same(&found.0, &found.1, &orders);
        self.list_exhausted(pair, shard).await;
    }

    /// A stretch of the exhausted orders, page by page.
    async fn list_exhausted(&mut self, pair: usize, shard: u16) {
        let mut span = Span {
            from: self.random.below(300),
            to: (!self.random.once_in(3)).then(|| self.random.below(2_000)),
        };
        let limit = self.random.pick(&[1, 3, BATCH + 5]);
        loop {
            let Pair { memory, redis } = &self.pairs[pair];
            let expected = memory.exhausted_now(shard, span, limit);
            let got = redis.exhausted(shard, span, limit).await;
            self.same(&expected, &got, &span);
            let Ok(page) = expected else { return };
            for _ in &page.orders {
                self.count("listed");
            }
            let Some(next) = page.next else { return };
            self.count("listed: more");
            span.from = next;
        }
    }

    /// The store's own dump, which is slow: it reads every key that the layout knows.
    async fn compare_dumps(&mut self, pair: usize, shard: u16) {
        let Pair { memory, redis } = &self.pairs[pair];
        let dump = (memory.dump_now(shard), redis.dump(shard).await);
        self.same(&dump.0, &dump.1, &"dump");
    }

    /// A key that some order of the view has, or might have, with that order.
    fn some_key(&mut self, pair: usize, shard: u16) -> (Key, Option<OrderId>) {
        let memory = &self.pairs[pair].memory;
        let dump = memory.dump_with_stale_buckets(shard);
        let Ok(Some(meta)) = memory.meta_now(shard, 0) else {
            return (Key::Meta, None);
        };
        let buckets = raw::buckets(&dump);
        let mut owner = Owner::new(&mut self.random, meta, dump, self.clock);
        let Some((id, record)) = owner.known_order() else {
            return (Key::Slots, None);
        };
        let mark = mark_hash(&owner.mark(&id));
        let key = match self.random.below(12) {
            0 => Key::Meta,
            1 | 2 => Key::Records(id.record_hash()),
            3 | 4 => Key::Queries(id.record_hash()),
            5 => Key::Exhausted,
            6 => Key::Slots,
            7 | 8 => Key::Marks(FIRST_HOUR + self.random.below(4) as u32, mark),
            9 | 10 if !buckets.is_empty() => {
                let (type_id, second) = self.random.pick(&buckets);
                Key::Bucket(type_id, second)
            }
            _ => Key::Bucket(id.type_id, record.bucket.max(1)),
        };
        (key, Some(id))
    }

    /// A bucket is lost, the cursor passes it, and the sweep finds its orders.
    async fn lose_bucket_and_sweep(&mut self, pair: usize, shard: u16, meta: Meta) {
        let memory = &self.pairs[pair].memory;
        let dump = memory.dump_with_stale_buckets(shard);
        let mut owner = Owner::new(&mut self.random, meta, dump, self.clock);
        let Some((id, second)) = owner.bucket_in_sight() else {
            return;
        };
        let key = Key::Bucket(id.type_id, second);
        if self.planted == Some((pair, shard, key)) {
            return;
        }
        let claim = owner.around(Body::Claim(Claim {
            type_id: id.type_id,
            after: 0,
            to_second: second + 4,
            limit: BATCH as u16,
            lease_second: second + 5,
        }));
        memory.lose(shard, key);
        raw::lose(&mut self.redis, PREFIXES[pair], shard, key);
        let mut script = claim;
        while let Some(Reply::Claimed { cursor, .. }) = self.run(pair, shard, &script).await {
            script.version += 1;
            if cursor >= second + 4 {
                break;
            }
        }
        script.body = Body::Sweep {
            hash: id.record_hash(),
            slack_seconds: 2,
            types: vec![id.type_id],
        };
        self.run(pair, shard, &script).await;
    }

    /// Hundreds of orders are leased until one second, and their leases end.
    async fn herd(&mut self, pair: usize, shard: u16, meta: Meta) {
        let dump = self.pairs[pair].memory.dump_with_stale_buckets(shard);
        let mut owner = Owner::new(&mut self.random, meta, dump, self.clock);
        let Some(herd) = owner.herd() else {
            return;
        };
        let mut script = owner.around(Body::Lookup(Vec::new()));
        for body in herd {
            script.body = body;
            let more = |reply: &Reply| match reply {
                Reply::LeasesEnded { next_second, .. } => *next_second,
                _ => None,
            };
            while let Some(reply) = self.run(pair, shard, &script).await {
                if reply == Reply::Mismatch {
                    return;
                }
                script.version += 1;
                let (Some(next), Body::EndLeases { from_second, .. }) =
                    (more(&reply), &mut script.body)
                else {
                    break;
                };
                if next == *from_second {
                    self.count("leases: a full bucket");
                }
                *from_second = next;
            }
        }
    }

    fn lose(&mut self, pair: usize, shard: u16) {
        let (key, _) = self.some_key(pair, shard);
        if self.planted == Some((pair, shard, key)) {
            return;
        }
        self.count("lost key");
        self.pairs[pair].memory.lose(shard, key);
        raw::lose(&mut self.redis, PREFIXES[pair], shard, key);
    }

    fn plant(&mut self, pair: usize, shard: u16) {
        self.mend();
        if self.full {
            self.fill();
        }
        let (key, order) = self.some_key(pair, shard);
        self.focus = order;
        self.pairs[pair].memory.damage(shard, key);
        raw::plant(&mut self.redis, PREFIXES[pair], shard, key);
        self.planted = Some((pair, shard, key));
    }

    fn mend(&mut self) {
        if let Some((pair, shard, key)) = self.planted.take() {
            self.pairs[pair].memory.mend(shard, key);
            raw::mend(&mut self.redis, PREFIXES[pair], shard, key);
        }
    }

    /// Redis is full from now on, or no longer.
    fn fill(&mut self) {
        self.full = !self.full;
        let bytes = u8::from(self.full);
        let mut command = redis::cmd("CONFIG");
        let () = command
            .arg(&["SET", "maxmemory"])
            .arg(bytes)
            .query(&mut self.redis)
            .unwrap();
    }

    fn compare(&mut self, pair: usize, shard: u16) {
        let expected = self.pairs[pair].memory.dump_with_stale_buckets(shard);
        let got = raw::dump(&mut self.redis, PREFIXES[pair], shard);
        if expected != got {
            let last = self.last.as_ref().map(|(_, _, script)| script);
            println!(
                "step {}: view {pair}, {shard}; last script: {last:#?}",
                self.steps
            );
            assert_eq!(expected, got);
        }
    }
}

fn adds_orders(reply: &Reply) -> bool {
    let Reply::Folded { outcomes, .. } = reply else {
        return false;
    };
    let mut outcomes = outcomes.iter();
    outcomes.any(|o| matches!(o, Folded::Added | Folded::Requeued))
}

fn without_time(meta: Option<Meta>) -> Option<Meta> {
    meta.map(|meta| Meta { now: 0, ..meta })
}
