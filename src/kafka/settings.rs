//! How every Kafka handle is configured: ours below, the user's properties over them, and on top what
//! a promise rests on. The only place that names librdkafka's properties; whoever makes a handle
//! takes its configuration from here and never adds to it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::Log;
use crate::config::{Config, GroupProtocol};
use crate::domain::order::Millis;
use crate::plant::{self, Plant};

/// What ends a transaction that a stopped owner left open; readers are blocked for as long.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer is waited for before its connection is given up. One that died without a word holds
/// a reader up for a minute otherwise, librdkafka's own, and the API's events as well. For publishers the
/// library derives it from the transaction's timeout.
const ANSWER_MS: &str = "10000";

/// The smallest `message.max.bytes` that we take, and the smallest `max.message.bytes` of our topics:
/// room for an event of 64 KiB with its headers, for any result, and for a whole [`BATCH_BYTES`].
pub const MESSAGE_BYTES: u64 = 128 * 1024;

/// What our producers put together into one batch, unless a single record is larger. The broker holds
/// a batch against `max.message.bytes`, and refuses all of it for what one record cannot help.
pub const BATCH_BYTES: u64 = 100_000;

/// Properties of `kafka.properties` that would break a promise, each with what it would break.
pub const REFUSED_PROPERTIES: &[(&str, &str)] = &[
    ("acks", ACKS),
    ("request.required.acks", ACKS),
    (
        "allow.auto.create.topics",
        "a topic made by asking for it has the wrong partitions and retention",
    ),
    ("auto.commit.enable", COMMIT),
    ("auto.commit.interval.ms", COMMIT),
    (
        "auto.offset.reset",
        "a position outside the log must stop the shard, never skip or repeat events",
    ),
    ("bootstrap.servers", "it has its own field: kafka.bootstrap"),
    ("enable.auto.commit", COMMIT),
    ("enable.auto.offset.store", COMMIT),
    (
        "enable.idempotence",
        "results, forwards and dead letters must neither be repeated nor reordered by a retry",
    ),
    (
        "enable.partition.eof",
        "positions are compared with the watermark, no end of partition is waited for",
    ),
    ("group.id", "groups are named after `app`"),
    (
        "group.protocol",
        "it has its own field: kafka.group_protocol",
    ),
    (
        "isolation.level",
        "each handle has the one that it needs: the results are read committed, their real end uncommitted",
    ),
    (
        "metadata.broker.list",
        "it has its own field: kafka.bootstrap",
    ),
    (
        "partition.assignment.strategy",
        "shards move one by one only with cooperative-sticky",
    ),
    (
        "partitioner",
        "an event's partition follows from the key in its body",
    ),
    (
        "test.mock.num.brokers",
        "the embedded broker forgets everything; only `settled dev` may use it",
    ),
    (
        "transactional.id",
        "it names the shard, so that a new owner fences the old one",
    ),
];

const ACKS: &str = "what is acknowledged must survive the loss of a broker";
const COMMIT: &str =
    "the position that counts is kept in the view, with the work that it accounts for";

/// Why a property of the configuration cannot be taken; `None` when it can.
pub fn refusal(name: &str, value: &str) -> Option<&'static str> {
    if name == "transaction.timeout.ms" {
        let within = value
            .parse::<u128>()
            .is_ok_and(|ms| ms <= TRANSACTION_TIMEOUT.as_millis());
        return (!within).then_some(
            "a stopped owner's open transaction hides results for as long: 10000 at most",
        );
    }
    if name == "message.max.bytes" {
        let enough = value
            .parse::<u64>()
            .is_ok_and(|bytes| bytes >= MESSAGE_BYTES);
        return (!enough)
            .then_some("a result that cannot be sent would stop its shard: 131072 at least");
    }
    REFUSED_PROPERTIES
        .iter()
        .find_map(|(refused, why)| (*refused == name).then_some(*why))
}

/// What the handles speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// A Kafka cluster.
    Real,
    /// The broker inside `settled dev`: no admin API, producers' time stamps, fences nothing.
    Embedded,
}

/// The names of the three topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// `order-events`.
    pub events: String,
    /// `order-results`.
    pub results: String,
    /// `order-dead-letters`.
    pub dead_letters: String,
}

impl Topics {
    /// The topic of one of a shard's logs.
    pub fn of(&self, log: Log) -> &str {
        match log {
            Log::Events => &self.events,
            Log::Results => &self.results,
        }
    }
}

