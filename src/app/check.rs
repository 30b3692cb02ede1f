//! Start checks: what must be true of topics and Redis before any shard is taken. `check` prints
//! them, `run` refuses to start when one is refused.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Secret};
use crate::kafka::Log;
use crate::kafka::settings::{Settings, World};
use crate::kafka::topic_plan::Needs;
use crate::kafka::topic_rules::{Finding, Verdict};
use crate::kafka::topics::{Created, TopicAdmin, TopicsError};
use crate::shard::Retention;
use crate::store::redis::RedisStore;
use crate::store::{Store, StoreError};

/// For how long the configuration needs its records.
pub fn needs(config: &Config) -> Needs {
    let longest = config
        .order_types
        .values()
        .map(|known| known.schedule.longest())
        .max()
        .unwrap_or(0);
    Needs {
        longest_schedule: Duration::from_millis(longest),
        window: config.dedupe_window,
    }
}

/// Looks at everything that a start depends on; a service that can't be reached is a refusal too.
pub async fn all(config: &Config, world: World) -> Vec<Finding> {
    let mut findings = topics(config, world).await;
    if world == World::Real {
        findings.push(redis(config).await);
    }
    findings
}

/// Makes the topics that are missing.
///
/// # Errors
/// No broker answered, or it refused.
pub async fn create_topics(config: &Config) -> Result<Vec<Created>, TopicsError> {
    TopicAdmin::new(&Settings::new(config, World::Real))?
        .create(needs(config))
        .await
}

/// How often it is asked for how long the logs keep their records; after a failure, [`SOON`].
const RETENTION_EVERY: Duration = Duration::from_mins(10);
const SOON: Duration = Duration::from_mins(1);

const UNKNOWN_RETENTION: &str = "for how long the topics keep their records was not heard: what was \
    known of it stands, and without it neither headroom nor old exhaustions are told";

/// How long the logs keep their records, asked now and followed for as long as the process lives. The
/// last good answer stands while nobody answers.
pub(super) async fn follow_retention(
    config: &Config,
    world: World,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> watch::Receiver<Retention> {
    let (told, retention) = watch::channel(Retention::default());
    if world == World::Embedded {
        // It has no admin API, and forgets everything anyway.
        return retention;
    }
    let topics = match TopicAdmin::new(&Settings::new(config, world)) {
        Ok(topics) => topics,
        Err(error) => {
            tracing::warn!(%error, "{UNKNOWN_RETENTION}");
            return retention;
        }
    };
    let mut follower = RetentionFollower {
        told,
        failing: false,
    };
    let mut pause = follower.hear(read_retention(&topics).await);
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = follower.hear(read_retention(&topics).await);
        }
    });
    retention
}

async fn read_retention(topics: &TopicAdmin) -> Result<Retention, TopicsError> {
    Ok(Retention {
        events: topics.retention(Log::Events).await?,
        results: topics.retention(Log::Results).await?,
    })
}

struct RetentionFollower {
    told: watch::Sender<Retention>,
    /// A failure is told once, until it is over.
    failing: bool,
}

impl RetentionFollower {
    /// Takes an answer; when to ask again.
    fn hear(&mut self, answer: Result<Retention, TopicsError>) -> Duration {
        match answer {
            Ok(retention) => {
                self.failing = false;
                self.told.send_replace(retention);
                RETENTION_EVERY
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "{UNKNOWN_RETENTION}");
                }
                SOON
            }
        }
    }
}

/// Looks at the topics alone.
pub(super) async fn topics(config: &Config, world: World) -> Vec<Finding> {
    let looked_at = async {
        TopicAdmin::new(&Settings::new(config, world))?
            .check(needs(config))
            .await
    };
    looked_at.await.unwrap_or_else(|error: TopicsError| {
        vec![refused(
            "kafka",
            error.to_string(),
            "start Kafka, or correct [kafka] bootstrap",
        )]
    })
}

async fn redis(config: &Config) -> Finding {
    let asked = async {
        let store = RedisStore::connect(&config.redis.urls, &config.redis.prefix).await?;
        let health = store.check().await?;
        Ok::<_, StoreError>((health, views(&store, config.shards).await?))
    };
    match asked.await {
        Ok((_, Views::Of(recorded))) => refused(
            "redis",
            format!(
                "the view was made for {recorded} shards, not {}: orders would be looked for elsewhere",
                config.shards
            ),
            "set shards back; to change it, settle everything, then use new topics, another app and an empty prefix",
        ),
        Ok((_, Views::Unreadable(error))) => refused("redis", error, MEND),
        Err(error) => {
            let urls: Vec<_> = config.redis.urls.iter().map(Secret::shown).collect();
            refused(
                "redis",
                format!("{} at {}", error, urls.join(", ")),
                "start Redis, or correct [redis] urls",
            )
        }
        Ok((health, _)) if health.maxmemory_policy != "noeviction" => refused(
            "redis",
            format!(
                "maxmemory_policy is {}: evicting a key loses orders",
                health.maxmemory_policy
            ),
            "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in its configuration file",
        ),
        Ok((health, views)) => Finding {
            subject: "redis".to_owned(),
            verdict: match views {
                Views::Damaged(shard, error) => {
                    Verdict::Warn(format!("shard {shard} will stand still: {error}; {MEND}"))
                }
                _ => Verdict::Ok(format!("{}, noeviction", health.version)),
            },
        },
    }
}

const MEND: &str = "mend what the error names, or delete the keys of that view, which is folded anew from the topics";

/// What the views that are there say of a start.
enum Views {
    Good,
    /// Made for another number of shards.
    Of(u16),
    /// One cannot be read; the other shards can do their work.
    Damaged(u16, String),
    /// Not one can be read: of a later layout, most likely.
    Unreadable(String),
}

async fn views(store: &RedisStore, shards: u16) -> Result<Views, StoreError> {
    let (mut readable, mut damaged) = (false, None);
    for shard in 0..shards {
        match store.meta(shard).await {
            Ok(Some(meta)) if meta.shards != shards => return Ok(Views::Of(meta.shards)),
            Ok(_) => readable = true,
            Err(error @ StoreError::Corrupt(_)) => {
                damaged.get_or_insert((shard, error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(match damaged {
        None => Views::Good,
        Some((shard, error)) if readable => Views::Damaged(shard, error),
        Some((_, error)) => Views::Unreadable(error),
    })
}

fn refused(subject: &str, why: String, way_out: &str) -> Finding {
    Finding {
        subject: subject.to_owned(),
        verdict: Verdict::Refused {
            why,
            way_out: way_out.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::KafkaError;

    use super::*;

    #[test]
    fn the_last_good_retention_stands_while_nobody_answers() {
        let (told, retention) = watch::channel(Retention::default());
        let mut follower = RetentionFollower {
            told,
            failing: false,
        };
        let failure = || {
            Err(TopicsError::Unreachable {
                bootstrap: "kafka:9092".to_owned(),
                error: KafkaError::Canceled,
            })
        };
        let week = Retention {
            events: Some(Duration::from_hours(7 * 24)),
            results: None,
        };
        assert_eq!(follower.hear(failure()), SOON);
        assert!(follower.failing);
        assert_eq!(follower.hear(Ok(week)), RETENTION_EVERY);
        assert_eq!((*retention.borrow(), follower.failing), (week, false));
        assert_eq!(follower.hear(failure()), SOON);
        assert_eq!(*retention.borrow(), week);
        let raised = Retention {
            events: Some(Duration::from_hours(14 * 24)),
            ..week
        };
        follower.hear(Ok(raised));
        assert_eq!(*retention.borrow(), raised);
    }
}
