//! The closed sets that label metrics. Whatever is not an enum here or a configured order type must
//! never become a label: an order number or an open type name would make series without bound.

use crate::domain::answer::{Answer, CouldNotAsk};
use crate::domain::event::Reason;
use crate::domain::result::Outcome;
use crate::domain::status::{Open, Terminal};
use crate::kafka::Log;
use crate::store::script::Folded;

/// A closed set of label values.
pub trait Label: Copy + Sized + 'static {
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    /// The value on the metrics page.
    fn text(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// What became of a record of `order-events`.
    EventOutcome {
        /// Its order is pending now.
        Added = "added",
        /// Its order was pending or exhausted already.
        Known = "known",
        /// Its order is settled alike: nothing to do.
        Settled = "settled",
        /// A terminal status for an open order: handed to the publisher.
        Terminal = "terminal",
        /// Opened a new phase.
        Requeued = "requeued",
        /// Kept as a dead letter.
        DeadLetter = "dead_letter",
        /// Sent to the partition of its order.
        Forwarded = "forwarded",
        /// Met again after a recovery below the group's committed position; judged before.
        Repeated = "repeated",
    }

    /// What came of asking an order's owner.
    Asked {
        /// A well-formed 1.
        Success = "success",
        /// A well-formed 2.
        Failure = "failure",
        /// A well-formed 3.
        InProgress = "in_progress",
        /// A well-formed 4.
        Unknown = "unknown",
        /// Outside the contract; counts as unknown.
        Violation = "violation",
        /// [`CouldNotAsk::TimedOut`].
        TimedOut = "timed_out",
        /// [`CouldNotAsk::Unreachable`].
        Unreachable = "unreachable",
        /// [`CouldNotAsk::ServerError`].
        ServerError = "server_error",
        /// [`CouldNotAsk::TooManyRequests`].
        TooManyRequests = "too_many_requests",
        /// [`CouldNotAsk::NotFound`].
        NotFound = "not_found",
        /// [`CouldNotAsk::Configuration`].
        Configuration = "configuration",
        /// [`CouldNotAsk::NotStarted`].
        NotStarted = "not_started",
        /// [`CouldNotAsk::Paused`].
        Paused = "paused",
        /// [`CouldNotAsk::OverCeiling`].
        OverCeiling = "over_ceiling",
        /// [`CouldNotAsk::BreakerOpen`].
        BreakerOpen = "breaker_open",
    }

    /// Why a caller's question was not put to the owner.
    CallerRefused {
        /// The ceiling or the cap in flight had no room.
        OverCeiling = "over_ceiling",
        /// The owner is asked once a second only.
        BreakerOpen = "breaker_open",
        /// The type rests: its owner refuses every question, or asked to be left alone.
        Paused = "paused",
        /// The store gives no start times, or the worker stops.
        NotStarted = "not_started",
    }

    /// What became of a caller of the API who asked for an order.
    CallerOutcome {
        /// Told from the view: the order is settled.
        Settled = "settled",
        /// Told what a question of its own brought.
        Asked = "asked",
        /// Told what the question of another caller brought.
        Shared = "shared",
        /// Told an answer that was recent enough for it.
        Kept = "kept",
        /// Told what is known, as it wanted nobody to be asked.
        NotAsked = "not_asked",
        /// Told what is known: its time was over before the question's.
        Late = "late",
        /// Told what is known: the owner could not be asked.
        CouldNotAsk = "could_not_ask",
        /// Told what is known: too many questions were open.
        Busy = "busy",
        /// The view could not be read.
        ViewUnavailable = "view_unavailable",
        /// A fault of this program.
        Broken = "broken",
        /// Left before it was told anything.
        Left = "left",
    }

    /// Why an event became a dead letter.
    DeadLetterReason {
        /// [`Reason::NotJson`].
        NotJson = "not-json",
        /// [`Reason::Schema`].
        Schema = "schema",
        /// [`Reason::BadType`].
        BadType = "bad-type",
        /// [`Reason::BadNumber`].
        BadNumber = "bad-number",
        /// [`Reason::TooLarge`].
        TooLarge = "too-large",
        /// [`Reason::Stale`].
        Stale = "stale",
        /// [`Reason::Misrouted`].
        Misrouted = "misrouted",
        /// [`Reason::Conflict`].
        Conflict = "conflict",
        /// [`Reason::TypeLimit`].
        TypeLimit = "type-limit",
    }

    /// Outcome and status of a result that was read back.
    ResultKind {
        /// Settled with 1.
        SettledSuccess = "settled/1",
        /// Settled with 2.
        SettledFailure = "settled/2",
        /// Exhausted, last known to be in progress.
        ExhaustedInProgress = "exhausted/3",
        /// Exhausted, last known to be unknown.
        ExhaustedUnknown = "exhausted/4",
    }

    /// Why a shard went through recover.
    RecoveryCause {
        /// Kafka gave us the shard.
        Assigned = "assigned",
        /// Token or version differed: rolled back, wiped, or taken by another.
        Mismatch = "mismatch",
        /// A transactional call failed; its commit may or may not stand.
        Commit = "commit",
        /// A dead letter or forward could not be delivered.
        Delivery = "delivery",
        /// Store, broker or a step of the recovery itself was not available.
        Unavailable = "unavailable",
        /// The view has lost orders and was given up.
        Incomplete = "incomplete",
        /// The view is damaged.
        Damaged = "damaged",
        /// A position lies outside its log.
        OutOfRange = "out_of_range",
    }

    /// What became of reading the configuration again.
    Reload {
        /// It is in effect.
        Applied = "applied",
        /// It is wrong, or needs a restart: the old one stays.
        Refused = "refused",
    }

    /// Why a shard does not read `order-events`.
    PauseReason {
        /// Too many orders wait for their result to be read back.
        GateFull = "gate_full",
        /// Too many forwards or dead letters wait for their acknowledgement.
        Unacknowledged = "unacknowledged",
        /// The store has no room for new orders.
        StoreFull = "store_full",
        /// Enough unfolded records are in memory.
        Backlog = "backlog",
    }

    /// Why a shard stands still until somebody mends something.
    StallReason {
        /// The log's head was deleted beyond the position that the view needs.
        OutOfRange = "out_of_range",
        /// The view is damaged or of another layout.
        ViewCorrupt = "view_corrupt",
    }

    /// What a human should look at. Each is also a line of the log, one a minute where there are many.
    Alarm {
        /// An order's schedule ended without a terminal answer.
        Exhausted = "exhausted",
        /// A terminal status contradicts the published one.
        Conflict = "conflict",
        /// Another terminal answer came while the first was being published.
        ContradictedAnswer = "contradicted_answer",
        /// An order type that is not configured; its orders wait.
        UnconfiguredType = "unconfigured_type",
        /// The owner refuses our questions: 401, 403, other 4xx, a redirect.
        QueryConfiguration = "query_configuration",
        /// An owner's breaker has opened: it is asked once a second.
        BreakerOpen = "breaker_open",
        /// An owner refused so many questions in a row that its type rests.
        OwnerRefuses = "owner_refuses",
        /// An owner asked to be left alone; nobody need do anything.
        OwnerSaidLater = "owner_said_later",
        /// Half of the questions or more get no answer.
        ManyFailing = "many_failing",
        /// Answers outside the contract.
        Violation = "violation",
        /// A record of `order-results` that is none of ours.
        ForeignResult = "foreign_result",
        /// Events were trimmed that a wiped view or an inlet still needed.
        OutOfRange = "out_of_range",
        /// A view has lost orders: keys of it were deleted.
        Unaccounted = "unaccounted",
        /// The view was gone and is folded again.
        ViewRebuilt = "view_rebuilt",
        /// An open exhaustion will soon leave the retention of `order-results`.
        OldExhaustion = "old_exhaustion",
        /// Recover waits for a foreign open transaction.
        OpenTransaction = "open_transaction",
        /// A record had lost its bucket entry.
        Swept = "swept",
    }

    /// What a shard is doing.
    Phase {
        /// Given to us, recover has not begun.
        Assigned = "assigned",
        /// Between acquire and the opening of the timer.
        Recovering = "recovering",
        /// Its timer is open.
        Open = "open",
        /// Stands still until somebody mends something.
        Stalled = "stalled",
    }
}

