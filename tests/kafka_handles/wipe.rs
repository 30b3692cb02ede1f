//! An owner commits its floor to a real broker, its Redis is wiped, and it begins at the floor.

use std::time::Duration;

use settled::clock::Clock;
use settled::dev::bank::{Bank, BankOptions};
use settled::domain::order::OrderKey;
use settled::store::Store;
use settled::store::script::Found;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::floors::Group;
use crate::owner::{Owner, Terms};
use crate::rebuild::pending;
use crate::support::redis::RedisServer;
use crate::support::topics::{Isolation, Raw, World, produce, read_raw};
use crate::{DEADLINE, settings, support};

const OLD_EXHAUSTIONS: &str = "settled_alarms_total{kind=\"old_exhaustion\"}";

/// One shard, its owner, and a bank that settles nothing.
struct Site {
    bootstrap: &'static str,
    world: World,
    redis: RedisServer,
    floors: Group,
    owner: Owner,
    _bank: DropGuard,
}

impl Site {
    async fn open() -> Option<Self> {
        let (kafka, _) = (support::kafka()?, support::redis()?);
        let world = World::create(kafka, "wipe", 1, 0).await;
        let stop = CancellationToken::new();
        let options = BankOptions {
            in_progress: 1_000,
            ..BankOptions::default()
        };
        let listen = "127.0.0.1:0".parse().unwrap();
        let tasks = TaskTracker::new();
        let bank = Bank::start(listen, options, Clock::start(), &tasks, stop.clone()).await;
        let redis = RedisServer::start(&[]).unwrap();
        let terms = Terms {
            query_url: format!("http://{}/", bank.unwrap().local_addr()),
            types: [("t", "200ms x 1"), ("held", "1h x 2")].into(),
            floor_every: 100,
            // What has less than a day left is told as old: any exhaustion whose record is found.
            results_kept: Duration::from_hours(24),
            forwards_to: None,
        };
        let owner = Owner::start(&settings(&kafka.bootstrap, &world, 1), &redis, terms).await;
        owner.opened(1).await;
        Some(Self {
            bootstrap: &kafka.bootstrap,
            floors: Group::of_floors(&kafka.bootstrap, &world).await,
            world,
            redis,
            owner,
            _bank: stop.drop_guard(),
        })
    }

    fn publish(&self, events: impl IntoIterator<Item = Raw>) {
        produce(self.bootstrap, &self.world.events, events);
    }

    /// Waits until the view has all events below `e`, and then for the floor that the owner commits.
    async fn floor_when_folded(&self, e: u64) -> (i64, String) {
        support::eventually("all events are folded", DEADLINE, async || {
            let meta = self.owner.store.meta(0).await.unwrap();
            meta.is_some_and(|meta| meta.e == e).then_some(())
        })
        .await;
        // A zombie's, which the owner's next one replaces. Twice, as the one that follows on the
        // first may be older than what was waited for.
        let zombie = (0, "R=0".to_owned());
        let mut last = zombie.clone();
        for _ in 0..2 {
            self.floors.commit(0, zombie.0, &zombie.1);
            last = support::eventually("the owner's floor", DEADLINE, async || {
                self.floors.committed(0).filter(|floor| *floor != zombie)
            })
            .await;
        }
        last
    }

    /// The offset of the one exhaustion, when there is one. The schemas have their turn at the end.
    fn exhaustion(&self) -> Option<i64> {
        let results = read_raw(self.bootstrap, &self.world.results, Isolation::Committed);
        let mut exhausted = results
            .iter()
            .filter(|result| result.header("settled-outcome") == Some("exhausted"));
        exhausted.next().map(|result| result.offset)
    }

    fn wipe(&self) {
        let client = redis::Client::open(self.redis.url.as_str()).unwrap();
        let mut redis = client.get_connection().unwrap();
        redis::cmd("FLUSHALL").query::<()>(&mut redis).unwrap();
    }

    async fn state(&self, order: &str) -> &'static str {
        let key = OrderKey::parse(order).unwrap();
        match self.owner.store.find(0, &key).await.unwrap() {
            Found::Unknown => "unknown",
            Found::Settled { .. } => "settled",
            Found::Open { record, .. } if record.exhausted => "exhausted",
            Found::Open { .. } => "pending",
        }
    }
}

fn in_progress(order: &str) -> Raw {
    let time = Clock::start().wall().cast_signed();
    Raw {
        time: None,
        ..pending(&OrderKey::parse(order).unwrap(), time)
    }
}

/// Events that settle ten orders of this name.
fn ten_settled(name: char) -> impl Iterator<Item = Raw> {
    (0..10).map(move |n| {
        let mut raw = in_progress(&format!("t/{name}{n}"));
        let value = String::from_utf8(raw.value.unwrap()).unwrap();
        let settles = value.replace(r#""status":"3""#, r#""status":"1""#);
        raw.value = Some(settles.into_bytes());
        raw
    })
}

#[tokio::test]
async fn a_wiped_view_is_folded_from_the_floor_that_its_owner_committed() {
    let Some(site) = Site::open().await else {
        return;
    };
    // Nothing is pending: the floor is where both logs were folded to.
    site.publish(ten_settled('A'));
    let (e, metadata) = site.floor_when_folded(10).await;
    assert_eq!(e, 10);
    assert_ne!(metadata, "R=0");
    assert_eq!(site.owner.metric(OLD_EXHAUSTIONS), 0);
    // Exhausted after a question: R stays with its result, and only E goes on.
    site.publish([in_progress("t/EXHAUSTED")]);
    let exhausted = support::eventually("exhausted", DEADLINE, async || site.exhaustion()).await;
    let metadata = format!("R={exhausted}");
    // Pending: E stays with its event.
    site.publish([in_progress("held/HELD")]);
    site.floor_when_folded(12).await;
    site.publish(ten_settled('B'));
    assert_eq!(site.floor_when_folded(22).await, (11, metadata));
    support::eventually("the exhaustion is told as old", DEADLINE, async || {
        (site.owner.metric(OLD_EXHAUSTIONS) > 0).then_some(())
    })
    .await;

    let taken = site.owner.metric("settled_events_total");
    site.wipe();
    site.owner.opened(2).await;
    let begins = ["E=0, R=0", "E=11, R=0"].map(|begins| (0, begins.to_owned()));
    assert_eq!(site.owner.rebuilds(), begins);
    let taken = site.owner.metric("settled_events_total") - taken;
    assert_eq!(taken, 11, "of 22 events");
    for (order, state) in [
        ("held/HELD", "pending"),
        ("t/EXHAUSTED", "exhausted"),
        ("t/A0", "settled"),
        ("t/B9", "settled"),
    ] {
        assert_eq!(site.state(order).await, state, "{order}");
    }
    site.owner.stop().await;
    let results = site
        .world
        .read(site.bootstrap, &site.world.results, Isolation::Uncommitted);
    assert_eq!(results.len(), 21, "one of each order that has one");
}
