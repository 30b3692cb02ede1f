//! Where a wiped view is folded from: the committed floor, held against what the logs still have, and
//! whether `order-results` will go on having it.

use std::time::Duration;

use super::Ports;
use super::core::input::FloorFound;
use crate::domain::order::Millis;
use crate::kafka::{Ends, Log};
use crate::metrics::label::Alarm;
use crate::plant::{self, Plant};
use crate::store::Store;
use crate::store::script::Floor;

/// Brokers' clocks may differ by this much.
const CLOCK_SLACK: Millis = 60_000;

/// Events from the floor's `E`; results from the earlier of its `R` and the append time of the event
/// at that `E` less the window. No floor: the oldest record of both logs. What was committed for a log
/// that was longer once says nothing of this one. Safe to repeat.
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
        .filter(|e| *e <= events.high)
        .unwrap_or(0);
    let committed = ports.floors.read(shard).await.map_err(text)?;
    let committed = committed.and_then(|floor| within(ports, shard, floor, events));
    let e = first_event(committed, events);
    let appended = ports
        .ends
        .append_time(Log::Events, shard, e)
        .await
        .map_err(text)?;
    let since = window_of(appended.unwrap_or_else(|| ports.clock.wall()), ports.window);
    let windowed = match committed {
        None => None,
        Some(_) => ports
            .ends
            .offset_for_time(Log::Results, shard, since)
            .await
            .map_err(text)?,
    };
    let r = first_result(committed, windowed, results);
    Ok(FloorFound {
        floor: Floor { e, r },
        known_below,
    })
}

/// The first event that is folded again.
pub(super) fn first_event(floor: Option<Floor>, events: Ends) -> u64 {
    match floor {
        Some(floor) => floor.e.clamp(events.low, events.high),
        None if plant::is(Plant::ReplayFromLatest) => events.high,
        None => events.low,
    }
}

/// From when on results are folded again, where the first event was appended at `appended`.
pub(super) fn window_of(appended: Millis, window: Millis) -> Millis {
    appended.saturating_sub(window + CLOCK_SLACK)
}

/// The first result that is folded again; `windowed`: the first one of the window, if there is one.
pub(super) fn first_result(floor: Option<Floor>, windowed: Option<u64>, results: Ends) -> u64 {
    let Some(floor) = floor else {
        return results.low;
    };
    windowed
        .unwrap_or(results.high)
        .min(floor.r)
        .clamp(results.low, results.high)
}

/// The floor as far as this log of events goes, told when that is not all of it. One beyond the end is
/// none: what was appended where lost records had been would be skipped.
fn within<S: Store>(ports: &Ports<S>, shard: u16, floor: Floor, events: Ends) -> Option<Floor> {
    let (low, high) = (events.low, events.high);
    if (low..=high).contains(&floor.e) {
        return Some(floor);
    }
    ports.metrics.alarm(Alarm::OutOfRange);
    if floor.e < low {
        tracing::error!(
            shard,
            floor = floor.e,
            low,
            "events that pending orders need were trimmed: raise the retention of order-events"
        );
        return Some(Floor { e: low, ..floor });
    }
    tracing::error!(
        shard,
        floor = floor.e,
        high,
        "order-events ends before the floor and has lost records: all that is left is folded"
    );
    None
}

/// An open exhaustion must be heard of this long before retention removes its result: nothing else
/// could bring its order back into a wiped view.
const NOTICE: Duration = Duration::from_hours(24);

/// What the logs still keep of what the view needs, as of a floor.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needed {
    /// Append time of the event at the floor: of the oldest pending order, or the oldest event that
    /// was not folded; now, where there is neither. `None`: it could not be asked for.
    pub event: Option<Millis>,
    /// For how long `order-results` keeps the result of the oldest open exhaustion; `None`: nobody says.
    pub result: Option<Duration>,
}

/// Commits the floor, and looks what the logs keep of what lies behind it. A result that has less
/// than [`NOTICE`] left is an alarm, each time. A failure is told; the next floor makes up for it.
pub(super) async fn commit<S: Store>(ports: &Ports<S>, shard: u16, floor: Floor) -> Needed {
    if let Err(error) = ports.floors.commit(shard, floor).await {
        tracing::warn!(shard, %error, "the floor was not committed, the next one will be");
    }
    let (event, result) = tokio::join!(
        ports.ends.append_time(Log::Events, shard, floor.e),
        ports.ends.append_time(Log::Results, shard, floor.r)
    );
    let now = ports.clock.wall();
    let retention = ports.retention.borrow().results;
    let result = retention.and_then(|kept| Some(left(kept, result.ok()?, now)));
    if let Some(left) = result.filter(|left| *left < NOTICE) {
        tracing::error!(
            shard,
            offset = floor.r,
            left_seconds = left.as_secs(),
            "an exhausted order is about to leave order-results: settle or requeue it, or raise the retention"
        );
        ports.metrics.alarm(Alarm::OldExhaustion);
    }
    Needed {
        event: event.ok().map(|appended| appended.unwrap_or(now)),
        result,
    }
}

/// What is left of a record's retention; all of it where there is no record.
pub(super) fn left(retention: Duration, appended: Option<Millis>, now: Millis) -> Duration {
    let age = appended.map_or(0, |appended| now.saturating_sub(appended));
    retention.saturating_sub(Duration::from_millis(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhaustion_is_old_a_day_before_its_result_goes() {
        let (retention, hour) = (Duration::from_hours(15 * 24), 3_600_000_u64);
        let now = 1_800_000_000_000_u64;
        let is_old = |hours: u64| left(retention, Some(now - hours * hour), now) < NOTICE;
        assert!(!is_old(14 * 24));
        assert!(is_old(14 * 24 + 1));
        assert!(is_old(16 * 24), "already beyond it");
        assert_eq!(left(retention, None, now), retention);
    }
}
