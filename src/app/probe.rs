//! Asks Kafka and the store for a sign of life, for readiness: a worker without shards talks to
//! neither otherwise.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::health::{Health, Neighbour};
use crate::kafka::Log;
use crate::shard::Ports;
use crate::store::Store;

/// Well within what readiness takes for an absence.
const EVERY: Duration = Duration::from_secs(3);

/// Runs until `stop`.
pub(super) async fn run<S: Store>(
    ports: Arc<Ports<S>>,
    health: Arc<Health>,
    stop: CancellationToken,
) {
    loop {
        let (store, kafka) = tokio::join!(ports.store.meta(0), ports.ends.partitions(Log::Events));
        for (neighbour, answered) in [
            (Neighbour::Redis, store.is_ok()),
            (Neighbour::Kafka, kafka.is_ok()),
        ] {
            if answered {
                health.reached(neighbour);
            } else {
                health.lost(neighbour);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