impl Alarm {
    /// Those of an order type, of which one fault may bring many; they are open for a while.
    pub const OF_A_TYPE: [Self; 11] = [
        Self::Exhausted,
        Self::Conflict,
        Self::ContradictedAnswer,
        Self::UnconfiguredType,
        Self::QueryConfiguration,
        Self::BreakerOpen,
        Self::OwnerRefuses,
        Self::OwnerSaidLater,
        Self::ManyFailing,
        Self::Violation,
        Self::ForeignResult,
    ];
}

impl Label for Log {
    const ALL: &'static [Self] = &[Self::Events, Self::Results];

    fn text(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Results => "results",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Events => 0,
            Self::Results => 1,
        }
    }
}

impl From<Folded> for EventOutcome {
    fn from(folded: Folded) -> Self {
        match folded {
            Folded::Added => Self::Added,
            Folded::Known => Self::Known,
            Folded::Settled => Self::Settled,
            Folded::Requeued => Self::Requeued,
        }
    }
}

impl From<&Answer> for Asked {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Terminal { status, .. } => match status {
                Terminal::Success => Self::Success,
                Terminal::Failure => Self::Failure,
            },
            Answer::InProgress => Self::InProgress,
            Answer::Unknown { violation: None } => Self::Unknown,
            Answer::Unknown { violation: Some(_) } => Self::Violation,
            Answer::CouldNotAsk { why, .. } => match why {
                CouldNotAsk::TimedOut => Self::TimedOut,
                CouldNotAsk::Unreachable => Self::Unreachable,
                CouldNotAsk::ServerError => Self::ServerError,
                CouldNotAsk::TooManyRequests => Self::TooManyRequests,
                CouldNotAsk::NotFound => Self::NotFound,
                CouldNotAsk::Configuration => Self::Configuration,
                CouldNotAsk::NotStarted => Self::NotStarted,
                CouldNotAsk::Paused => Self::Paused,
                CouldNotAsk::OverCeiling => Self::OverCeiling,
                CouldNotAsk::BreakerOpen => Self::BreakerOpen,
            },
        }
    }
}

