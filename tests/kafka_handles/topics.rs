use std::time::Duration;

use settled::config::GroupProtocol;
use settled::kafka::topic_plan::Needs;
use settled::kafka::topic_rules::{Finding, Verdict};
use settled::kafka::topics::TopicAdmin;

use crate::support::topics::{World, create_topic};
use crate::{settings, support};

const NEEDS: Needs = Needs {
    longest_schedule: Duration::from_hours(24 * 20),
    window: Duration::from_hours(24),
};

fn refused(findings: &[Finding]) -> Vec<(&str, &str)> {
    findings
        .iter()
        .filter_map(|finding| match &finding.verdict {
            Verdict::Refused { way_out, .. } => Some((finding.subject.as_str(), way_out.as_str())),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn created_topics_pass_the_check_and_are_left_alone_the_second_time() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::named("create");
    let settings = settings(&kafka.bootstrap, &world, 3);
    let admin = TopicAdmin::new(&settings).unwrap();

    let before = admin.check(NEEDS).await.unwrap();
    let missing = [&world.events, &world.results, &world.dead_letters];
    assert_eq!(
        refused(&before),
        missing.map(|topic| (topic.as_str(), "settled topics create"))
    );

    let created = admin.create(NEEDS).await.unwrap();
    assert!(
        created
            .iter()
            .all(|topic| !topic.existed && topic.plan.replication == 1)
    );
    let after = admin.check(NEEDS).await.unwrap();
    assert_eq!(refused(&after), []);
    let warned = after
        .iter()
        .filter(|f| matches!(f.verdict, Verdict::Warn(_)));
    assert!(warned.map(|f| f.subject.as_str()).eq([
        format!("{}: replication", world.events),
        format!("{}: replication", world.results),
        format!("{}: replication", world.dead_letters),
    ]));

    let again = admin.create(NEEDS).await.unwrap();
    assert!(again.iter().all(|topic| topic.existed));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_names_the_command_that_mends_it() {
    let Some(kafka) = support::kafka() else {
        return;
    };
    let world = World::named("refused");
    let wrong = [
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.ms", "60000"),
    ];
    create_topic(kafka, &world.events, 2, &wrong).await;
    create_topic(kafka, &world.results, 5, &wrong).await;
    create_topic(kafka, &world.dead_letters, 1, &[]).await;
    let settings = settings(&kafka.bootstrap, &world, 3);
    let findings = TopicAdmin::new(&settings)
        .unwrap()
        .check(NEEDS)
        .await
        .unwrap();
    let (events, results) = (&world.events, &world.results);
    let alter = |topic: &str, property: &str| {
        format!(
            "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name \
             {topic} --add-config {property}",
            kafka.bootstrap
        )
    };
    let more = format!(
        "kafka-topics.sh --bootstrap-server {} --alter --topic {events} --partitions 3",
        kafka.bootstrap
    );
    // Schedule 20 d + window 1 d + 1 d; events as they are 1 min + segment 7 d + window 1 d + 1 h.
    let expected = [
        (format!("{events}: partitions"), more),
        (
            format!("{events}: cleanup.policy"),
            alter(events, "cleanup.policy=delete"),
        ),
        (
            format!("{events}: message.timestamp.type"),
            alter(events, "message.timestamp.type=LogAppendTime"),
        ),
        (
            format!("{events}: retention.ms"),
            alter(events, "retention.ms=1900800000"),
        ),
        (
            format!("{results}: partitions"),
            "set shards = 5, or set kafka.results to a new name and run `settled topics create`"
                .to_owned(),
        ),
        (
            format!("{results}: cleanup.policy"),
            alter(results, "cleanup.policy=delete"),
        ),
        (
            format!("{results}: message.timestamp.type"),
            alter(results, "message.timestamp.type=LogAppendTime"),
        ),
        (
            format!("{results}: retention.ms"),
            alter(results, "retention.ms=694860000"),
        ),
    ];
    let found: Vec<_> = refused(&findings)
        .into_iter()
        .map(|(subject, way_out)| (subject.to_owned(), way_out.to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kip_848_the_brokers_session_is_looked_at() {
    if support::kafka().is_none() {
        return;
    }
    // Kafka's own default; the broker that the tests share notices sooner.
    let session = [("group.consumer.session.timeout.ms", "45000")];
    let kafka = support::broker::Broker::start(&session).unwrap();
    let mut settings = settings(&kafka.bootstrap, &World::named("session"), 1);
    for (protocol, told) in [
        (GroupProtocol::Classic, None),
        (GroupProtocol::Consumer, Some("45s ")),
    ] {
        settings.protocol = protocol;
        let admin = TopicAdmin::new(&settings).unwrap();
        let findings = admin.check(NEEDS).await.unwrap();
        let session = findings.iter().find(|f| f.subject == "group session");
        // A worker that dies is taken over much later than with the classic protocol.
        let warned = session.map(|f| match &f.verdict {
            Verdict::Warn(what) => what.as_str(),
            other => panic!("{other:?}"),
        });
        assert_eq!(warned.is_some(), told.is_some());
        assert!(
            warned
                .unwrap_or_default()
                .starts_with(told.unwrap_or_default())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_missing_topic_does_not_create_it() {
    if support::kafka().is_none() {
        return;
    }
    let broker = support::broker::Broker::start(&[("auto.create.topics.enable", "true")]).unwrap();
    let world = World::named("missing");
    let settings = settings(&broker.bootstrap, &world, 1);
    let admin = TopicAdmin::new(&settings).unwrap();
    let asker = settled::kafka::ends::EndAsker::new(&settings).unwrap();
    for _ in 0..2 {
        assert_eq!(refused(&admin.check(NEEDS).await.unwrap()).len(), 3);
        let partitions = asker.partitions(settled::kafka::Log::Events).await.unwrap();
        assert_eq!(partitions, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_cluster_is_told_with_its_address() {
    let world = World::named("nowhere");
    let mut settings = settings("127.0.0.1:1", &world, 1);
    settings.properties = [("socket.connection.setup.timeout.ms", "1000")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let error = TopicAdmin::new(&settings)
        .unwrap()
        .check(NEEDS)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("Kafka at 127.0.0.1:1: "),
        "{error}"
    );
}
