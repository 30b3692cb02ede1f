//! A ladder: stages one after another, walked by a position that the view stores.

use std::fmt;

use super::bounds::Bounds;
use super::stage::{Stage, StageError};
use crate::domain::order::Millis;

/// The most positions: a record stores them in 16 bits and saturates.
const POSITIONS_MAX: u16 = 65_000;

/// One list of stages, asked for the next delay by position and age. A counted stage takes a
/// position for each question, an until-stage one for each different delay: so an order that comes
/// late skips the until-stages that its age has passed and still gets every counted question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    stages: Box<[Stage]>,
}

/// A delay taken from a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// From now to the next attempt, above zero.
    pub delay: Millis,
    /// The position to remember; saturates.
    pub position: u16,
}

/// Where an order of some age stands on a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The position to remember, the question at `due_age` being drawn.
    pub position: u16,
    /// The age at which its next question is due; its age itself beyond the ladder's end.
    pub due_age: Millis,
}

impl Ladder {
    /// Reads a list of stages.
    ///
    /// # Errors
    /// The first stage that has no known form, or that can never be: an age that is reached before
    /// its stage begins, more than 65,000 questions counted, more than 10 years in all.
    pub fn parse(stages: &[String]) -> Result<Self, StageError> {
        Self::parse_within(stages, &Bounds::default())
    }

    /// As [`Ladder::parse`], of a schedule with these bounds.
    ///
    /// # Errors
    /// Also the first stage that the bounds keep from ever being asked.
    pub fn parse_within(stages: &[String], bounds: &Bounds) -> Result<Self, StageError> {
        if stages.is_empty() {
            let why = "expected at least one stage, like \"double 1s x 8\"";
            return Err(StageError::of_none(why));
        }
        let (mut positions, mut age) = (0_u16, bounds.begin());
        let mut questions = u32::from(bounds.first_delay.is_some());
        let mut read = Vec::with_capacity(stages.len());
        for text in stages {
            let refuse = |why: String| StageError::new(text, why).at(read.len());
            let stage = Stage::parse(text).map_err(|error| error.at(read.len()))?;
            if let Some(why) = bounds.end_before(age, questions) {
                return Err(refuse(why));
            }
            age = stage.ends_at(age).map_err(|error| error.at(read.len()))?;
            // An order that comes late skips stages that end at an age: only counts must go before.
            questions += u32::from(stage.counted());
            positions = positions
                .checked_add(stage.positions())
                .filter(|positions| *positions <= POSITIONS_MAX)
                .ok_or_else(|| {
                    refuse(format!(
                        "more than {POSITIONS_MAX} questions are counted up to here"
                    ))
                })?;
            read.push(stage);
        }
        Ok(Self {
            stages: read.into(),
        })
    }

    /// The next delay of an order that stands at `position` (0 at first, then what the last draw
    /// said) and is `age` old. `None`: the ladder is over, and the answer just received was the last
    /// one: a stage that ends at an age has a question exactly then.
    pub fn draw(&self, position: u16, age: Millis) -> Option<Draw> {
        let mut start = 0;
        for stage in &self.stages {
            let end = start + stage.positions();
            if position < end {
                let k = position.saturating_sub(start);
                if let Some((delay, k)) = stage.draw(k, age) {
                    let position = start + k;
                    return Some(Draw { delay, position });
                }
            }
            start = end;
        }
        None
    }

    /// Where an order of this age stands on a ladder that begins at the age `begin`, when nothing but
    /// its age is known: at its next question; beyond the end at one last question, due now.
    pub fn place(&self, begin: Millis, age: Millis) -> Place {
        let (mut start, mut elapsed) = (0, begin);
        for stage in &self.stages {
            match stage.place(elapsed, age) {
                Ok((k, due_age)) => {
                    let position = start + k;
                    return Place { position, due_age };
                }
                Err(end) => elapsed = end,
            }
            start += stage.positions();
        }
        Place {
            position: start,
            due_age: age,
        }
    }

    /// The ideal age of the last question of a ladder that begins at the age `begin`.
    pub fn length(&self, begin: Millis) -> Millis {
        let end = |age, stage: &Stage| stage.end(age);
        self.stages.iter().fold(begin, end)
    }

    /// The stages as they are written in the configuration; [`Ladder::parse`] reads them back.
    pub fn to_stages(&self) -> Vec<String> {
        self.stages.iter().map(ToString::to_string).collect()
    }
}

/// `double 1s x 8`: 1 s, 2 s, 4 s .. 128 s, 4 minutes in all.
impl Default for Ladder {
    fn default() -> Self {
        Self {
            stages: Box::new([Stage::DEFAULT]),
        }
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_stages().join(", "))
    }
}
