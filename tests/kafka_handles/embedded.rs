use rdkafka::mocking::MockCluster;
use settled::config::GroupProtocol;
use settled::kafka::ends::EndAsker;
use settled::kafka::member::{self, Ownership};
use settled::kafka::reader::{self, Sink, Start};
use settled::kafka::settings::World as Broker;
use settled::kafka::topic_plan::Needs;
use settled::kafka::topic_rules::Verdict;
use settled::kafka::topics::TopicAdmin;
use settled::kafka::{Log, producer};
use tokio::sync::mpsc;

use crate::support::topics::{Isolation, World};
use crate::{DEADLINE, EVENT, every_type, next, open, publication, read_to, settings};

#[tokio::test(flavor = "multi_thread")]
async fn every_handle_works_on_the_embedded_broker() {
    let cluster = MockCluster::new(1).unwrap();
    let world = World::named("embedded");
    for (topic, partitions) in [
        (&world.events, 2),
        (&world.results, 2),
        (&world.dead_letters, 1),
    ] {
        cluster.create_topic(topic, partitions, 1).unwrap();
    }
    let mut settings = settings(&cluster.bootstrap_servers(), &world, 2);
    settings.world = Broker::Embedded;
    settings.protocol = GroupProtocol::Consumer;

    let needs = Needs {
        longest_schedule: DEADLINE,
        window: DEADLINE,
    };
    let findings = TopicAdmin::new(&settings)
        .unwrap()
        .check(needs)
        .await
        .unwrap();
    assert_eq!(findings.len(), 3);
    assert!(
        findings.iter().all(|f| matches!(f.verdict, Verdict::Ok(_))),
        "{findings:?}"
    );

    let (changes, mut owned) = mpsc::channel(8);
    let (_, member) = member::spawn(&settings, Box::new(|_| {}), changes).unwrap();
    let mut mine = Vec::new();
    while mine.len() < 2 {
        let change = tokio::time::timeout(DEADLINE, owned.recv()).await.unwrap();
        if let Some(Ownership::Assigned(new)) = change {
            mine.extend(new);
        }
    }

    let (handle, reader) = reader::spawn(&settings, every_type()).unwrap();
    let (sink, mut events) = mpsc::channel(8);
    handle.start(Start {
        partition: 1,
        generation: 1,
        offset: 0,
        sink: Sink::Events(sink),
    });
    let (sink, mut results) = mpsc::channel(8);
    handle.start(Start {
        partition: 1,
        generation: 1,
        offset: 0,
        sink: Sink::Results(sink),
    });
    let (producer, appending) = producer::spawn(&settings).unwrap();
    let place = producer
        .append_event(1, "transfer/TX1", EVENT.as_bytes(), &[])
        .await;
    assert_eq!(place.unwrap(), (1, 0));
    assert_eq!(next(&mut events).await.position, 1);

    let publisher = open(&settings, 1).await;
    let publisher = publisher.publish(vec![publication("a")]).await.unwrap();
    publisher.publish(vec![publication("b")]).await.unwrap();
    let asker = EndAsker::new(&settings).unwrap();
    let ends = asker.ends(Log::Results, 1).await.unwrap();
    let (records, position) = read_to(&mut results, ends.high).await;
    assert_eq!((records.len(), position), (2, ends.high));
    for (topic, count) in [(&world.events, 1), (&world.results, 2)] {
        let read = world.read(&settings.bootstrap, topic, Isolation::Committed);
        assert_eq!(read.len(), count);
    }

    assert!(member.stop(DEADLINE).await);
    assert!(reader.stop(DEADLINE).await);
    assert!(appending.stop(DEADLINE).await);
}
