//! A core is driven through its recovery by hand: what it counts and remembers on the way.

use super::*;
use crate::domain::event::{Reason, Refusal};
use crate::domain::order::{MarkKey, OrderKey};
use crate::domain::result::{OrderResult, Outcome};
use crate::domain::status::Terminal;
use crate::kafka::{Ends, EventRecord, ResultRecord};
use crate::metrics::label::{EventOutcome, ResultKind};
use crate::shard::core::input::Input;
use crate::shard::core::plan::Plan;
use crate::store::script::{Body, Floor, Reply, Token};

const NOW: Millis = 1_800_000_000_000;

/// One shard, and the world's answers as a test gives them.
struct Driven {
    core: Core,
    mono: Millis,
    notes: Vec<Note>,
    commands: Vec<Command>,
}

impl Driven {
    fn assigned() -> Self {
        let mut driven = Self {
            core: Core::new(Plan::new(0, 1, 3_600_000, Vec::new()), 0),
            mono: 0,
            notes: Vec::new(),
            commands: Vec::new(),
        };
        driven.give(Input::Assigned);
        driven
    }

    /// One input, and the replies to the scripts that it leads to.
    fn give(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut out = Output::default();
            let generation = self.core.generation();
            self.core.step(self.mono, generation, input, &mut out);
            self.core.flush(&mut out);
            self.notes.append(&mut out.notes);
            for command in out.commands {
                match command {
                    Command::Run(script) => {
                        next = Some(Input::Replied(Ok(match &script.body {
                            Body::Settle(_) => Reply::Settled,
                            Body::EndLeases { .. } => Reply::LeasesEnded {
                                ended: 0,
                                next_second: None,
                            },
                            Body::Sweep { .. } => Reply::Swept {
                                repaired: 0,
                                next_hash: 1,
                            },
                            Body::DropMarks { .. } => Reply::MarksDropped { more: false },
                            other => unreachable!("{other:?}"),
                        })));
                    }
                    other => self.commands.push(other),
                }
            }
        }
    }

    /// From the acquire to the reading of results up to `end`; in a rebuild, events below `known_below`
    /// were dealt with before.
    fn recover(&mut self, r: u64, end: u64, known_below: Option<u64>) {
        let floor = Floor { e: 0, r };
        let meta = Meta {
            shards: 1,
            epoch: 1,
            token: Token(7),
            version: 1,
            e: 0,
            r,
            rebuild: known_below.map(|_| r),
            clock: 0,
            now: NOW,
            mark_key: MarkKey([0; 16]),
            types: Vec::new(),
        };
        if let Some(known_below) = known_below {
            self.give(Input::Acquired(Ok(Acquired::Absent)));
            self.give(Input::FloorFound(Ok(FloorFound { floor, known_below })));
        }
        self.give(Input::Acquired(Ok(Acquired::Owned(meta))));
        self.give(Input::Fenced(Ok(())));
        self.ends(2, end);
    }

    fn ends(&mut self, events: u64, results: u64) {
        let ends = |high| Ends { low: 0, high };
        self.give(Input::Ends(Ok(LogEnds {
            events: ends(events),
            results: ends(results),
        })));
    }

    fn results(&mut self, offsets: std::ops::Range<u64>) {
        let end = offsets.end;
        let records = offsets.map(settled).collect();
        self.give(Input::Results(records, end));
    }

    fn counted(&mut self) -> usize {
        let result = Note::Result(ResultKind::SettledSuccess);
        let notes = std::mem::take(&mut self.notes);
        notes.into_iter().filter(|note| *note == result).count()
    }
}

fn settled(offset: u64) -> ResultRecord {
    let key = OrderKey::parse(&format!("transfer/TX{offset}")).unwrap();
    ResultRecord {
        offset,
        appended: NOW,
        result: Some(OrderResult {
            key,
            phase: 0,
            outcome: Outcome::Settled {
                status: Terminal::Success,
                source: "test".to_owned(),
                rsp_no: None,
                ret_cd: None,
                ret_msg: None,
            },
            asked: 1,
            first_seen: NOW,
            at: NOW,
            event: (0, offset),
            traceparent: None,
        }),
    }
}

fn garbage(offset: u64) -> EventRecord {
    EventRecord {
        offset,
        appended: NOW,
        traceparent: None,
        forwarded: false,
        event: Err(Refusal::new(Reason::NotJson, "no JSON")),
        original: None,
    }
}

#[test]
fn a_result_that_a_rolled_back_view_reads_again_is_counted_once() {
    let mut shard = Driven::assigned();
    shard.recover(0, 3, None);
    shard.results(0..3);
    assert_eq!(shard.counted(), 3, "what the old owner left");
    shard.give(Input::Published(Err("fenced".to_owned())));
    shard.mono += 10_000;
    shard.give(Input::Tick);
    shard.recover(1, 4, None);
    shard.results(1..4);
    assert_eq!(shard.counted(), 1, "the last one is new");
}

#[test]
fn the_history_that_a_rebuild_reads_is_not_counted_and_what_comes_after_is() {
    let mut shard = Driven::assigned();
    shard.recover(0, 3, Some(0));
    shard.results(0..3);
    assert_eq!(shard.counted(), 0);
    shard.results(3..5);
    assert_eq!(shard.counted(), 2);
}

#[test]
fn a_dead_letter_is_counted_when_it_is_acknowledged() {
    let mut shard = Driven::assigned();
    shard.recover(0, 0, None);
    shard.give(Input::Events(vec![garbage(0), garbage(1)], 2));
    let kept = Note::DeadLetter(Reason::NotJson);
    assert!(!shard.notes.contains(&kept));
    for acknowledged in 1..=2 {
        shard.give(Input::Acknowledged(acknowledged - 1, Ok(())));
        let told = shard.notes.iter().filter(|note| **note == kept).count();
        assert_eq!(told as u64, acknowledged);
    }
}

#[test]
fn garbage_from_before_a_wipe_is_neither_kept_again_nor_left_uncounted() {
    let mut shard = Driven::assigned();
    shard.recover(0, 0, Some(1));
    shard.give(Input::Events(vec![garbage(0), garbage(1)], 2));
    let letters = shard.commands.iter().filter_map(|command| match command {
        Command::DeadLetter { offset, .. } => Some(*offset),
        _ => None,
    });
    assert_eq!(letters.collect::<Vec<_>>(), [1]);
    let repeated = Note::Event(EventOutcome::Repeated);
    assert!(shard.notes.contains(&repeated));
}

#[test]
fn the_intake_clock_stands_at_the_question_for_the_ends_not_at_its_answer() {
    let mut shard = Driven::assigned();
    shard.recover(0, 0, None);
    shard.give(Input::Events(vec![garbage(0), garbage(1)], 2));
    for offset in 0..2 {
        shard.give(Input::Acknowledged(offset, Ok(())));
    }
    // A script brings E to the end, then the survey asks.
    shard.mono += 1_000;
    shard.give(Input::Tick);
    shard.mono += 10_000;
    let asked_at = NOW + shard.mono;
    shard.give(Input::Tick);
    let asked = |command: &Command| matches!(command, Command::AskEnds);
    assert_eq!(shard.commands.iter().filter(|c| asked(c)).count(), 2);
    // An event may be appended while the answer is on its way.
    shard.mono += 4_000;
    shard.ends(2, 0);
    let caught_up = shard.core.own.as_ref().unwrap().caught_up;
    assert_eq!(caught_up, Some(asked_at));
}
