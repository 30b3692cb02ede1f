//! Looks at the topics and makes them: the I/O around `topic_rules`. Used by `check`, by `topics
//! create` and by every start. Asking about a topic never creates it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::settings::{Settings, World};
use super::topic_plan::{Needs, TopicPlan, plans};
use super::topic_rules::{Finding, Judge, TopicFacts};
use super::{Log, group_rules};
use crate::config::GroupProtocol;

/// Waits of [`TopicAdmin::create`] for the metadata: 10 s.
const SEEN_TRIES: u32 = 100;
const SEEN_WAIT: Duration = Duration::from_millis(100);

/// One request to the cluster.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why the topics could not be looked at or made.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No broker answered, or it refused to.
    #[error("Kafka at {bootstrap}: {error}")]
    Unreachable {
        /// Where it was looked for.
        bootstrap: String,
        /// What the library says.
        error: KafkaError,
    },
    /// The cluster refused to make a topic.
    #[error("topic {topic}: {code}")]
    NotCreated {
        /// Which.
        topic: String,
        /// Why.
        code: RDKafkaErrorCode,
    },
}

/// What became of one topic of `topics create`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// How it was to be made.
    pub plan: TopicPlan,
    /// It was there before and was left as it is; `check` says whether it is good.
    pub existed: bool,
}

impl std::fmt::Display for Created {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TopicPlan {
            name,
            partitions,
            replication,
            ..
        } = &self.plan;
        if self.existed {
            return write!(f, "{name}: exists, left as it is");
        }
        write!(
            f,
            "{name}: created, {partitions} partitions, replication {replication}"
        )?;
        if *replication < 3 {
            write!(f, " (below 3: the loss of a broker can lose records)")?;
        }
        Ok(())
    }
}

/// The topics' administrator.
pub struct TopicAdmin {
    client: Arc<AdminClient<DefaultClientContext>>,
    settings: Settings,
}

impl TopicAdmin {
    /// Makes the handle; connects in the background.
    pub fn new(settings: &Settings) -> Result<Self, TopicsError> {
        let client = settings
            .admin()
            .create()
            .map_err(|error| unreachable_at(settings, error))?;
        Ok(Self {
            client: Arc::new(client),
            settings: settings.clone(),
        })
    }

    /// Compares the topics, the group's session and the process' descriptors with what the promises
    /// need. Against the
    /// embedded broker only the partitions are looked at.
    pub async fn check(&self, needs: Needs) -> Result<Vec<Finding>, TopicsError> {
        let judge = Judge {
            settings: &self.settings,
            needs,
        };
        let topics = &self.settings.topics;
        let mut facts = Vec::new();
        for name in [&topics.events, &topics.results, &topics.dead_letters] {
            facts.push(self.facts(name).await?);
        }
        if self.settings.world == World::Embedded {
            return Ok(facts
                .iter()
                .flatten()
                .map(|topic| judge.partitions(topic))
                .collect());
        }
        let mut findings = judge.topics(facts[0].as_ref(), facts[1].as_ref(), facts[2].as_ref());
        if self.settings.protocol == GroupProtocol::Consumer {
            findings.push(group_rules::session(&self.broker_properties().await?));
        }
        findings.extend(descriptor_limit().map(|limit| judge.descriptors(limit)));
        Ok(findings)
    }

    /// Makes the topics that are missing; those that are there are left alone.
    pub async fn create(&self, needs: Needs) -> Result<Vec<Created>, TopicsError> {
        let brokers = self.metadata(None).await?.brokers().len();
        let mut created = Vec::new();
        for plan in plans(&self.settings, &needs, brokers) {
            let existed = self.create_one(&plan).await?;
            created.push(Created { plan, existed });
        }
        for topic in &created {
            self.wait_until_seen(&topic.plan.name).await?;
        }
        Ok(created)
    }

