//! What a search is about: what is said about which orders, what their owner knows, and how many
//! faults of which kind may strike.

use super::super::order_types::TIMEOUT;
use super::super::world::said::{SHARD, SHARDS, Said, order};
use super::happening::Manner;
use crate::domain::order::{Millis, OrderKey, TypeName};
use crate::domain::schedule::{Ladder, Schedule};
use crate::domain::status::{Open, Terminal};
use crate::shard::core::plan::{Plan, TypePlan};

/// X, Y, Z, and one that was settled before a scenario begins.
pub const ORDERS: usize = 4;
pub const OLD: usize = 3;

/// How many faults of each kind may strike, and how many of some other happenings a run may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The shard is taken in the store; without a bound two owners could go on for ever.
    pub acquires: u8,
    /// A process dies with all its memory.
    pub crashes: u8,
    /// The shard is revoked, and the old owner knows.
    pub moves: u8,
    /// The shard is taken away, and the old owner does not know.
    pub takeovers: u8,
    /// The view goes back to a snapshot that was taken at any moment before.
    pub rollbacks: u8,
    /// The view is gone.
    pub wipes: u8,
    /// The reply of a script or of an acquire is lost; the script ran, or did not.
    pub lost: u8,
    /// A script arrives after its sender was told that its reply is lost, or was replaced.
    pub late: u8,
    /// The store is full and refuses a fold.
    pub full: u8,
    /// A commit fails, or its fate is unknown and it may land later.
    pub commits: u8,
    /// The coordinator ends a transaction that was open for too long.
    pub timeouts: u8,
    /// Somebody else's open transaction in `order-results`.
    pub foreign: u8,
    /// The owner could not be asked.
    pub unasked: u8,
    /// A dead letter or forward that is not acknowledged.
    pub letters: u8,
    /// An answer to a question of an old generation arrives.
    pub echoes: u8,
    /// Time passes for longer than any lease while something is under way.
    pub stalls: u8,
    /// The floor is computed; each may be committed late.
    pub floors: u8,
    /// More than the dedupe window passes.
    pub nights: u8,
}

impl Faults {
    /// Acquires that these faults may lead to, when each strikes alone: a wiped view is taken in two
    /// steps, and an owner that does not know of its end takes the shard back once.
    fn recoveries(&self) -> u8 {
        let once = [
            self.crashes,
            self.moves,
            self.rollbacks,
            self.commits,
            self.timeouts,
            self.letters,
            self.lost,
            self.late,
        ];
        once.iter().sum::<u8>() + 2 * self.wipes + 3 * self.takeovers + 2 * u8::from(self.full > 0)
    }

    /// A letter that fares so uses up a fault.
    pub fn spend(&mut self, manner: Manner) {
        match manner {
            Manner::ReplyLost | Manner::RequestLost => self.lost -= 1,
            Manner::Full => self.full -= 1,
            Manner::NotCommitted | Manner::Late => self.commits -= 1,
            Manner::NotKept => self.letters -= 1,
            Manner::Unasked => self.unasked -= 1,
            Manner::Stale => self.echoes -= 1,
            Manner::Well | Manner::Terminal | Manner::InProgress => {}
        }
    }
}

/// A small world to be searched.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub events: Vec<Say>,
    /// So many events have come to their end before it begins.
    pub before: usize,
    /// So many more are in the log from the beginning; the others come at any moment.
    pub first: usize,
    /// What the owner knows of X, Y and Z; `None`: it is in progress for ever.
    pub truths: [Option<Terminal>; ORDERS],
    /// The owner may say «in progress» before it says what it knows.
    pub hesitates: bool,
    /// Questions of an order's schedule.
    pub questions: u8,
    /// Begins with the first recovery over an empty store, instead of behind it.
    pub from_nothing: bool,
    pub faults: Faults,
}

