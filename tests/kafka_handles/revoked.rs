//! A shard that was revoked and whose task goes on for a while, as when the runtime is busy.

use settled::clock::Clock;
use settled::dev::bank::{Bank, BankOptions};
use settled::domain::order::OrderKey;
use settled::store::Store;
use settled::store::script::Found;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::owner::{Owner, Terms};
use crate::rebuild::pending;
use crate::support::redis::RedisServer;
use crate::support::topics::{Raw, World, produce};
use crate::{DEADLINE, settings, support};

#[tokio::test]
async fn no_order_of_a_revoked_shard_is_asked_about_while_its_task_still_runs() {
    let (Some(kafka), Some(_)) = (support::kafka(), support::redis()) else {
        return;
    };
    let world = World::create(kafka, "revoked-shard", 1, 0).await;
    let (clock, stop) = (Clock::start(), CancellationToken::new());
    let _ends_the_bank = stop.clone().drop_guard();
    let listen = "127.0.0.1:0".parse().unwrap();
    let (options, tasks) = (BankOptions::default(), TaskTracker::new());
    let bank = Bank::start(listen, options, clock, &tasks, stop).await;
    let bank = bank.unwrap();
    let redis = RedisServer::start(&[]).unwrap();
    let terms = Terms {
        query_url: format!("http://{}/", bank.local_addr()),
        types: [("t", "200ms x 100")].into(),
        floor_every: 60_000,
        results_kept: DEADLINE,
        forwards_to: None,
    };
    let owner = Owner::start(&settings(&kafka.bootstrap, &world, 1), &redis, terms).await;
    owner.opened(1).await;

    owner.ownerships[0].revoke();
    let key = OrderKey::parse("t/LATE").unwrap();
    let event = Raw {
        time: None,
        ..pending(&key, clock.wall().cast_signed())
    };
    produce(&kafka.bootstrap, &world.events, [event]);
    support::eventually(
        "its order comes due again and again",
        DEADLINE,
        async || {
            let found = owner.store.find(0, &key).await.unwrap();
            matches!(found, Found::Open { record, .. } if record.claim > 4).then_some(())
        },
    )
    .await;
    assert_eq!(bank.summary().questions, 0);
    owner.stop().await;
}