impl From<Reason> for DeadLetterReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NotJson => Self::NotJson,
            Reason::Schema => Self::Schema,
            Reason::BadType => Self::BadType,
            Reason::BadNumber => Self::BadNumber,
            Reason::TooLarge => Self::TooLarge,
            Reason::Stale => Self::Stale,
            Reason::Misrouted => Self::Misrouted,
            Reason::Conflict => Self::Conflict,
            Reason::TypeLimit => Self::TypeLimit,
        }
    }
}

impl From<&Outcome> for ResultKind {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Settled { status, .. } => match status {
                Terminal::Success => Self::SettledSuccess,
                Terminal::Failure => Self::SettledFailure,
            },
            Outcome::Exhausted { status, .. } => match status {
                Open::InProgress => Self::ExhaustedInProgress,
                Open::Unknown => Self::ExhaustedUnknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places_agree<L: Label + PartialEq + std::fmt::Debug>() {
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place, "{label:?}");
        }
        let mut texts: Vec<_> = L::ALL.iter().map(|label| label.text()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), L::ALL.len(), "two labels with one text");
    }

    #[test]
    fn answers_and_reasons_are_named_as_everywhere_else() {
        for why in [
            CouldNotAsk::TimedOut,
            CouldNotAsk::Unreachable,
            CouldNotAsk::ServerError,
            CouldNotAsk::TooManyRequests,
            CouldNotAsk::NotFound,
            CouldNotAsk::Configuration,
            CouldNotAsk::NotStarted,
            CouldNotAsk::Paused,
            CouldNotAsk::OverCeiling,
            CouldNotAsk::BreakerOpen,
        ] {
            let answer = Answer::CouldNotAsk {
                why,
                retry_after: None,
            };
            assert_eq!(Asked::from(&answer).text(), answer.label());
        }
        for violation in [None, Some(String::new())] {
            let answer = Answer::Unknown { violation };
            assert_eq!(Asked::from(&answer).text(), answer.label());
        }
        for reason in [
            Reason::NotJson,
            Reason::Schema,
            Reason::BadType,
            Reason::BadNumber,
            Reason::TooLarge,
            Reason::Stale,
            Reason::Misrouted,
            Reason::Conflict,
            Reason::TypeLimit,
        ] {
            assert_eq!(DeadLetterReason::from(reason).text(), reason.as_str());
        }
    }

    #[test]
    fn each_label_stands_at_its_own_place_under_its_own_text() {
        places_agree::<EventOutcome>();
        places_agree::<Asked>();
        places_agree::<CallerOutcome>();
        places_agree::<CallerRefused>();
        places_agree::<DeadLetterReason>();
        places_agree::<ResultKind>();
        places_agree::<RecoveryCause>();
        places_agree::<Reload>();
        places_agree::<PauseReason>();
        places_agree::<StallReason>();
        places_agree::<Alarm>();
        places_agree::<Phase>();
        places_agree::<Log>();
    }
}