    /// A new topic is in the metadata a moment after it was made; whoever starts next asks for it.
    async fn wait_until_seen(&self, topic: &str) -> Result<(), TopicsError> {
        for _ in 0..SEEN_TRIES {
            if self.facts(topic).await?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(SEEN_WAIT).await;
        }
        Err(TopicsError::NotCreated {
            topic: topic.to_owned(),
            code: RDKafkaErrorCode::OperationTimedOut,
        })
    }

    /// How long a log keeps its records; `None`: for ever, or nobody says.
    pub async fn retention(&self, log: Log) -> Result<Option<Duration>, TopicsError> {
        let facts = self.facts(self.settings.topics.of(log)).await?;
        let retention = facts.and_then(|facts| facts.properties.get("retention.ms")?.parse().ok());
        Ok(retention.map(Duration::from_millis))
    }

    async fn create_one(&self, plan: &TopicPlan) -> Result<bool, TopicsError> {
        let mut topic = NewTopic::new(
            &plan.name,
            i32::from(plan.partitions),
            TopicReplication::Fixed(i32::from(plan.replication)),
        );
        for (property, value) in &plan.properties {
            topic = topic.set(property, value);
        }
        let results = self
            .client
            .create_topics([&topic], &options())
            .await
            .map_err(|error| unreachable_at(&self.settings, error))?;
        for result in results {
            match result {
                Ok(_) => {}
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => return Ok(true),
                Err((topic, code)) => return Err(TopicsError::NotCreated { topic, code }),
            }
        }
        Ok(false)
    }

    /// A topic as it is; `None`: it is missing.
    async fn facts(&self, name: &str) -> Result<Option<TopicFacts>, TopicsError> {
        let metadata = self.metadata(Some(name.to_owned())).await?;
        let Some(topic) = metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == name && topic.error().is_none())
        else {
            return Ok(None);
        };
        let replicas = topic.partitions().iter().map(|p| p.replicas().len()).min();
        Ok(Some(TopicFacts {
            name: name.to_owned(),
            partitions: topic.partitions().len(),
            replication: replicas.unwrap_or_default(),
            properties: match self.settings.world {
                World::Real => self.properties(ResourceSpecifier::Topic(name)).await?,
                World::Embedded => BTreeMap::new(),
            },
        }))
    }

    /// Those of one broker: a cluster's brokers are configured alike.
    async fn broker_properties(&self) -> Result<BTreeMap<String, String>, TopicsError> {
        let metadata = self.metadata(None).await?;
        match metadata.brokers().first() {
            Some(broker) => {
                self.properties(ResourceSpecifier::Broker(broker.id()))
                    .await
            }
            None => Ok(BTreeMap::new()),
        }
    }

    async fn properties(
        &self,
        of: ResourceSpecifier<'_>,
    ) -> Result<BTreeMap<String, String>, TopicsError> {
        let described = self
            .client
            .describe_configs([&of], &options())
            .await
            .map_err(|error| unreachable_at(&self.settings, error))?;
        let mut properties = BTreeMap::new();
        for resource in described {
            let resource = resource
                .map_err(|code| unreachable_at(&self.settings, KafkaError::AdminOp(code)))?;
            for entry in resource.entries {
                properties.insert(entry.name, entry.value.unwrap_or_default());
            }
        }
        Ok(properties)
    }

    async fn metadata(&self, topic: Option<String>) -> Result<Metadata, TopicsError> {
        let client = Arc::clone(&self.client);
        let asked = tokio::task::spawn_blocking(move || {
            client.inner().fetch_metadata(topic.as_deref(), TIMEOUT)
        });
        asked
            .await
            .unwrap_or(Err(KafkaError::Canceled))
            .map_err(|error| unreachable_at(&self.settings, error))
    }
}

fn unreachable_at(settings: &Settings, error: KafkaError) -> TopicsError {
    TopicsError::Unreachable {
        bootstrap: settings.bootstrap.clone(),
        error,
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT))
}

/// The soft limit of open files; `None` where the system does not tell it this way.
fn descriptor_limit() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        limit => limit.parse().ok(),
    }
}
