//! A type's ceiling as both stores keep it: what a worker asks for, what it is told, and the numbers
//! that `reserve.lua` and its twin in memory share. The breaker stands here too, so that one script
//! decides for the whole cluster how soon the next question may start.

/// Whose questions a start time is for. Each has a part of the ceiling for itself, and may take what
/// the others leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Share {
    /// People who call the API.
    Callers,
    /// First questions about orders that came lately.
    First,
    /// All other questions of the schedules.
    Rest,
}

impl Share {
    /// In the order in which one request is served.
    pub const ALL: [Self; 3] = [Self::Callers, Self::First, Self::Rest];
}

/// One number a share, by `Share as usize`.
pub type ByShare<T> = [T; 3];

/// A request for start times. One that wants none only reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reserve {
    /// The most start times of each share.
    pub wanted: ByShare<u32>,
    /// The most start times in all.
    pub most: u32,
    /// Questions a second, of the whole cluster.
    pub per_second: f64,
    /// The part of the ceiling, 0 to 1, that a share has for itself.
    pub parts: ByShare<f64>,
    /// What this worker's questions came to since its last report.
    pub heard: Heard,
    /// Microseconds for which the owner asked to be left alone, a minute at most; 0: it did not.
    pub hold_us: u64,
    /// What this worker was told last; `None`: nothing, or too long ago.
    pub known: Option<Known>,
}

/// What questions came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Some got an answer.
    pub answered: bool,
    /// So many since then got none, in a row.
    pub failures: u32,
}

/// What a worker was told of a type's ceiling. It says so with its next request: a view that was
/// wiped or rolled back then learns from its workers what it has forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The store's microsecond at which the ceiling was made.
    pub born_us: u64,
    /// The store's microsecond of the last reservation.
    pub at_us: u64,
    /// Whether the owner answers.
    pub breaker: Breaker,
}

/// Whether a type's owner answers, for the whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// It does, as far as is known.
    #[default]
    Closed,
    /// It does again, since so many microseconds; the ceiling is on its way back.
    Closing {
        /// Since the first answer.
        for_us: u64,
    },
    /// It did not, [`ROW_MAX`] times in a row: one question a second.
    Open,
}

/// Start times reserved from an order type's ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Microseconds from now to the first; with none, to the next free one.
    pub first_in_us: u64,
    /// How many, one behind the other.
    pub counts: ByShare<u32>,
    /// Microseconds between two.
    pub spacing_us: u64,
    /// Microseconds for which the owner is left alone: no start times until then.
    pub held_us: u64,
    /// How things stand now.
    pub known: Known,
}

impl Slots {
    /// All of them.
    pub fn count(&self) -> u32 {
        self.counts.iter().sum()
    }
}

/// How far ahead a share's own start times reach.
pub const AHEAD_US: u64 = 1_000_000;

/// How far ahead start times of others are lent: whoever comes back waits so long at most.
pub const LENT_US: u64 = 200_000;

/// A share that was left unused is kept for so long.
pub const BURST_US: u64 = 250_000;

/// So many questions in a row without an answer open the breaker.
pub const ROW_MAX: u64 = 20;

/// Between two questions of an open breaker.
pub const PROBE_US: u64 = 1_000_000;

/// The ceiling doubles so often while the breaker closes.
pub const STEP_US: u64 = 10_000_000;

/// A closing breaker begins with the ceiling divided by this.
pub const FIRST_STEP: u64 = 8;

/// The longest that one word of an owner silences a type.
pub const HOLD_MAX_US: u64 = 60_000_000;

/// How long a ceiling that nobody uses is remembered.
pub const LIFETIME_US: u64 = 3_600_000_000;

/// Microseconds between two start times, rounded up so that the ceiling holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spacing {
    /// Of the ceiling.
    pub all: u64,
    /// Of each share's own part; 0: it has none.
    pub own: ByShare<u64>,
}

impl Spacing {
    /// `None` when nothing may start.
    pub fn of(reserve: &Reserve) -> Option<Self> {
        let all = microseconds(reserve.per_second)?;
        let own = reserve
            .parts
            .map(|part| microseconds(reserve.per_second * part.clamp(0.0, 1.0)).unwrap_or(0));
        Some(Self { all, own })
    }
}

/// The answer where nothing may start at all.
pub(super) fn nothing(reserve: &Reserve) -> Slots {
    Slots {
        first_in_us: AHEAD_US,
        counts: [0; 3],
        spacing_us: AHEAD_US,
        held_us: 0,
        known: reserve.known.unwrap_or(Known {
            born_us: 0,
            at_us: 0,
            breaker: Breaker::Closed,
        }),
    }
}

/// A day between two questions is as good as none.
fn microseconds(per_second: f64) -> Option<u64> {
    let spacing = (1e6 / per_second).ceil();
    #[expect(clippy::cast_sign_loss, reason = "the range is checked")]
    (1.0..86_400e6).contains(&spacing).then_some(spacing as u64)
}
