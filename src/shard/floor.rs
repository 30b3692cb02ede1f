//! Where a wiped view is folded from: the committed floor, held against what the logs still have.

use super::Ports;
use super::core::input::FloorFound;
use crate::domain::order::Millis;
use crate::kafka::Log;
use crate::metrics::label::Alarm;
use crate::store::Store;
use crate::store::script::Floor;

/// Brokers' clocks may differ by this much.
const CLOCK_SLACK: Millis = 60_000;

/// Events from the floor's `E`; results from the earlier of its `R` and the append time of the event
/// at that `E` less the window. No floor: the oldest record of both logs. Safe to repeat.
///
/// # Errors
/// What Kafka said, for a person.
pub(super) async fn find<S: Store>(ports: &Ports<S>, shard: u16) -> Result<FloorFound, String> {
    let text = |error: rdkafka::error::KafkaError| error.to_string();
    let events = ports.ends.ends(Log::Events, shard).await.map_err(text)?;
    let results = ports.ends.ends(Log::Results, shard).await.map_err(text)?;
    let known_below = ports
        .member
        .committed(shard)
        .await
        .map_err(text)?
        .unwrap_or(0);
    let committed = ports.floors.read(shard).await.map_err(text)?;
    if let Some(floor) = committed.filter(|floor| floor.e < events.low) {
        tracing::error!(
            shard,
            floor = floor.e,
            low = events.low,
            "events that pending orders need were trimmed: raise the retention of order-events"
        );
        ports.metrics.alarm(Alarm::OutOfRange);
    }
    let e = committed.map_or(events.low, |floor| floor.e.clamp(events.low, events.high));
    let appended = ports
        .ends
        .append_time(Log::Events, shard, e)
        .await
        .map_err(text)?;
    let r = match committed {
        None => results.low,
        Some(floor) => {
            let since = appended.unwrap_or_else(|| ports.clock.wall());
            let since = since.saturating_sub(ports.window + CLOCK_SLACK);
            let windowed = ports
                .ends
                .offset_for_time(Log::Results, shard, since)
                .await
                .map_err(text)?;
            windowed
                .unwrap_or(results.high)
                .min(floor.r)
                .clamp(results.low, results.high)
        }
    };
    Ok(FloorFound {
        floor: Floor { e, r },
        appended,
        known_below,
    })
}
