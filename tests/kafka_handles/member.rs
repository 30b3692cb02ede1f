use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use settled::config::GroupProtocol;
use settled::kafka::member::{self, MemberHandle, Ownership};
use settled::kafka::settings::Settings;
use settled::kafka::thread::KafkaThread;
use tokio::sync::mpsc;

use crate::support::topics::World;
use crate::{DEADLINE, settings, support};

struct Worker {
    handle: MemberHandle,
    thread: KafkaThread,
    changes: mpsc::Receiver<Ownership>,
    owned: BTreeSet<u16>,
    flipped: Arc<Mutex<BTreeSet<u16>>>,
}

impl Worker {
    fn join(settings: &Settings) -> Self {
        let flipped = Arc::new(Mutex::new(BTreeSet::new()));
        let (sender, changes) = mpsc::channel(8);
        let flips = Arc::clone(&flipped);
        let on_revoke = Box::new(move |partitions: &[u16]| {
            flips.lock().unwrap().extend(partitions.iter().copied());
        });
        let (handle, thread) = member::spawn(settings, on_revoke, sender).unwrap();
        Self {
            handle,
            thread,
            changes,
            owned: BTreeSet::new(),
            flipped,
        }
    }

    /// Follows the changes that are there.
    fn follow(&mut self) -> usize {
        while let Ok(change) = self.changes.try_recv() {
            self.apply(change);
        }
        self.owned.len()
    }

    fn apply(&mut self, change: Ownership) {
        match change {
            Ownership::Assigned(new) => self.owned.extend(new),
            Ownership::Revoked(gone) | Ownership::Lost(gone) => {
                for partition in gone {
                    assert!(self.flipped.lock().unwrap().contains(&partition));
                    self.owned.remove(&partition);
                }
            }
        }
    }
}

async fn until(what: &str, workers: &mut [&mut Worker], owned: &[usize]) {
    let limit = tokio::time::Instant::now() + DEADLINE;
    loop {
        let counts: Vec<_> = workers.iter_mut().map(|worker| worker.follow()).collect();
        if counts == owned {
            return;
        }
        assert!(tokio::time::Instant::now() < limit, "{what}: {counts:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn share_and_take_over(protocol: GroupProtocol) {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "members", 4, 0).await;
    let mut settings = settings(&kafka.bootstrap, &world, 4);
    settings.protocol = protocol;
    let mut one = Worker::join(&settings);
    until("one owns all", &mut [&mut one], &[4]).await;
    let mut two = Worker::join(&settings);
    until("both own half", &mut [&mut one, &mut two], &[2, 2]).await;
    assert!(one.owned.is_disjoint(&two.owned));
    assert_eq!(
        one.flipped.lock().unwrap().len(),
        2,
        "what was kept was not flipped"
    );

    assert!(one.thread.stop(DEADLINE).await);
    assert_eq!(
        one.flipped.lock().unwrap().len(),
        4,
        "leaving flips what was left"
    );
    until("the other takes over", &mut [&mut two], &[4]).await;
    assert!(two.thread.stop(DEADLINE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_the_partitions_and_one_takes_over() {
    share_and_take_over(GroupProtocol::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_the_partitions_by_the_new_protocol() {
    share_and_take_over(GroupProtocol::Consumer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_committed_as_the_group() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "commits", 2, 0).await;
    let settings = settings(&kafka.bootstrap, &world, 2);
    let mut worker = Worker::join(&settings);
    until("owns all", &mut [&mut worker], &[2]).await;
    assert_eq!(worker.handle.committed(0).await.unwrap(), None);
    worker.handle.commit(&[(0, 17), (1, 5)]);
    let handle = worker.handle.clone();
    support::eventually("committed", DEADLINE, async || {
        (handle.committed(0).await.unwrap() == Some(17)).then_some(())
    })
    .await;
    assert_eq!(handle.committed(1).await.unwrap(), Some(5));
    assert!(worker.thread.stop(DEADLINE).await);
    assert!(
        handle.committed(0).await.is_err(),
        "the handle is gone with its thread"
    );
    handle.commit(&[(0, 18)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_ends_finds_its_partitions_again_and_nobody_else_had_them() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::create(kafka, "static", 4, 0).await;
    let of = |name: &str| {
        let mut settings = settings(&kafka.bootstrap, &world, 4);
        let properties = &mut settings.properties;
        properties.insert("group.instance.id".to_owned(), name.to_owned());
        properties.insert("session.timeout.ms".to_owned(), "30000".to_owned());
        settings
    };
    let mut one = Worker::join(&of("one"));
    until("one owns all", &mut [&mut one], &[4]).await;
    let mut two = Worker::join(&of("two"));
    until("both own half", &mut [&mut one, &mut two], &[2, 2]).await;
    let owned = one.owned.clone();

    assert!(one.thread.stop(DEADLINE).await);
    assert!(
        one.flipped.lock().unwrap().is_superset(&owned),
        "ending flips what is ours"
    );
    let mut back = Worker::join(&of("one"));
    until("it is back", &mut [&mut back, &mut two], &[2, 2]).await;
    assert_eq!(back.owned, owned);
    assert!(
        two.owned.is_disjoint(&owned) && two.flipped.lock().unwrap().is_empty(),
        "the other was given what only rested"
    );
    for worker in [back, two] {
        assert!(worker.thread.stop(DEADLINE).await);
    }
}
