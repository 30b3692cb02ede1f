//! An inlet whose forwards arrive nowhere, and one whose committed position lies beyond its log.

use std::sync::Arc;

use settled::clock::Clock;
use settled::domain::order::OrderKey;
use settled::shard::{Inlet, Ownership};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::owner::{Owner, Terms};
use crate::rebuild::pending;
use crate::support::redis::RedisServer;
use crate::support::topics::{Isolation, Raw, Seen, World, produce, read_raw};
use crate::{DEADLINE, settings, support};

/// One shard, partition 0, with its owner; and partition 1, an inlet that is not followed yet.
struct Site {
    bootstrap: &'static str,
    world: World,
    owner: Owner,
    _redis: RedisServer,
}

impl Site {
    /// `forwards`: whether they arrive.
    async fn open(name: &str, forwards: bool) -> Option<Self> {
        let (kafka, _) = (support::kafka()?, support::redis()?);
        let world = World::create(kafka, name, 1, 1).await;
        let redis = RedisServer::start(&[]).unwrap();
        let terms = Terms {
            query_url: "http://127.0.0.1:9/".to_owned(),
            types: [("t", "1s x 1")].into(),
            floor_every: 60_000,
            results_kept: DEADLINE,
            forwards_to: (!forwards).then(|| format!("{}-away", world.events)),
        };
        let owner = Owner::start(&settings(&kafka.bootstrap, &world, 1), &redis, terms).await;
        owner.opened(1).await;
        Some(Self {
            bootstrap: &kafka.bootstrap,
            world,
            owner,
            _redis: redis,
        })
    }

    fn follow(&self, stop: &CancellationToken) -> JoinHandle<()> {
        let ports = Arc::clone(&self.owner.ports);
        let inlet = Inlet::new(ports, 1, 1 << 32, Ownership::default());
        TaskTracker::new().spawn(inlet.run(stop.clone()))
    }

    /// An order's event, in the inlet.
    fn publish(&self, order: &str) {
        let key = OrderKey::parse(order).unwrap();
        let event = Raw {
            partition: Some(1),
            time: None,
            ..pending(&key, Clock::start().wall().cast_signed())
        };
        produce(self.bootstrap, &self.world.events, [event]);
    }

    async fn committed(&self) -> Option<u64> {
        self.owner.ports.member.committed(1).await.unwrap()
    }

    async fn commits(&self, position: u64) {
        self.owner.ports.member.commit(&[(1, position)]);
        support::eventually("committed", DEADLINE, async || {
            (self.committed().await == Some(position)).then_some(())
        })
        .await;
    }

    fn read(&self, topic: &str) -> Vec<Seen> {
        read_raw(self.bootstrap, topic, Isolation::Committed)
    }

    /// Events in the shard's own partition.
    fn forwarded(&self) -> usize {
        let events = self.read(&self.world.events);
        events.iter().filter(|event| event.partition == 0).count()
    }
}

#[tokio::test]
async fn an_inlet_commits_no_position_beyond_what_was_not_delivered() {
    let Some(site) = Site::open("inlet-away", false).await else {
        return;
    };
    let stop = CancellationToken::new();
    let running = site.follow(&stop);
    site.publish("t/FAR");
    // What follows is delivered: twice, as a commit after the first would be there by the second.
    for count in 1..=2 {
        let garbage = Raw::to(1, "no event");
        produce(site.bootstrap, &site.world.events, [garbage]);
        support::eventually("its dead letter", DEADLINE, async || {
            (site.read(&site.world.dead_letters).len() >= count).then_some(())
        })
        .await;
    }
    assert_eq!(site.committed().await, None);
    stop.cancel();
    running.await.unwrap();
    site.owner.stop().await;
}

#[tokio::test]
async fn an_inlet_beyond_the_end_of_its_log_stands_still_until_somebody_mends_it() {
    let Some(site) = Site::open("inlet-beyond", true).await else {
        return;
    };
    site.publish("t/LATER");
    site.commits(99).await;
    let stop = CancellationToken::new();
    let running = site.follow(&stop);
    // It is told each time that it is looked at.
    let alarms = "settled_alarms_total{kind=\"out_of_range\"}";
    support::eventually("told twice", DEADLINE, async || {
        (site.owner.metric(alarms) >= 2).then_some(())
    })
    .await;
    assert_eq!((site.forwarded(), site.committed().await), (0, Some(99)));
    site.commits(0).await;
    support::eventually("it goes on", DEADLINE, async || {
        (site.forwarded() == 1 && site.committed().await == Some(1)).then_some(())
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    site.owner.stop().await;
}
