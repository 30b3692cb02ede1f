//! The way to Redis: one node, or a cluster. Owns the loading of scripts. It never sends a script
//! twice on its own, but for what says that nothing ran: `NOSCRIPT` and, in a cluster, `MOVED`.

use redis::io::tcp::TcpSettings;
use redis::{
    Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, ServerErrorKind,
    Value,
};

use super::cluster::Cluster;
use super::errors::store_error;
use super::node::Node;
use super::source::Source;
use crate::config::Secret;
use crate::store::StoreError;

/// Connections to one node, or to a cluster.
pub(super) enum Connections {
    Node(Node),
    Cluster(Cluster),
}

impl Connections {
    /// One address: one node, connected when first used. More: a cluster, which is asked now who
    /// owns what.
    pub async fn open(urls: &[Secret]) -> Result<Self, StoreError> {
        let infos = urls.iter().map(info);
        let infos: Result<Vec<_>, _> = infos.collect();
        let mut infos = infos.map_err(|e| store_error(&e))?;
        if infos.len() == 1 {
            let node = Node::new(infos.remove(0));
            return node.map(Self::Node).map_err(|e| store_error(&e));
        }
        let cluster = Cluster::open(infos).await;
        // No script was sent, whatever went wrong: no reply can be lost.
        cluster
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
        let by_hash = command("EVALSHA", &source.sha);
        match self.send(shard, key, &by_hash).await {
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(shard, key, &command("EVAL", source.text)).await
            }
            answer => answer,
        }
        .map_err(|e| store_error(&e))
    }

    /// Sends one command about `key`, once.
    pub async fn send(&self, shard: u16, key: &str, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Node(node) => node.command(shard, command).await,
            Self::Cluster(cluster) => cluster.command(shard, key, command).await,
        }
    }

    /// Sends commands about one shard, `key` being one of its keys, not atomically.
    pub async fn send_all(
        &self,
        shard: u16,
        key: &str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, StoreError> {
        match self {
            Self::Node(node) => node.commands(shard, pipeline).await,
            Self::Cluster(cluster) => cluster.commands(shard, key, pipeline).await,
        }
        .map_err(|e| store_error(&e))
    }

    /// What every node that owns something answers.
    pub async fn send_each(&self, command: &Cmd) -> Result<Vec<Value>, StoreError> {
        match self {
            Self::Node(node) => node.command(0, command).await.map(|one| vec![one]),
            Self::Cluster(cluster) => cluster.each(command).await,
        }
        .map_err(|e| store_error(&e))
    }
}

fn info(url: &Secret) -> Result<ConnectionInfo, RedisError> {
    let info = url.reveal().into_connection_info()?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}
