//! The black-box checker: runs `settled` as processes on real Kafka and Redis, and judges what they
//! did by what the topics, the keys, the metrics page and the log lines hold. It shares no code with
//! the crate: its own reading of JSON, its own partitioner, its own ids.

pub mod logs;
pub mod metrics;
pub mod owner;
pub mod process;
pub mod view;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::plain_http::get;
use crate::support::broker::Broker;
use crate::support::redis::RedisServer;
use crate::support::topics::{Raw, World, produce};
use crate::support::{self, eventually};
use process::{Bank, Worker};

/// One deployment: topics and a Redis of its own, and a configuration file.
pub struct Site {
    /// The shared broker.
    pub broker: &'static Broker,
    /// A redis-server, or a Redis Cluster, of this deployment alone.
    pub redis: RedisServer,
    /// The topics and the app.
    pub names: World,
    /// N.
    pub shards: i32,
    /// The group's session: short, so that an accident is noticed soon. A slow machine may lose one
    /// that is short, and then what is read again counts again.
    pub session_ms: u32,
    /// `group_protocol`; of `consumer` the broker decides the session.
    pub group_protocol: &'static str,
    /// Where the configuration finds the broker, if that is not where this checker does.
    pub kafka_behind: Option<String>,
    dir: tempfile::TempDir,
    _alone: Option<MutexGuard<'static, ()>>,
}

/// One deployment at a time: on two cores they would only time each other out.
static ALONE: Mutex<()> = Mutex::new(());

