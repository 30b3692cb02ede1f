//! Reads the configuration again, at SIGHUP or when an operator says so, and puts its order types into
//! effect: all of them or, where anything is wrong, none. What else has changed needs a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{check, deadlines, type_plans};
use crate::api::Shared;
use crate::api::desk::ports::Reloaded;
use crate::config::{Config, ConfigError, OrderTypeConfig};
use crate::domain::order::TypeName;
use crate::inquiry::{Engine, EngineError};
use crate::kafka::settings::World;
use crate::kafka::topic_rules::Finding;
use crate::metrics::Metrics;
use crate::metrics::label::Reload;
use crate::shard::core::plan::TypePlan;

/// Reads the configuration again from where it came from.
pub type Reread = Box<dyn Fn() -> Result<Config, ConfigError> + Send>;

/// Requests that wait; who asks more often than it can be read is told so.
const WAITING: usize = 4;

/// Why everything stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is wrong; each mistake has its line.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// What cannot change while a worker runs.
    #[error("{}: changed, which needs a restart; only order_types can be reloaded", .0.join(", "))]
    Restart(Vec<&'static str>),
    /// The topics cannot hold the promises for these schedules, or could not be asked.
    #[error("{}", Lines(.0))]
    Topics(Vec<Finding>),
    /// No questions can be asked by it.
    #[error("{0}")]
    Engine(#[from] EngineError),
    /// The worker has no file, is ending, or is busy with other reloads.
    #[error("nothing can be reloaded at this moment")]
    Away,
}

/// Who asks for a reload waits here for what came of it.
type Asker = oneshot::Sender<Result<Reloaded, ReloadError>>;

/// Asks the worker to reload. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct ReloadHandle(mpsc::Sender<Asker>);

/// The way to ask, and where it is heard.
pub(super) fn channel() -> (ReloadHandle, mpsc::Receiver<Asker>) {
    let (sender, requests) = mpsc::channel(WAITING);
    (ReloadHandle(sender), requests)
}

impl ReloadHandle {
    /// Reloads, and says what has changed. Cancelling gives up the answer, not the reload.
    ///
    /// # Errors
    /// Why everything stays as it was.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(answer).map_err(|_| ReloadError::Away)?;
        answered.await.unwrap_or(Err(ReloadError::Away))
    }
}

/// Follows the configuration of a worker; [`Reloader::run`] is its task.
pub(super) struct Reloader {
    reread: Reread,
    config: Config,
    world: World,
    effects: Effects,
    requests: mpsc::Receiver<Asker>,
    hangup: Signal,
}

/// What a reload puts into effect.
pub(super) struct Effects {
    pub types: watch::Sender<Arc<[TypePlan]>>,
    pub engine: Engine,
    pub api: Shared,
    /// Tells the engine what operators have paused.
    pub pauses: Box<dyn Fn() + Send + Sync>,
    pub metrics: Arc<Metrics>,
}

