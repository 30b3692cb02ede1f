//! The way to Redis: a few shared connections to one node, or a cluster client. Owns time-outs, the
//! end of connections that have died in silence, and the loading of scripts. It never sends a script twice on its own, but for `NOSCRIPT`, which says
//! that nothing ran.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, ServerErrorKind, Value,
};

use super::errors::store_error;
use super::source::Source;
use crate::config::Secret;
use crate::store::StoreError;

/// Longer than any script takes by a factor of a thousand, shorter than a Kafka session.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// One connection is one thread's worth of parsing; Redis itself is one thread.
const CONNECTIONS: u16 = 4;

/// Connections to one node, or to a cluster.
pub(super) enum Connections {
    Node(Vec<Line>),
    Cluster(ClusterConnection),
}

/// One connection to a node. The manager connects anew where the old connection ended; where it only
/// answers no longer (a firewall forgot it, a proxy hangs), nothing would end it but this.
pub(super) struct Line {
    client: Client,
    config: ConnectionManagerConfig,
    /// How often it was renewed, and the connection since then.
    current: Mutex<(u64, ConnectionManager)>,
}

impl Line {
    fn new(client: Client, config: ConnectionManagerConfig) -> Result<Self, RedisError> {
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        Ok(Self {
            client,
            config,
            current: Mutex::new((0, manager)),
        })
    }

    fn current(&self) -> (u64, ConnectionManager) {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After a time-out: whoever asks next does so on a new connection. What was sent on the old one
    /// may still arrive, as after any lost reply.
    fn judge<T>(&self, used: u64, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if let Err(e) = &answer
            && e.is_timeout()
            && let Ok(new) =
                ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.0 == used {
                *current = (used + 1, new);
            }
        }
        answer
    }

    async fn command(&self, command: &Cmd) -> Result<Value, RedisError> {
        let (used, mut connection) = self.current();
        self.judge(used, connection.req_packed_command(command).await)
    }

    async fn commands(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let (used, mut connection) = self.current();
        let answers = connection.req_packed_commands(pipeline, 0, pipeline.len());
        self.judge(used, answers.await)
    }
}

impl Connections {
    /// One address: one node, connected when first used. More: a cluster, connected now.
    pub async fn open(urls: &[Secret]) -> Result<Self, StoreError> {
        let tcp = TcpSettings::default().set_nodelay(true);
        if let [url] = urls {
            let info = url.reveal().into_connection_info();
            let info = info.map_err(|e| store_error(&e))?.set_tcp_settings(tcp);
            let client = Client::open(info).map_err(|e| store_error(&e))?;
            let config = ConnectionManagerConfig::new()
                .set_response_timeout(Some(RESPONSE_TIMEOUT))
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_number_of_retries(0);
            let lines = (0..CONNECTIONS).map(|_| Line::new(client.clone(), config.clone()));
            let lines = lines.collect::<Result<_, _>>();
            return Ok(Self::Node(lines.map_err(|e| store_error(&e))?));
        }
        let client = ClusterClient::builder(urls.iter().map(Secret::reveal))
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(RESPONSE_TIMEOUT)
            .overall_response_timeout(Some(RESPONSE_TIMEOUT))
            .tcp_settings(tcp)
            .retries(0)
            .build()
            .map_err(|e| store_error(&e))?;
        // No script was sent, whatever went wrong: no reply can be lost.
        let connection = client.get_async_connection().await;
        connection
            .map(Self::Cluster)
            .map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    /// Runs a script; `arguments` adds what comes behind the key.
    pub async fn call(
        &self,
        shard: u16,
        source: &Source,
        key: &str,
        arguments: &(impl Fn(&mut Cmd) + Sync),
    ) -> Result<Value, StoreError> {
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(key);
            arguments(&mut command);
            command
        };
        match self.send(shard, &command("EVALSHA", &source.sha)).await {
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(shard, &command("EVAL", source.text)).await
            }
            answer => answer,
        }
        .map_err(|e| store_error(&e))
    }

    /// Sends one command.
    pub async fn send(&self, shard: u16, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match self {
            Self::Node(lines) => {
                let line = &lines[usize::from(shard) % lines.len()];
                line.command(command).await
            }
            Self::Cluster(connection) => connection.clone().req_packed_command(command).await,
        };
        answer.and_then(Value::extract_error)
    }

    /// Sends commands about one shard, not atomically.
    pub async fn send_all(
        &self,
        shard: u16,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        let answers = match self {
            Self::Node(lines) => {
                let line = &lines[usize::from(shard) % lines.len()];
                line.commands(pipeline).await
            }
            Self::Cluster(connection) => {
                let mut connection = connection.clone();
                let count = pipeline.len();
                connection.req_packed_commands(pipeline, 0, count).await
            }
        };
        let answers = answers.map_err(|e| store_error(&e))?.into_iter();
        let answers = answers.map(Value::extract_error);
        answers
            .collect::<Result<_, _>>()
            .map_err(|e| store_error(&e))
    }
}
