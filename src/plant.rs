//! Planted bugs: for each protection of the protocol a switch that takes it away, so that the tests
//! can show that they would miss it. The place where a protection stands asks [`is`]; outside of this
//! crate's own tests that is a constant `false`, and nothing of it is left in a binary. Only tests
//! plant; docs/PROOF.md keeps the table of what finds each.

#[cfg(test)]
pub(crate) use switch::{is, planted};

/// A protection that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plant {
    /// `E` of a fold is what follows its last event, whatever is open below.
    EPastOpen,
    /// `E` is the reader's position, whatever was read and not folded.
    EFromPosition,
    /// An order that is being published is not known to be.
    NoGate,
    /// Events of an order in the gate are passed instead of waiting.
    WaitingDropped,
    /// The table of open questions keeps settled orders and takes any answer for its own.
    ClaimNotCompared,
    /// The view's token is not compared.
    NoToken,
    /// The view's version is not compared.
    NoVersion,
    /// A claim takes an order out of its bucket, and puts it into none.
    ClaimInTwoSteps,
    /// Whether the shard is still ours is not looked at before a question starts.
    AskedUnowned,
    /// What is handed to the publisher is folded as if it had been read back.
    SettledAtProduce,
    /// A recovery begins to read results at their end.
    ResultsUnread,
    /// The end of the results is asked read committed: the last stable offset.
    EndReadCommitted,
    /// A recovery folds events before it has read the results to their end.
    EventsBeforeResults,
    /// The transactional id names the worker beside the shard, so that nobody fences anybody.
    WorkerInTransactionalId,
    /// A failed commit is taken for one that never happened, and its publisher is used again.
    PublisherReused,
    /// Open questions of an older generation, and their answers, count in a new one.
    OldQuestionsKept,
    /// Without a floor, events are read from the end of the log.
    ReplayFromLatest,
    /// A question that timed out counts as an attempt.
    TimeoutIsAttempt,
    /// A requeue applies whatever phase the order is in.
    RequeuePhaseUnchecked,
    /// A requeue does not bring its query.
    RequeueWithoutQuery,
    /// The end of a schedule is not published; the order rests in the view alone.
    ExhaustedOutsideLog,
    /// The floor's `R` does not look at open exhaustions.
    FloorIgnoresExhausted,
    /// A view that is being rebuilt does not say so to its next owner.
    NoRebuildMark,
    /// The dedupe window runs on the wall clock.
    MarksByWallClock,
    /// A shard that has nothing to write sends no sweep.
    IdleNotSwept,
    /// For how long `order-results` keeps its records is not looked at.
    RetentionUnchecked,
    /// An event that belongs to another shard is folded where it lies.
    MisplacedKept,
}

/// Whether this bug is planted: never.
#[cfg(not(test))]
#[inline]
pub(crate) const fn is(_: Plant) -> bool {
    false
}

/// The switch of the tests: one bug at a time, on the thread that runs the test.
#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Plant;

    thread_local! {
        static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    }

    /// Whether this bug is planted on this thread.
    pub(crate) fn is(plant: Plant) -> bool {
        PLANTED.get() == Some(plant)
    }

    /// Runs `act` with a bug, or without any; a panic ends it, too.
    pub(crate) fn planted<T>(plant: Option<Plant>, act: impl FnOnce() -> T) -> T {
        struct Dug(Option<Plant>);
        impl Drop for Dug {
            fn drop(&mut self) {
                PLANTED.set(self.0);
            }
        }
        let _dug = Dug(PLANTED.replace(plant));
        act()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_planted_for_its_run_and_on_its_thread_alone() {
        let found = planted(Some(Plant::NoGate), || {
            let elsewhere = std::thread::spawn(|| is(Plant::NoGate)).join().unwrap();
            let without = planted(None, || is(Plant::NoGate));
            [
                is(Plant::NoGate),
                is(Plant::NoToken),
                without,
                elsewhere,
                is(Plant::NoGate),
            ]
        });
        assert_eq!(found, [true, false, false, false, true]);
        let panicked =
            std::panic::catch_unwind(|| planted(Some(Plant::NoGate), || panic!("on purpose")));
        assert!(panicked.is_err() && !is(Plant::NoGate));
    }
}