impl Scenario {
    /// Reads «events; options and faults».
    ///
    /// Events, in the order of the log: `X3` pending, `X1` and `X2` terminal, `Xq1` a requeue that opens
    /// phase 1, `G` garbage, `M` an order of another shard; what stands before a `|` has come to its
    /// end when it begins. Options: `first=2` events are there from the beginning (1 if nothing is
    /// said); `bank=13` is what the owner knows of X and Y (1 if nothing is said); `frank`: it does not
    /// say «in progress» first; `questions=1` instead of 2; `nothing`: the first recovery is a part of
    /// it. Faults are the singular of the fields of [`Faults`], each once, or as often as `crash=2`
    /// says.
    pub fn read(text: &'static str) -> Self {
        let (says, words) = text.split_once(';').unwrap();
        let (before, says) = says.split_once('|').unwrap_or(("", says));
        let said = |text: &'static str| text.split_whitespace().map(Say::parse);
        let mut scenario = Self {
            events: said(before).chain(said(says)).collect(),
            before: said(before).count(),
            first: 1,
            truths: [Some(Terminal::Success); ORDERS],
            hesitates: true,
            questions: 2,
            from_nothing: false,
            faults: Faults::default(),
        };
        for word in words.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, "1"));
            scenario.set(name, value);
        }
        if scenario.faults.acquires == 0 {
            scenario.faults.acquires =
                scenario.faults.recoveries() + 2 * u8::from(scenario.from_nothing);
        }
        scenario
    }

    fn set(&mut self, name: &str, value: &str) {
        let faults = &mut self.faults;
        let fault = match name {
            "first" => return self.first = value.parse().unwrap(),
            "questions" => &mut self.questions,
            "frank" => return self.hesitates = false,
            "nothing" => return self.from_nothing = true,
            "bank" => {
                for (truth, code) in self.truths.iter_mut().zip(value.chars()) {
                    *truth = match code {
                        '1' => Some(Terminal::Success),
                        '2' => Some(Terminal::Failure),
                        _ => None,
                    };
                }
                return;
            }
            "acquire" => &mut faults.acquires,
            "crash" => &mut faults.crashes,
            "move" => &mut faults.moves,
            "takeover" => &mut faults.takeovers,
            "rollback" => &mut faults.rollbacks,
            "wipe" => &mut faults.wipes,
            "lost" => &mut faults.lost,
            "late" => &mut faults.late,
            "full" => &mut faults.full,
            "commit" => &mut faults.commits,
            "timeout" => &mut faults.timeouts,
            "foreign" => &mut faults.foreign,
            "unasked" => &mut faults.unasked,
            "letter" => &mut faults.letters,
            "echo" => &mut faults.echoes,
            "stall" => &mut faults.stalls,
            "floor" => &mut faults.floors,
            "night" => &mut faults.nights,
            _ => panic!("{name}: not known"),
        };
        *fault = value.parse().unwrap();
    }
}

/// An event before it is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    Pending(usize),
    Final(usize, Terminal),
    Requeue(usize, u16),
    Garbage,
    Misplaced,
}

impl Say {
    fn parse(text: &'static str) -> Self {
        let what = text.get(1..).unwrap_or_default();
        let who = match &text[..1] {
            "X" => 0,
            "Y" => 1,
            "Z" => 2,
            "G" => return Self::Garbage,
            "M" => return Self::Misplaced,
            _ => panic!("{text}: nobody says so"),
        };
        match what {
            "3" => Self::Pending(who),
            "1" => Self::Final(who, Terminal::Success),
            "2" => Self::Final(who, Terminal::Failure),
            phase => Self::Requeue(who, phase[1..].parse().unwrap()),
        }
    }

    /// The phase that it opens.
    pub fn phase(&self) -> u16 {
        match self {
            Self::Requeue(_, phase) => *phase,
            _ => 0,
        }
    }

    /// As it is appended at `at`.
    pub fn said(self, orders: &[OrderKey], at: Millis) -> Said {
        let query = r#"{"bank":"CMB"}"#;
        match self {
            Self::Pending(who) => {
                Said::pending(&orders[who], at, Open::InProgress).with_query(query)
            }
            Self::Final(who, status) => Said::settle(&orders[who], at, status),
            Self::Requeue(who, phase) => Said::requeue(&orders[who], at, phase).with_query(query),
            Self::Garbage => Said::garbage(),
            Self::Misplaced => Said::pending(&order("pay", 9, false), at, Open::InProgress),
        }
    }
}

/// Short enough that a night ends it, and that the marks of a few seconds ago are dropped then.
const SHORT_WINDOW: Millis = 120_000;
const DAY: Millis = 86_400_000;

/// A floor and a look at the ends with each great step of time.
const SURVEYS: Millis = 11_000;
const NEVER: Millis = 1 << 40;

impl Scenario {
    pub fn plan(&self) -> Plan {
        let ladder = |text: String| Ladder::parse(&[text]).unwrap();
        let questions = self.questions;
        let schedule = Schedule {
            in_progress: ladder(format!("1s x {questions}")),
            unknown: ladder(format!("1s x {questions}")),
            ..Schedule::default()
        };
        let kind = TypePlan {
            name: TypeName::new("pay").unwrap(),
            schedule,
            timeout: TIMEOUT / 2,
        };
        let night = self.faults.nights > 0;
        let window = if night { SHORT_WINDOW } else { DAY };
        let surveys = night || self.faults.floors > 0;
        let mut plan = Plan::new(SHARD, SHARDS, window, vec![kind]);
        plan.survey_every = if surveys { SURVEYS } else { NEVER };
        plan.floor_every = SURVEYS;
        // What is due is sent at once: waiting for company is no matter of the protocol.
        plan.linger = 0;
        // Shorter than the small step of time, so that a second recovery rests for one.
        plan.rest = 200;
        plan
    }
}
