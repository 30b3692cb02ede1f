//! A few shared connections to one node, made when first used. Owns time-outs and the end of
//! connections that have died in silence. Sends what it is given once and hands on what came back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ConnectionInfo, Pipeline, RedisError, Value};

/// Longer than any script takes by a factor of a thousand, shorter than a Kafka session.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// One connection is one thread's worth of parsing; Redis itself is one thread.
const CONNECTIONS: u16 = 4;

/// One node.
pub(super) struct Node(Vec<Line>);

impl Node {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn new(info: ConnectionInfo) -> Result<Self, RedisError> {
        let client = Client::open(info)?;
        let lines = (0..CONNECTIONS).map(|_| Line::new(client.clone()));
        lines.collect::<Result<_, _>>().map(Self)
    }

    fn line(&self, shard: u16) -> &Line {
        &self.0[usize::from(shard) % self.0.len()]
    }

    /// Sends one command; what concerns one shard goes over one connection, in its order. An error
    /// that the server says is an error.
    pub async fn command(&self, shard: u16, command: &Cmd) -> Result<Value, RedisError> {
        let line = self.line(shard);
        let (used, mut connection) = line.current();
        let answer = connection.req_packed_command(command).await;
        line.judge(used, answer).and_then(Value::extract_error)
    }

    /// Sends commands, not atomically; the first error that the server says is an error.
    pub async fn commands(
        &self,
        shard: u16,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, RedisError> {
        let line = self.line(shard);
        let (used, mut connection) = line.current();
        let answers = connection.req_packed_commands(pipeline, 0, pipeline.len());
        let answers = line.judge(used, answers.await)?.into_iter();
        answers.map(Value::extract_error).collect()
    }

    /// As [`Node::command`], of what may be asked in vain; `None`: no answer so soon.
    pub async fn ask(&self, command: &Cmd, within: Duration) -> Option<Result<Value, RedisError>> {
        let line = self.line(0);
        let (used, mut connection) = line.current();
        let asked = tokio::time::timeout(within, connection.req_packed_command(command));
        if let Ok(answer) = asked.await {
            return Some(line.judge(used, answer).and_then(Value::extract_error));
        }
        line.renew(used);
        None
    }
}

/// One connection to a node. The manager connects anew where the old connection ended; where it only
/// answers no longer (a firewall forgot it, a proxy hangs), nothing would end it but this.
struct Line {
    client: Client,
    /// How often it was renewed, and the connection since then.
    current: Mutex<(u64, ConnectionManager)>,
}

impl Line {
    fn new(client: Client) -> Result<Self, RedisError> {
        let current = Mutex::new((0, manager(&client)?));
        Ok(Self { client, current })
    }

    fn current(&self) -> (u64, ConnectionManager) {
        let current = self.current.lock();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// After a time-out: whoever asks next does so on a new connection. What was sent on the old one
    /// may still arrive, as after any lost reply.
    fn judge<T>(&self, used: u64, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if answer.as_ref().is_err_and(RedisError::is_timeout) {
            self.renew(used);
        }
        answer
    }

    fn renew(&self, used: u64) {
        if let Ok(new) = manager(&self.client) {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.0 == used {
                *current = (used + 1, new);
            }
        }
    }
}

fn manager(client: &Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}
