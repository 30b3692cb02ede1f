//! How the topics are made: for how long records are needed follows from the longest schedule and the
//! dedupe window. Without I/O; `topics` carries it out, `topic_rules` judges by the same needs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::settings::Settings;
use crate::plant::{self, Plant};

pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const DAY: Duration = Duration::from_hours(24);

/// `max.message.bytes` of the dead letters' topic: the largest events with their reasons.
pub(super) const LETTER_BYTES: u64 = 10_485_760;

/// For how long records are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The age at which the longest schedule ends (`then` aside).
    pub longest_schedule: Duration,
    /// The dedupe window.
    pub window: Duration,
}

impl Needs {
    /// The shortest retention of events with which a wiped view can be folded again.
    pub fn events_retention(&self) -> Duration {
        self.longest_schedule + self.window + DAY
    }

    /// The shortest retention of results: every event that is still there must find its order's
    /// resolution. The segment counts because a log drops whole segments only.
    pub fn results_retention(
        &self,
        events_retention: Duration,
        events_segment: Duration,
    ) -> Duration {
        if plant::is(Plant::RetentionUnchecked) {
            return Duration::ZERO;
        }
        events_retention + events_segment + self.window + HOUR
    }
}

/// A topic as `topics create` makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: u16,
    /// Replicas of each.
    pub replication: u16,
    /// Its properties.
    pub properties: BTreeMap<&'static str, String>,
}

/// The three topics, for a cluster of `brokers`.
pub fn plans(settings: &Settings, needs: &Needs, brokers: usize) -> [TopicPlan; 3] {
    let replication = brokers.clamp(1, 3) as u16;
    let segment = 6 * HOUR;
    let events = (7 * DAY).max(needs.events_retention());
    let results = (15 * DAY).max(needs.results_retention(events, segment));
    let plan = |name: &str, partitions: u16, retention: Duration| TopicPlan {
        name: name.to_owned(),
        partitions,
        replication,
        properties: BTreeMap::from([
            ("cleanup.policy", "delete".to_owned()),
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("retention.ms", retention.as_millis().to_string()),
            (
                "min.insync.replicas",
                if replication >= 3 { "2" } else { "1" }.to_owned(),
            ),
        ]),
    };
    let topics = &settings.topics;
    let mut plans = [
        plan(&topics.events, settings.shards, events),
        plan(&topics.results, settings.shards, results),
        plan(&topics.dead_letters, settings.shards.clamp(1, 4), 30 * DAY),
    ];
    let extra = [
        ("segment.ms", segment.as_millis()),
        ("segment.ms", DAY.as_millis()),
        ("max.message.bytes", u128::from(LETTER_BYTES)),
    ];
    for (plan, (property, value)) in plans.iter_mut().zip(extra) {
        plan.properties.insert(property, value.to_string());
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::settings::sample;

    #[test]
    fn retention_grows_with_the_schedule_and_never_falls_below_the_default() {
        let settings = sample(16);
        let retention = |needs: &Needs| {
            plans(&settings, needs, 1)
                .map(|plan| Duration::from_millis(plan.properties["retention.ms"].parse().unwrap()))
        };
        let short = Needs {
            longest_schedule: HOUR,
            window: HOUR,
        };
        assert_eq!(retention(&short), [7 * DAY, 15 * DAY, 30 * DAY]);
        let long = Needs {
            longest_schedule: 20 * DAY,
            window: DAY,
        };
        assert_eq!(
            retention(&long),
            [22 * DAY, 22 * DAY + 6 * HOUR + DAY + HOUR, 30 * DAY]
        );
    }
}