impl Reloader {
    /// From here on SIGHUP does not end the process.
    ///
    /// # Errors
    /// The signal cannot be listened to.
    pub fn new(
        (reread, requests): (Reread, mpsc::Receiver<Asker>),
        config: Config,
        world: World,
        effects: Effects,
    ) -> std::io::Result<Self> {
        Ok(Self {
            reread,
            config,
            world,
            effects,
            requests,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads whenever somebody asks, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let asker = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(()) = self.hangup.recv() => None,
                Some(asker) = self.requests.recv() => Some(asker),
            };
            let outcome = self.reload().await;
            self.effects.metrics.reload(match outcome {
                Ok(_) => Reload::Applied,
                Err(_) => Reload::Refused,
            });
            match &outcome {
                Ok(reloaded) => {
                    tracing::info!(changes = %Changes(reloaded), "the configuration was read again");
                }
                Err(error) => {
                    for line in error.to_string().lines() {
                        tracing::error!(
                            "the configuration was read again and is refused, the old one stays: {line}"
                        );
                    }
                }
            }
            if let Some(asker) = asker
                && asker.send(outcome).is_err()
            {
                tracing::debug!("who asked for the reload has left");
            }
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, ReloadError> {
        let config = (self.reread)()?;
        let fixed = needing_a_restart(&self.config, &config);
        if !fixed.is_empty() {
            return Err(ReloadError::Restart(fixed));
        }
        let reloaded = between(&self.config, &config);
        if reloaded == Reloaded::default() {
            return Ok(reloaded);
        }
        let mut refused = check::topics(&config, self.world).await;
        refused.retain(Finding::is_refused);
        if !refused.is_empty() {
            return Err(ReloadError::Topics(refused));
        }
        // The engine first, as it is the last that can refuse: a shard that follows finds the way to
        // ask about a new type, and a question of a type that is gone comes back unasked.
        let Effects {
            types,
            engine,
            api,
            pauses,
            metrics,
        } = &self.effects;
        metrics.configure(config.order_types.keys());
        engine.reconfigure(&config.order_types)?;
        pauses();
        api.configure(deadlines(&config));
        types.send_replace(type_plans(&config));
        self.config = config;
        Ok(reloaded)
    }
}

fn between(old: &Config, new: &Config) -> Reloaded {
    let (old, new) = (&old.order_types, &new.order_types);
    let missing = |from: &BTreeMap<TypeName, OrderTypeConfig>, all: &BTreeMap<TypeName, _>| {
        let names = all.keys().filter(|name| !from.contains_key(*name));
        names.cloned().collect()
    };
    let changed = new
        .iter()
        .filter(|(name, known)| old.get(*name).is_some_and(|before| before != *known));
    Reloaded {
        added: missing(old, new),
        removed: missing(new, old),
        changed: changed.map(|(name, _)| name.clone()).collect(),
    }
}

/// In words.
struct Changes<'a>(&'a Reloaded);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (what, names) in [
            ("added", &self.0.added),
            ("changed", &self.0.changed),
            ("removed", &self.0.removed),
        ] {
            if !names.is_empty() {
                write!(f, "{between}{what}")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))?;
                between = "; ";
            }
        }
        if between.is_empty() {
            f.write_str("nothing has changed")?;
        }
        Ok(())
    }
}

struct Lines<'a>(&'a [Finding]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, line) in self.0.iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{line}")?;
        }
        Ok(())
    }
}

/// Everything but the order types: threads, connections and views were made by it.
fn needing_a_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    // Whole, so that a field that is added later is looked at here.
    let Config {
        app,
        shards,
        dedupe_window,
        kafka,
        redis,
        api,
        admin,
        order_types: _,
    } = old;
    let changed = [
        ("app", *app != new.app),
        ("shards", *shards != new.shards),
        ("dedupe_window", *dedupe_window != new.dedupe_window),
        ("kafka", *kafka != new.kafka),
        ("redis", *redis != new.redis),
        ("api", *api != new.api),
        ("admin", *admin != new.admin),
    ];
    let changed = changed.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Embedded, OrderTypeConfig};

    /// `name=url`, one after the other.
    fn config(types: &str) -> Config {
        let world = Embedded::new("127.0.0.1:9092".to_owned(), String::new());
        let mut config = Config::for_embedded(world);
        let types = types.split_whitespace().map(|one| {
            let (name, url) = one.split_once('=').unwrap();
            let name = TypeName::new(name).unwrap();
            (name, OrderTypeConfig::new(url.to_owned()))
        });
        config.order_types = types.collect();
        config
    }

    #[test]
    fn changes_are_told_by_name() {
        let old = config("pay=http://a gone=http://b same=http://c");
        let new = config("pay=http://z same=http://c more=http://d");
        assert_eq!(
            Changes(&between(&old, &new)).to_string(),
            "added more; changed pay; removed gone"
        );
        assert_eq!(
            Changes(&between(&new, &new)).to_string(),
            "nothing has changed"
        );
    }

    #[test]
    fn what_cannot_change_while_a_worker_runs_is_named() {
        let old = config("pay=http://a");
        let mut new = config("pay=http://z");
        assert!(needing_a_restart(&old, &new).is_empty());
        new.shards += 1;
        new.kafka.bootstrap.push('0');
        new.dedupe_window *= 2;
        let named = ReloadError::Restart(needing_a_restart(&old, &new)).to_string();
        assert!(
            named.starts_with("shards, dedupe_window, kafka: changed,"),
            "{named}"
        );
    }
}
