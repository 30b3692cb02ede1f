//! What holds for a whole schedule, whichever of its ladders an order stands on.

use super::stage::Duration;
use crate::domain::order::Millis;

/// The most questions that a limit may allow: a record counts them in 16 bits and saturates.
pub const ATTEMPTS_MAX: u16 = 65_000;

/// By default none: the ladders alone decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The age at which the first question is due, whatever was said; the ladders begin after it.
    /// `None`: each ladder's own first delay.
    pub first_delay: Option<Millis>,
    /// After so many answered questions the schedule is over. A rebuilt view knows an order's age and
    /// not its attempts: they are counted anew.
    pub attempt_limit: Option<u16>,
    /// The age at which the schedule is over, with a last question exactly then.
    pub total_age: Option<Millis>,
}

impl Bounds {
    /// Whether they contradict each other: one line about `first_delay`.
    ///
    /// # Errors
    /// The first question would come when the schedule is over.
    pub fn check(&self) -> Result<(), String> {
        match (self.first_delay, self.total_age) {
            (Some(first), Some(total)) if first >= total => Err(format!(
                "{}: expected less than total_age, which is {}",
                Duration(first),
                Duration(total)
            )),
            _ => Ok(()),
        }
    }

    /// When the ladders begin.
    pub(super) fn begin(&self) -> Millis {
        self.first_delay.unwrap_or(0)
    }

    /// Why a stage is never asked that begins at this age at the earliest, after at least so many
    /// questions.
    pub(super) fn end_before(&self, age: Millis, questions: u32) -> Option<String> {
        if let Some(total) = self.total_age
            && age >= total
        {
            let (age, total) = (Duration(age), Duration(total));
            return Some(format!(
                "never begins: total_age ends the schedule at {total}, this stage starts at {age}"
            ));
        }
        let limit = self.attempt_limit?;
        (questions >= u32::from(limit)).then(|| {
            format!(
                "never begins: attempt_limit ends the schedule after {limit} questions, {questions} \
                 go before this stage"
            )
        })
    }
}
