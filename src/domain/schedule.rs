//! Schedules: the checked plan of delays of an order type.

use super::order::Millis;
use super::status::Open;

/// One list of stages, asked for the next delay by position (draws taken so far) and age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {}

/// A delay taken from a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// From now to the next attempt.
    pub delay: Millis,
    /// The position to remember; saturates.
    pub position: u16,
}

/// The whole plan of one order type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// After a 3.
    pub in_progress: Ladder,
    /// After a 4.
    pub unknown: Ladder,
    /// How slowly an exhausted order is still asked; `None`: not at all.
    pub then: Option<Millis>,
}

impl Ladder {
    /// The next delay of an order that took `position` draws and is `age` old; `None`: the ladder is over.
    pub fn draw(&self, _position: u16, _age: Millis) -> Option<Draw> {
        None
    }
}

impl Schedule {
    /// The ladder that follows `last`.
    pub fn ladder(&self, last: Open) -> &Ladder {
        match last {
            Open::InProgress => &self.in_progress,
            Open::Unknown => &self.unknown,
        }
    }
}
