//! How long the logs keep their records: as somebody configured it, and as a start lets it pass.

use std::time::Duration;

use super::World;
use super::dice::Dice;
use crate::domain::order::Millis;
use crate::kafka::topic_plan::Needs;
use crate::shard::core::plan::Plan;

/// A log drops whole segments only.
const SEGMENT: Millis = 6 * 3_600_000;

/// Of both logs.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub events: Millis,
    pub results: Millis,
}

impl Retention {
    /// What a start would refuse becomes what its way out names.
    pub fn draw(plan: &Plan, dice: &mut Dice) -> Self {
        let schedules = plan.types.iter().map(|known| known.schedule.longest());
        let needs = Needs {
            longest_schedule: Duration::from_millis(schedules.max().unwrap_or(0)),
            window: Duration::from_millis(plan.window),
        };
        let events = needs.events_retention();
        let least = needs.results_retention(events, Duration::from_millis(SEGMENT));
        let events = events.as_millis() as Millis;
        let configured = dice.weighted(&[(1, events), (1, 15 * 86_400_000)]);
        Self {
            events,
            results: configured.max(least.as_millis() as Millis),
        }
    }
}

impl World {
    /// Days go by, and retention takes what is old enough: results as soon as it may, events with
    /// their segment.
    pub(super) fn days_pass(&mut self) {
        self.now += self.retention.events + self.dice.below(2 * SEGMENT);
        let segment = self.dice.below(SEGMENT);
        let old = |keeps: Millis| self.now.saturating_sub(keeps);
        let events = self
            .events
            .offset_for_time(old(self.retention.events + segment));
        let results = self.results.offset_for_time(old(self.retention.results));
        self.events.trim(events.unwrap_or(self.events.high()));
        self.results.trim(results.unwrap_or(self.results.high()));
    }
}