/// Everything that the Kafka layer takes from the configuration. Not `Debug`: the properties may hold
/// passwords.
#[derive(Clone)]
pub struct Settings {
    /// Prefix of groups and transactional ids.
    pub app: String,
    /// N.
    pub shards: u16,
    /// The dedupe window; an event appended later than this after its own `at` is stale.
    pub window: Millis,
    /// `host:port,host:port`.
    pub bootstrap: String,
    /// The topics' names.
    pub topics: Topics,
    /// What the handles speak to.
    pub world: World,
    /// Which protocol the member group speaks.
    pub protocol: GroupProtocol,
    /// The user's own properties, checked.
    pub properties: BTreeMap<String, String>,
}

/// Belong to the one handle that joins a group; the others would only warn about them.
const OF_THE_MEMBER: [&str; 5] = [
    "group.instance.id",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "session.timeout.ms",
];

/// Belong to producers that are not transactional: within a transaction librdkafka derives them from
/// the transaction's timeout and refuses longer ones.
const OF_PLAIN_PRODUCERS: [&str; 3] = [
    "delivery.timeout.ms",
    "message.timeout.ms",
    "socket.timeout.ms",
];

impl Settings {
    /// Takes the Kafka part of a checked configuration. The embedded world always speaks KIP-848:
    /// its coordinator assigns in 0.1 s so, and in 3 s with the classic protocol.
    pub fn new(config: &Config, world: World) -> Self {
        Self {
            app: config.app.clone(),
            shards: config.shards,
            window: config.dedupe_window.as_millis() as Millis,
            bootstrap: config.kafka.bootstrap.clone(),
            topics: Topics {
                events: config.kafka.events.clone(),
                results: config.kafka.results.clone(),
                dead_letters: config.kafka.dead_letters.clone(),
            },
            world,
            protocol: match world {
                World::Real => config.kafka.group_protocol,
                World::Embedded => GroupProtocol::Consumer,
            },
            properties: config
                .kafka
                .properties
                .iter()
                .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect(),
        }
    }

    /// The group that decides which worker owns a shard.
    pub fn group(&self) -> &str {
        &self.app
    }

    /// The group under which the floor is committed; nobody ever joins it.
    pub fn floor_group(&self) -> String {
        format!("{}-floor", self.app)
    }

    /// The id that fences a shard's publishers.
    pub fn transactional_id(&self, shard: u16) -> String {
        let worker = self.properties.get("client.id");
        let name = worker.filter(|_| plant::is(Plant::WorkerInTransactionalId));
        format!("{}-results-{shard}", name.unwrap_or(&self.app))
    }

    /// Whether the member is static (KIP-345), as `kafka.properties` says.
    pub fn is_static_member(&self) -> bool {
        self.properties.contains_key("group.instance.id")
    }

    /// For the member: joins, is assigned, and reads nothing.
    pub fn member(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", self.group());
        match self.protocol {
            GroupProtocol::Classic => {
                self.unless_given(&mut config, "session.timeout.ms", "6000");
                self.unless_given(&mut config, "heartbeat.interval.ms", "250");
                config.set("partition.assignment.strategy", "cooperative-sticky");
            }
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer");
            }
        }
        for name in OF_THE_MEMBER {
            if let Some(value) = self.properties.get(name) {
                config.set(name, value);
            }
        }
        // How soon a grown `order-events` is noticed; librdkafka's own 5 minutes leave new
        // partitions unread for as long.
        self.unless_given(&mut config, "topic.metadata.refresh.interval.ms", "30000");
        // Between assignment and pause something may be fetched; it is thrown away.
        config.set("queued.min.messages", "1");
        config.set("queued.max.messages.kbytes", "16");
        config
    }

    /// For the reader: read committed, assigned by hand.
    pub fn reader(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", self.floor_group());
        config.set("isolation.level", "read_committed");
        // What is prefetched is thrown away when a partition is paused: enough for a burst, no more.
        self.unless_given(&mut config, "queued.min.messages", "10000");
        self.unless_given(&mut config, "fetch.queue.backoff.ms", "10");
        // A partition that is started now waits for the fetch that is under way. Nothing here hurries
        // more than that, and an answer per record cost the broker most of its work.
        self.unless_given(&mut config, "fetch.wait.max.ms", "50");
        self.unless_given(&mut config, "fetch.min.bytes", "16384");
        self.unless_given(&mut config, "fetch.error.backoff.ms", "100");
        config
    }

    /// For a verification: reads as the reader does and asks for the group's positions, but never
    /// subscribes and commits nothing.
    pub fn onlooker(&self) -> ClientConfig {
        let mut config = self.reader();
        config.set("group.id", self.group());
        config
    }

    /// For the end-asker, which also commits the floor: sees open transactions.
    pub fn asker(&self) -> ClientConfig {
        let mut config = self.consumer();
        config.set("group.id", self.floor_group());
        let level = if plant::is(Plant::EndReadCommitted) {
            "read_committed"
        } else {
            "read_uncommitted"
        };
        config.set("isolation.level", level);
        config.set("fetch.wait.max.ms", "50");
        config.set("queued.min.messages", "1");
        config
    }

    /// For the worker's one idempotent producer.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        self.unless_given(&mut config, "linger.ms", "2");
        self.unless_given(&mut config, "socket.timeout.ms", ANSWER_MS);
        // A dead letter carries the whole original and its reasons; it must fit where the original did.
        self.unless_given(&mut config, "message.max.bytes", "10000000");
        config.set("batch.size", BATCH_BYTES.to_string());
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config
    }

    /// For a shard's transactional publisher.
    pub fn publisher(&self, shard: u16) -> ClientConfig {
        let mut config = self.base();
        for name in OF_PLAIN_PRODUCERS {
            config.remove(name);
        }
        self.unless_given(&mut config, "linger.ms", "1");
        let timeout_ms = TRANSACTION_TIMEOUT.as_millis().to_string();
        self.unless_given(&mut config, "transaction.timeout.ms", &timeout_ms);
        config.set("batch.size", BATCH_BYTES.to_string());
        config.set("transactional.id", self.transactional_id(shard));
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        config
    }

    /// For checks and creation of topics.
    pub fn admin(&self) -> ClientConfig {
        self.base()
    }

    fn consumer(&self) -> ClientConfig {
        let mut config = self.base();
        self.unless_given(&mut config, "socket.timeout.ms", ANSWER_MS);
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "error");
        config
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", &self.app)
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true");
        for (name, value) in &self.properties {
            if !OF_THE_MEMBER.contains(&name.as_str()) {
                config.set(name, value);
            }
        }
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("allow.auto.create.topics", "false");
        config
    }

    fn unless_given(&self, config: &mut ClientConfig, name: &str, value: &str) {
        if !self.properties.contains_key(name) {
            config.set(name, value);
        }
    }
}

