//! `[order_types.<name>]`: how, when and how often an order's owner is asked.

use std::collections::BTreeMap;

use crate::domain::answer::Mapping;
use crate::domain::order::{Millis, TypeName};
use crate::domain::schedule::{ATTEMPTS_MAX, Bounds, Ladder, SCHEDULE_MAX, Schedule, StageError};

use super::answer;
use super::fields::{Broken, Field, Fields};
use super::query::QueryConfig;

/// `[order_types.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderTypeConfig {
    /// How the owner is asked.
    pub query: QueryConfig,
    /// How its answer is read; `None`: in the protocol's own form.
    pub answer: Option<Mapping>,
    /// When.
    pub schedule: Schedule,
    /// How often at most.
    pub ceiling: Ceiling,
}

/// `ceiling = { .. }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceiling {
    /// For the whole cluster. Default 100.
    pub questions_per_second: f64,
    /// Per worker. Default 64.
    pub in_flight: u32,
    /// The part of the ceiling and of the cap in flight that callers of the API have for themselves.
    /// Default 0.2.
    pub callers_share: f64,
    /// The part of the ceiling that first questions about new orders have for themselves. Default 0.5.
    pub first_share: f64,
    /// So many refusals in a row (4xx other than 429, redirects) let the type rest, on each worker by
    /// itself. Default 20.
    pub refusals_in_a_row: u32,
}

/// What is left, a tenth at least, is for all other questions: no share may starve them.
const SHARES_MAX: f64 = 0.9;

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            questions_per_second: 100.0,
            in_flight: 64,
            callers_share: 0.2,
            first_share: 0.5,
            refusals_in_a_row: 20,
        }
    }
}

impl OrderTypeConfig {
    /// Asks `url` with the protocol's own body; every other field has its default.
    pub fn new(url: String) -> Self {
        Self {
            query: QueryConfig::new(url),
            answer: None,
            schedule: Schedule::default(),
            ceiling: Ceiling::default(),
        }
    }

    /// Every order type; their names are the user's.
    pub(super) fn read_all(section: Fields<'_>) -> BTreeMap<TypeName, Self> {
        let mut types = BTreeMap::new();
        for (name, field) in section.named() {
            match TypeName::new(&name) {
                Some(name) => {
                    let read = Self::read(field.fields(), &name);
                    types.insert(name, read);
                }
                None => field.refuse("expected a name of 1 to 32 of a-z, 0-9, '_' and '-'"),
            }
        }
        types
    }

    fn read(mut fields: Fields<'_>, name: &TypeName) -> Self {
        let query = QueryConfig::read(fields.section("query"), name);
        let answer = answer::read(fields.section("answer"));
        let schedule = schedule(fields.section("schedule"));
        let ceiling = Ceiling::read(fields.section("ceiling"));
        fields.end(Vec::new());
        Self {
            query,
            answer,
            schedule,
            ceiling,
        }
    }
}

impl Ceiling {
    fn read(mut fields: Fields<'_>) -> Self {
        let default = Self::default();
        let ceiling = Self {
            questions_per_second: fields
                .field("questions_per_second")
                .and_then(|field| field.positive(100_000.0))
                .unwrap_or(default.questions_per_second),
            in_flight: fields
                .field("in_flight")
                .and_then(|field| field.whole(1..=10_000))
                .unwrap_or(default.in_flight),
            callers_share: fields
                .field("callers_share")
                .and_then(|field| field.part(SHARES_MAX))
                .unwrap_or(default.callers_share),
            first_share: fields
                .field("first_share")
                .and_then(|field| field.part(SHARES_MAX))
                .unwrap_or(default.first_share),
            refusals_in_a_row: fields
                .field("refusals_in_a_row")
                .and_then(|field| field.whole(1..=10_000))
                .unwrap_or(default.refusals_in_a_row),
        };
        fields.end(ceiling.validate());
        ceiling
    }

    fn validate(&self) -> Vec<Broken> {
        let sum = self.callers_share + self.first_share;
        if sum <= SHARES_MAX {
            return Vec::new();
        }
        let what = format!(
            "{}: expected {SHARES_MAX} at most together with callers_share, which is {}",
            self.first_share, self.callers_share
        );
        vec![Broken::new("first_share", what)]
    }
}

/// A ladder that was left out is the default one, also when the other one was written.
fn schedule(mut fields: Fields<'_>) -> Schedule {
    let age = |field: Option<Field<'_>>| {
        let age = field?.duration(1..=SCHEDULE_MAX)?;
        Some(age.as_millis() as Millis)
    };
    let mut bounds = Bounds {
        first_delay: age(fields.field("first_delay")),
        attempt_limit: fields
            .field("attempt_limit")
            .and_then(|field| field.whole(1..=u32::from(ATTEMPTS_MAX)))
            .map(|limit| limit as u16),
        total_age: age(fields.field("total_age")),
    };
    let contradiction = bounds.check().err();
    if contradiction.is_some() {
        // One line about it is enough: no stage is to blame.
        bounds.total_age = None;
    }
    let mut broken: Vec<Broken> = contradiction
        .map(|what| Broken::new("first_delay", what))
        .into_iter()
        .collect();
    let mut read = |name| match ladder(fields.field(name)?, &bounds) {
        Ok(ladder) => ladder,
        Err(error) => {
            broken.push(Broken::new(name, error.to_string()));
            None
        }
    };
    let schedule = Schedule {
        in_progress: read("in_progress").unwrap_or_default(),
        unknown: read("unknown").unwrap_or_default(),
        bounds,
        // A second keeps an exhausted order from being asked as fast as the ceiling allows; a year is
        // far beyond any retention.
        then: fields
            .field("then")
            .and_then(|field| field.duration(1000..=365 * 86_400_000))
            .map(|then| then.as_millis() as Millis),
    };
    fields.end(broken);
    schedule
}

/// The error of a list that has no stage to tell it at; others are told where their stage stands.
fn ladder(field: Field<'_>, bounds: &Bounds) -> Result<Option<Ladder>, StageError> {
    let Some(items) = field.items(r#"a list of stages like ["20s", "3s x 10"]"#) else {
        return Ok(None);
    };
    let Some(texts) = items.iter().map(Field::text).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    match (Ladder::parse_within(&texts, bounds), items.as_slice()) {
        (Ok(ladder), _) => Ok(Some(ladder)),
        (Err(error), []) => Err(error),
        (Err(error), [first, ..]) => {
            items.get(error.index()).unwrap_or(first).refuse(error);
            Ok(None)
        }
    }
}
