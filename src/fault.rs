//! Named fault points: the places where the kill matrix (`tests/kill_matrix`) ends or stops a worker.
//! Called by whoever carries out I/O (the shard's actor, publisher, query engine, API), never by the
//! core, which a simulator drives. Without the feature `fault-points`, which no release is built
//! with, every call is empty and nothing arms a point.
//!
//! `SETTLED_FAULT=<point>:<kill|stop>[:nth]` arms one of `POINTS`: the `nth` time (the first, when
//! it is left out) that the worker comes by, it says so on standard error and sends itself SIGKILL or
//! SIGSTOP; whoever armed it sends SIGCONT. It happens once in the life of a process.

#[cfg(feature = "fault-points")]
pub use armed::{arm, point, shortly};

/// Every point, in the order in which an order, and then a recovery, comes by.
#[cfg(feature = "fault-points")]
pub const POINTS: [&str; 14] = [
    // Events were read; no step of the core has seen them.
    "polled",
    // A script that folds events took effect; its reply was not read.
    "folded-reply-not-read",
    // An order was claimed; nobody was told to ask about it.
    "claimed",
    // The question to the owner is under way.
    "asked",
    // The owner's answer was read and judged; the shard has not heard of it.
    "answered-not-handed-on",
    // Results lie in order-results; their transaction is open.
    "produced",
    // The commit is under way.
    "commit-sent",
    // The commit was acknowledged; the results were not read back.
    "committed-not-read-back",
    // The results were read back; the script that settles their orders was not sent.
    "read-back-not-settled",
    // A caller's question brought a terminal answer, and its event is under way.
    "api-answered-event-not-acknowledged",
    // Recovery: the view was acquired, the reply not read.
    "recovery-acquired",
    // Recovery: `init_transactions` has fenced the former owner.
    "recovery-fenced",
    // Recovery: a script that folds results took effect; its reply was not read.
    "recovery-results",
    // Recovery: a script that folds events took effect; its reply was not read.
    "recovery-events",
];

/// Ends or stops this process, when this point is armed and its turn has come.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn point(_: &str) {}

/// As [`point`], a moment later on a thread of its own: amid the call that follows.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn shortly(_: &str) {}

#[cfg(feature = "fault-points")]
mod armed {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::POINTS;

    static FAULT: OnceLock<Fault> = OnceLock::new();

    /// How long a call that something happens amid may go on, in microseconds: a commit on a broker
    /// next door takes about as long.
    const AMID_US: u32 = 4_000;

    #[derive(Debug)]
    struct Fault {
        point: &'static str,
        signal: Signal,
        /// Comings-by until it is its turn.
        left: AtomicU32,
    }

    /// Arms the point that `text` names.
    ///
    /// # Errors
    /// `text` is not of the form `<point>:<kill|stop>[:nth]`.
    pub fn arm(text: &str) -> Result<(), String> {
        let fault = parse(text).ok_or_else(|| {
            format!(
                "{text:?}: expected <point>:<kill|stop>[:nth], a point of {}",
                POINTS.join(", ")
            )
        })?;
        FAULT
            .set(fault)
            .map_err(|_| "a fault point is armed already".to_owned())
    }

    fn parse(text: &str) -> Option<Fault> {
        let mut parts = text.split(':');
        let (point, signal) = (parts.next()?, parts.next()?);
        let nth = parts.next().map_or(Some(1), |nth| nth.parse().ok())?;
        if nth == 0 || parts.next().is_some() {
            return None;
        }
        Some(Fault {
            point: POINTS.into_iter().find(|known| *known == point)?,
            signal: match signal {
                "kill" => Signal::KILL,
                "stop" => Signal::STOP,
                _ => return None,
            },
            left: AtomicU32::new(nth),
        })
    }

    /// Ends or stops this process, when this point is armed and its turn has come.
    pub fn point(name: &str) {
        if let Some(fault) = turn(name) {
            fault.strike();
        }
    }

    /// As [`point`], a moment later on a thread of its own: amid the call that follows.
    pub fn shortly(name: &str) {
        if let Some(fault) = turn(name) {
            let after = getrandom::u32().unwrap_or(0) % AMID_US;
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(u64::from(after)));
                fault.strike();
            });
        }
    }

    fn turn(name: &str) -> Option<&'static Fault> {
        let fault = FAULT.get().filter(|fault| fault.point == name)?;
        // It wraps round after 2^32 more: never within the life of a test.
        (fault.left.fetch_sub(1, Ordering::SeqCst) == 1).then_some(fault)
    }

    impl Fault {
        fn strike(&self) {
            let said = format!("fault point {} reached\n", self.point);
            drop(std::io::stderr().write_all(said.as_bytes()));
            if let Err(error) = kill_process(getpid(), self.signal) {
                tracing::error!(%error, "a fault point sent no signal");
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_has_its_turn_once_and_at_its_time() {
            let fault = parse("claimed:stop:3").unwrap();
            assert_eq!((fault.point, fault.signal), ("claimed", Signal::STOP));
            FAULT.set(fault).unwrap();
            let turns: Vec<bool> = (0..5).map(|_| turn("claimed").is_some()).collect();
            assert_eq!(turns, [false, false, true, false, false]);
            assert!(turn("polled").is_none());
        }

        #[test]
        fn what_is_no_fault_is_refused() {
            for text in [
                "",
                "claimed",
                "claimed:term",
                "nowhere:kill",
                "asked:kill:0",
            ] {
                assert!(parse(text).is_none(), "{text}");
            }
            assert!(
                arm("claimed:kill:1:2")
                    .unwrap_err()
                    .contains("expected <point>")
            );
        }
    }
}