impl Site {
    /// A deployment without topics and without a configuration; `None`: skipped aloud.
    pub fn plan(name: &str, shards: i32) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self::among(name, shards, Some(alone))
    }

    /// As [`Site::plan`], among others at the same time, when it is not alone.
    pub fn among(name: &str, shards: i32, alone: Option<MutexGuard<'static, ()>>) -> Option<Self> {
        let broker = support::kafka()?;
        support::redis()?;
        let redis = RedisServer::start(&[]).unwrap();
        Some(Self {
            _alone: alone,
            ..Self::on(broker, redis, name, shards)
        })
    }

    /// A deployment on services of the caller's choice.
    pub fn on(broker: &'static Broker, redis: RedisServer, name: &str, shards: i32) -> Self {
        Self {
            broker,
            redis,
            names: World::named(name),
            shards,
            session_ms: 2_000,
            group_protocol: "classic",
            kafka_behind: None,
            dir: tempfile::tempdir().unwrap(),
            _alone: None,
        }
    }

    /// A deployment with topics, made by the command itself.
    pub fn create(name: &str, shards: i32, order_types: &str) -> Option<Self> {
        let site = Self::plan(name, shards)?;
        site.configure(order_types);
        site.create_topics();
        Some(site)
    }

    /// Makes the topics, by the command itself.
    pub fn create_topics(&self) {
        let made = self.settled(&["topics", "create"]);
        assert!(made.status.success(), "{made:?}");
    }

    /// Writes the configuration file.
    pub fn configure(&self, order_types: &str) {
        let World {
            app,
            events,
            results,
            dead_letters,
            ..
        } = &self.names;
        let (direct, shards) = (&self.broker.bootstrap, self.shards);
        let bootstrap = self.kafka_behind.as_ref().unwrap_or(direct);
        let redis = self.redis.url.replace(',', r#"", ""#);
        let protocol = self.group_protocol;
        let session_ms = self.session_ms;
        let session = match protocol {
            "classic" => {
                format!(r#""session.timeout.ms" = "{session_ms}", "heartbeat.interval.ms" = "300""#)
            }
            _ => String::new(),
        };
        let text = format!(
            r#"
app = "{app}"
shards = {shards}
[kafka]
bootstrap = "{bootstrap}"
events = "{events}"
results = "{results}"
dead_letters = "{dead_letters}"
group_protocol = "{protocol}"
properties = {{ {session} }}
[redis]
urls = ["{redis}"]
[api]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
{order_types}
"#
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("settled.toml")
    }

    /// A file of this deployment.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a verb to its end.
    pub fn settled(&self, arguments: &[&str]) -> Output {
        process::settled()
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// A bank of its own.
    pub async fn bank(&self, options: &[&str]) -> Bank {
        Bank::start(options, self.file(&unique("bank"))).await
    }

    /// Starts a worker; it may not own shards yet.
    pub async fn worker(&self) -> Worker {
        Worker::start(
            self.config().to_str().unwrap(),
            self.file(&unique("worker")),
            &[],
        )
        .await
    }

    /// Waits until these workers together have every shard open.
    pub async fn all_open(&self, workers: &[&Worker]) {
        eventually("every shard is open", Duration::from_secs(30), async || {
            let mut open = 0;
            for worker in workers {
                let readiness = get(worker.admin, "/readyz").await;
                if readiness.status != 200 {
                    return None;
                }
                open += readiness.json()["shards_open"].as_i64().unwrap();
            }
            (open == i64::from(self.shards)).then_some(())
        })
        .await;
    }

    /// Publishes events one a line and without keys: by kcat where it is installed.
    pub fn publish_without_keys(&self, lines: &[String]) {
        let (bootstrap, topic) = (&self.broker.bootstrap, &self.names.events);
        let kcat = Command::new("kcat")
            .args(["-P", "-b", bootstrap, "-t", topic])
            .stdin(Stdio::piped())
            .spawn();
        match kcat {
            Ok(mut kcat) => {
                let mut input = kcat.stdin.take().unwrap();
                input.write_all(lines.join("\n").as_bytes()).unwrap();
                drop(input);
                assert!(kcat.wait().unwrap().success());
            }
            Err(error) => {
                println!("kcat: {error}; published by librdkafka instead");
                produce(bootstrap, topic, lines.iter().map(|line| raw(line)));
            }
        }
    }

    /// Publishes events into their orders' partitions.
    pub fn publish(&self, events: &[Value]) {
        let records = events.iter().map(|event| Raw {
            partition: Some(logs::shard_of(&key(event), self.shards)),
            ..raw(&event.to_string())
        });
        produce(&self.broker.bootstrap, &self.names.events, records);
    }
}

fn raw(line: &str) -> Raw {
    Raw {
        value: Some(line.as_bytes().to_vec()),
        ..Raw::default()
    }
}

fn unique(name: &str) -> String {
    format!("{}.log", support::unique(name))
}

/// `<type>/<reqNO>` of an event.
pub fn key(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap().to_owned();
    format!("{}/{}", text("type"), text("reqNO"))
}

/// An event that makes an order pending, or settles it.
pub fn event(order_type: &str, req_no: &str, status: &str) -> Value {
    json!({
        "v": 1, "type": order_type, "reqNO": req_no, "status": status,
        "at": now(), "source": "pay-core", "query": {"bank": "CMB"},
    })
}

/// What an operator orders.
pub fn command(order_type: &str, req_no: &str, command: &Value) -> Value {
    let mut event = json!({
        "v": 1, "type": order_type, "reqNO": req_no, "at": now(), "source": "operator",
        "actor": "li.wei", "reason": "bank letter 4471",
    });
    let fields = event.as_object_mut().unwrap();
    fields.extend(command.as_object().unwrap().clone());
    event
}

/// Now, as the wire has it.
pub fn now() -> String {
    wire(OffsetDateTime::now_utc().unix_timestamp_nanos())
}

/// A time, in nanoseconds since 1970, as the wire has it.
pub fn wire(ns: i128) -> String {
    let t = OffsetDateTime::from_unix_timestamp_nanos(ns).unwrap();
    let (date, ms) = (t.date(), t.millisecond());
    let (hour, minute, second) = (t.hour(), t.minute(), t.second());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A size from the environment, so that the same tests run at full size.
pub fn size(variable: &str, default: usize) -> usize {
    let given = std::env::var_os(variable);
    given.map_or(default, |given| given.to_str().unwrap().parse().unwrap())
}
