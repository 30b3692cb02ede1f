//! The way to Redis: a few shared connections to one node, or a cluster client. Owns time-outs and
//! the loading of scripts. It never sends a script twice on its own, but for `NOSCRIPT`, which says
//! that nothing ran.

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
    Node(Vec<ConnectionManager>),
    Cluster(ClusterConnection),
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
            let managers = (0..CONNECTIONS)
                .map(|_| ConnectionManager::new_lazy_with_config(client.clone(), config.clone()));
            let managers = managers.collect::<Result<_, _>>();
            return Ok(Self::Node(managers.map_err(|e| store_error(&e))?));
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
            Self::Node(managers) => {
                let at = usize::from(shard) % managers.len();
                managers[at].clone().req_packed_command(command).await
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
        let count = pipeline.len();
        let answers = match self {
            Self::Node(managers) => {
                let at = usize::from(shard) % managers.len();
                let mut connection = managers[at].clone();
                connection.req_packed_commands(pipeline, 0, count).await
            }
            Self::Cluster(connection) => {
                let mut connection = connection.clone();
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