/// What the tests of this folder begin with.
#[cfg(test)]
pub(super) fn sample(shards: u16) -> Settings {
    Settings {
        app: "pay".into(),
        shards,
        window: 1,
        bootstrap: "kafka:9092".into(),
        topics: Topics {
            events: "e".into(),
            results: "r".into(),
            dead_letters: "d".into(),
        },
        world: World::Real,
        protocol: GroupProtocol::Classic,
        properties: BTreeMap::new(),
    }
}

#[cfg(test)]
impl Settings {
    /// Handles made of these reach no broker.
    pub(crate) fn of_no_broker() -> Self {
        Self {
            app: "pay".to_owned(),
            shards: 4,
            window: 1,
            bootstrap: "127.0.0.1:1".to_owned(),
            topics: Topics {
                events: "e".to_owned(),
                results: "r".to_owned(),
                dead_letters: "d".to_owned(),
            },
            world: World::Real,
            protocol: GroupProtocol::Classic,
            properties: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[(&str, &str)], world: World) -> Settings {
        Settings {
            bootstrap: "127.0.0.1:1".into(),
            world,
            protocol: match world {
                World::Real => GroupProtocol::Classic,
                World::Embedded => GroupProtocol::Consumer,
            },
            properties: properties
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..sample(4)
        }
    }

    fn all(settings: &Settings) -> Vec<ClientConfig> {
        vec![
            settings.member(),
            settings.reader(),
            settings.asker(),
            settings.producer(),
            settings.publisher(3),
            settings.admin(),
        ]
    }

    #[test]
    fn no_handle_creates_topics_or_commits_by_itself() {
        for config in all(&settings(&[], World::Real)) {
            assert_eq!(config.get("allow.auto.create.topics"), Some("false"));
            if config.get("group.id").is_some() {
                assert_eq!(config.get("enable.auto.commit"), Some("false"));
                assert_eq!(config.get("enable.auto.offset.store"), Some("false"));
                assert_eq!(config.get("auto.offset.reset"), Some("error"));
            }
        }
    }

    #[test]
    fn librdkafka_takes_every_handles_configuration() {
        for world in [World::Real, World::Embedded] {
            let given = [
                ("session.timeout.ms", "9000"),
                ("message.timeout.ms", "60000"),
                ("client.id", "x"),
            ];
            let given = if world == World::Real {
                &given[..]
            } else {
                &[]
            };
            let settings = settings(given, world);
            for config in all(&settings) {
                config.create_native_config().unwrap();
            }
            let publisher: rdkafka::producer::BaseProducer =
                settings.publisher(0).create().unwrap();
            drop(publisher);
            let member: rdkafka::consumer::BaseConsumer = settings.member().create().unwrap();
            drop(member);
        }
    }

    #[test]
    fn a_connection_that_died_without_a_word_is_given_up_in_ten_seconds() {
        let waits = |given: &[(&str, &str)]| {
            let settings = settings(given, World::Real);
            let handles = [
                settings.member(),
                settings.reader(),
                settings.asker(),
                settings.producer(),
            ];
            handles.map(|config| config.get("socket.timeout.ms").map(str::to_owned))
        };
        assert_eq!(waits(&[]), ["10000"; 4].map(|ms| Some(ms.to_owned())));
        let given = waits(&[("socket.timeout.ms", "7000")]);
        assert_eq!(given, ["7000"; 4].map(|ms| Some(ms.to_owned())));
        let longer = [("socket.timeout.ms", "60000")];
        let publisher = settings(&longer, World::Real).publisher(0);
        assert_eq!(publisher.get("socket.timeout.ms"), None, "the library's");
    }

    #[test]
    fn the_end_asker_sees_what_is_not_committed() {
        let settings = settings(&[], World::Real);
        let level = |config: &ClientConfig| config.get("isolation.level").map(str::to_owned);
        assert_eq!(
            level(&settings.asker()).as_deref(),
            Some("read_uncommitted")
        );
        assert_eq!(level(&settings.reader()).as_deref(), Some("read_committed"));
    }

    #[test]
    fn what_is_written_is_acknowledged_by_all_replicas_and_neither_repeated_nor_reordered() {
        let settings = settings(&[], World::Real);
        for config in [settings.producer(), settings.publisher(3)] {
            assert_eq!(config.get("acks"), Some("all"));
            assert_eq!(config.get("enable.idempotence"), Some("true"));
            let batch: u64 = config.get("batch.size").unwrap().parse().unwrap();
            assert!(batch < MESSAGE_BYTES, "our topics take a whole batch");
        }
    }

    #[test]
    fn what_a_stopped_owner_left_open_hides_results_for_ten_seconds_at_most() {
        let timeout = |given| {
            let publisher = settings(given, World::Real).publisher(3);
            publisher.get("transaction.timeout.ms").map(str::to_owned)
        };
        assert_eq!(timeout(&[]).as_deref(), Some("10000"));
        let shorter = timeout(&[("transaction.timeout.ms", "5000")]);
        assert_eq!(shorter.as_deref(), Some("5000"));
    }

    #[test]
    fn what_a_promise_rests_on_stands_over_the_users_properties() {
        let given: Vec<_> = REFUSED_PROPERTIES
            .iter()
            .map(|(name, _)| (*name, "theirs"))
            .collect();
        let (ours, theirs) = (settings(&[], World::Real), settings(&given, World::Real));
        for (ours, theirs) in all(&ours).into_iter().zip(all(&theirs)) {
            for (name, _) in REFUSED_PROPERTIES {
                if let Some(value) = ours.get(name) {
                    assert_eq!(theirs.get(name), Some(value), "{name}");
                }
            }
        }
    }

    #[test]
    fn a_shards_transactional_id_is_the_same_on_every_worker() {
        let ids = ["one", "other"].map(|name| {
            let worker = settings(&[("client.id", name)], World::Real);
            worker
                .publisher(3)
                .get("transactional.id")
                .map(str::to_owned)
        });
        assert_eq!(ids, ["pay-results-3"; 2].map(|id| Some(id.to_owned())));
    }

    #[test]
    fn given_properties_reach_the_handles_they_belong_to() {
        let settings = settings(
            &[("session.timeout.ms", "700"), ("sasl.username", "u")],
            World::Real,
        );
        assert_eq!(settings.member().get("session.timeout.ms"), Some("700"));
        assert_eq!(settings.reader().get("session.timeout.ms"), None);
        for config in all(&settings) {
            assert_eq!(config.get("sasl.username"), Some("u"));
        }
    }

    #[test]
    fn properties_that_break_a_promise_are_refused_with_the_reason() {
        for name in [
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "transactional.id",
            "isolation.level",
            "auto.offset.reset",
            "enable.auto.commit",
            "auto.commit.enable",
            "enable.auto.offset.store",
            "group.id",
            "partition.assignment.strategy",
            "allow.auto.create.topics",
            "bootstrap.servers",
            "metadata.broker.list",
            "partitioner",
            "test.mock.num.brokers",
        ] {
            assert!(refusal(name, "1").is_some(), "{name}");
        }
        assert!(refusal("transaction.timeout.ms", "10001").is_some());
        assert!(refusal("transaction.timeout.ms", "soon").is_some());
        assert_eq!(refusal("transaction.timeout.ms", "5000"), None);
        assert!(refusal("message.max.bytes", "131071").is_some());
        assert_eq!(refusal("message.max.bytes", "131072"), None);
        assert_eq!(refusal("sasl.mechanism", "PLAIN"), None);
    }
}
