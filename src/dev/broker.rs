//! The embedded broker: librdkafka's mock cluster on a thread of its own, because its handle cannot
//! be sent. In memory, one node, a free port; transactions are not isolated and nobody is fenced, so
//! nothing but `dev` and tests may use it. It forgets everything at its end.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;

/// The data of one partition that the broker keeps; older data is dropped without an error.
pub const KEPT_BYTES: u64 = 5 * 1024 * 1024;

/// Unread data of one partition that is safe: dropping takes whole batches.
pub const UNREAD_BYTES: u64 = 2 * 1024 * 1024;

/// How much longer it lives than its owner: clients that are told to end at the same moment would
/// complain of a broker that goes before them.
const LINGER: Duration = Duration::from_secs(2);

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// librdkafka refused.
    #[error("embedded broker: {0}")]
    Kafka(#[from] KafkaError),
    /// The system gave no thread.
    #[error("embedded broker: no thread: {0}")]
    NoThread(#[from] std::io::Error),
    /// A bug of the library.
    #[error("embedded broker: its thread has ended")]
    Ended,
}

/// A running broker; it ends soon after this is dropped.
#[derive(Debug)]
pub struct Broker {
    bootstrap: String,
    /// The thread lives as long as this does.
    _alive: mpsc::Sender<()>,
}

impl Broker {
    /// Starts it with these topics, each with its number of partitions.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn start(topics: Vec<(String, u16)>) -> Result<Self, BrokerError> {
        let (alive, dropped) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        thread::Builder::new()
            .name("embedded-broker".to_owned())
            .spawn(move || match cluster(&topics) {
                Err(error) => drop(started.send(Err(error))),
                Ok(cluster) => {
                    drop(started.send(Ok(cluster.bootstrap_servers())));
                    // An error is the other end's drop, which is all that is waited for.
                    dropped.recv().unwrap_or_default();
                    thread::sleep(LINGER);
                }
            })?;
        let bootstrap = start.recv().map_err(|_| BrokerError::Ended)??;
        Ok(Self {
            bootstrap,
            _alive: alive,
        })
    }

    /// `host:port` for any Kafka client of this machine.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

fn cluster(
    topics: &[(String, u16)],
) -> Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(1)?;
    for (name, partitions) in topics {
        cluster.create_topic(name, i32::from(*partitions), 1)?;
    }
    Ok(cluster)
}
