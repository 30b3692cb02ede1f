use super::*;
use crate::domain::event::{Event, TerminalEvent};
use crate::domain::order::ReqNo;
use crate::domain::result::OrderResult;
use crate::domain::status::{Open, Terminal};
use crate::kafka::Original;

const WINDOW: Millis = 100_000;
const NOW: Millis = 1_000_000;

/// A shard of one, with everything folded.
struct World {
    view: Option<Positions>,
    heads: Heads,
    records: Vec<(OrderKey, Record)>,
    results: Vec<ResultRecord>,
    events: Vec<EventRecord>,
    shards: u16,
}

fn key(number: &str) -> OrderKey {
    OrderKey {
        order_type: TypeName::new("pay").unwrap(),
        req_no: ReqNo::new(number).unwrap(),
    }
}

impl World {
    fn new() -> Self {
        Self {
            view: Some(Positions {
                e: 1_000,
                r: 1_000,
                now: NOW,
                types: [TypeName::new("pay").unwrap()].into(),
            }),
            heads: Heads {
                events: 0,
                results_since: 0,
            },
            records: Vec::new(),
            results: Vec::new(),
            events: Vec::new(),
            shards: 1,
        }
    }

    /// An event that says `3`, or this terminal status.
    fn event(mut self, number: &str, offset: u64, terminal: Option<Terminal>) -> Self {
        let appended = NOW - 50_000 + offset;
        let body = match terminal {
            None => Body::Pending {
                status: Open::InProgress,
                ask_at: None,
                query: None,
            },
            Some(status) => Body::Terminal(Box::new(TerminalEvent {
                status,
                source: "test".to_owned(),
                rsp_no: None,
                ret_cd: None,
                ret_msg: None,
            })),
        };
        self.events.push(EventRecord {
            offset,
            appended,
            traceparent: None,
            forwarded: false,
            event: Ok(Event {
                key: key(number),
                at: appended,
                body,
            }),
            original: Some(Box::new(Original {
                key: None,
                value: Some(number.as_bytes().to_vec()),
                headers: Vec::new(),
            })),
        });
        self
    }

    fn pending(self, number: &str, offset: u64) -> Self {
        self.event(number, offset, None)
    }

    fn viewed(mut self, number: &str, record: Record) -> Self {
        self.records.push((key(number), record));
        self
    }

    fn result(mut self, number: &str, offset: u64, outcome: Outcome) -> Self {
        self.results.push(ResultRecord {
            offset,
            appended: NOW - 20_000 + offset,
            result: Some(OrderResult {
                key: key(number),
                phase: 0,
                outcome,
                asked: 1,
                first_seen: 0,
                at: 0,
                event: (0, 5),
                traceparent: None,
            }),
        });
        self
    }

    fn settled(self, number: &str, offset: u64, status: Terminal) -> Self {
        let outcome = Outcome::Settled {
            status,
            source: "inquiry".to_owned(),
            rsp_no: None,
            ret_cd: None,
            ret_msg: None,
        };
        self.result(number, offset, outcome)
    }

    fn exhausted(self, number: &str, offset: u64) -> Self {
        let outcome = Outcome::Exhausted {
            status: Open::Unknown,
            reason: "schedule ended".to_owned(),
            query: None,
        };
        self.result(number, offset, outcome)
    }

    fn look(&self, only: Option<Arc<HashSet<Id>>>) -> Found {
        let terms = Terms {
            shards: self.shards,
            window: WINDOW,
            slack: 60_000,
            configured: [TypeName::new("pay").unwrap()].into(),
        };
        let mut books = Books::new(Arc::new(terms), 0, only);
        if let Some(view) = &self.view {
            books.positions(view.clone());
        }
        for (key, record) in &self.records {
            books.viewed(key, record);
        }
        self.results.iter().for_each(|result| books.result(result));
        self.events.iter().for_each(|event| books.event(event));
        books.close(&self.heads)
    }

    /// The figures, and the differences of a second look as `kind order`.
    fn verdict(&self) -> (Figures, Vec<String>) {
        let first = self.look(None);
        let second = self.look(Some(Arc::new(first.suspects.clone())));
        assert_eq!(first.suspects, second.suspects);
        let mut figures = first.clean;
        figures.add(&second.clean);
        figures.add(&second.suspected);
        let told = first.facts.examples().chain(second.differences.examples());
        let told = told.map(|difference| {
            let order = difference.order.as_deref().unwrap_or("-");
            format!("{} {order}", difference.kind.text())
        });
        (figures, told.collect())
    }

    fn differences(&self) -> Vec<String> {
        self.verdict().1
    }
}

const NONE: [String; 0] = [];

fn due_soon() -> Record {
    Record {
        due: NOW + 1_000,
        event_offset: 5,
        ..Record::default()
    }
}

#[test]
fn what_is_settled_exhausted_pending_or_not_folded_adds_up() {
    let exhausted = Record {
        exhausted: true,
        ..due_soon()
    };
    let (figures, differences) = World::new()
        .pending("S", 1)
        .settled("S", 1, Terminal::Success)
        .pending("X", 2)
        .exhausted("X", 2)
        .viewed("X", exhausted)
        .pending("P", 3)
        .viewed("P", due_soon())
        .pending("U", 1_000)
        .verdict();
    assert_eq!(differences, NONE);
    let expected = Figures {
        accepted: 4,
        settled: 1,
        exhausted: 1,
        pending: 2,
        unfolded: 1,
        ..Figures::default()
    };
    assert_eq!(figures, expected);
}

#[test]
fn a_folded_order_without_result_and_record_is_unaccounted() {
    let world = World::new().pending("A", 999).pending("B", 1_000);
    let (figures, differences) = world.verdict();
    assert_eq!(differences, ["unaccounted pay/A"]);
    assert_eq!((figures.accepted, figures.pending), (2, 1));
    let exhausted = World::new().pending("A", 1).exhausted("A", 1);
    assert_eq!(exhausted.differences(), ["unaccounted pay/A"]);
}

#[test]
fn without_a_view_nothing_that_is_open_is_accounted_for() {
    let mut world = World::new()
        .pending("A", 1)
        .pending("B", 2)
        .settled("B", 1, Terminal::Failure);
    world.view = None;
    assert_eq!(world.differences(), ["unaccounted pay/A"]);
}

#[test]
fn an_order_accepted_before_the_oldest_result_is_untold() {
    let mut world = World::new().pending("A", 1);
    world.heads.results_since = NOW - 40_000;
    let (figures, differences) = world.verdict();
    assert_eq!(differences, NONE);
    assert_eq!((figures.untold, figures.accepted), (1, 0));
}

#[test]
fn an_order_without_an_event_is_an_orphan_unless_retention_took_the_event() {
    let mut world = World::new().viewed("A", due_soon());
    assert_eq!(world.differences(), ["orphan pay/A"]);
    world.heads.events = 6;
    let (figures, differences) = world.verdict();
    assert_eq!(differences, NONE);
    assert_eq!((figures.accepted, figures.pending), (1, 1));
}

#[test]
fn a_result_without_an_event_is_a_phantom_unless_retention_took_the_event() {
    let mut world = World::new().settled("A", 1, Terminal::Success);
    assert_eq!(world.differences(), ["phantom pay/A"]);
    world.heads.events = 6;
    let (figures, differences) = world.verdict();
    assert_eq!(differences, NONE);
    assert_eq!((figures.accepted, figures.older), (0, 1));
}

#[test]
fn a_second_settled_result_is_repeated_or_contradicted() {
    let settled = World::new()
        .pending("A", 1)
        .settled("A", 1, Terminal::Success);
    let repeated = settled.settled("A", 9, Terminal::Success);
    assert_eq!(repeated.differences(), ["repeated pay/A"]);
    let settled = World::new()
        .pending("A", 1)
        .settled("A", 1, Terminal::Success);
    let contradicted = settled.settled("A", 9, Terminal::Failure);
    assert_eq!(contradicted.differences(), ["contradicted pay/A"]);
    let exhausted = World::new()
        .pending("A", 1)
        .exhausted("A", 1)
        .exhausted("A", 2)
        .settled("A", 3, Terminal::Success);
    assert_eq!(exhausted.differences(), ["repeated pay/A"]);
}

#[test]
fn a_number_used_again_after_the_window_is_a_new_order() {
    let mut world = World::new()
        .pending("A", 1)
        .settled("A", 1, Terminal::Success)
        .settled("A", 2, Terminal::Failure);
    // The window and the second in which the first was appended.
    world.results[1].appended = world.results[0].appended + WINDOW + 1_000;
    assert_eq!(world.differences(), NONE);
    let mut again = World::new()
        .pending("A", 1)
        .settled("A", 1, Terminal::Success)
        .pending("A", 2)
        .viewed("A", due_soon());
    assert_eq!(again.differences(), ["lingering pay/A"]);
    if let Ok(event) = &mut again.events[1].event {
        event.at = NOW + WINDOW;
        again.events[1].appended = NOW + WINDOW;
    }
    assert_eq!(again.differences(), NONE);
}

#[test]
fn a_folded_result_that_the_view_does_not_show_is_told() {
    let mut world = World::new()
        .pending("A", 1)
        .settled("A", 7, Terminal::Success)
        .viewed("A", due_soon());
    assert_eq!(world.differences(), ["lingering pay/A"]);
    // It is committed and not read back.
    world.view.as_mut().unwrap().r = 7;
    assert_eq!(world.differences(), NONE);
    let exhausted = World::new()
        .pending("A", 1)
        .exhausted("A", 7)
        .viewed("A", due_soon());
    assert_eq!(exhausted.differences(), ["lingering pay/A"]);
    let requeued = Record {
        phase: 1,
        ..due_soon()
    };
    let requeued = World::new()
        .pending("A", 1)
        .exhausted("A", 7)
        .viewed("A", requeued);
    assert_eq!(requeued.differences(), NONE);
}

#[test]
fn a_terminal_event_that_was_passed_without_a_result_is_told() {
    let world = |offset| {
        World::new()
            .pending("A", 1)
            .event("A", offset, Some(Terminal::Success))
            .viewed("A", due_soon())
    };
    assert_eq!(world(999).differences(), ["unsettled pay/A"]);
    assert_eq!(world(1_000).differences(), NONE);
}

#[test]
fn an_exhaustion_that_only_the_view_knows_is_told() {
    let exhausted = Record {
        exhausted: true,
        ..due_soon()
    };
    let mut world = World::new().pending("A", 1).viewed("A", exhausted);
    assert_eq!(world.differences(), ["unpublished pay/A"]);
    world.heads.results_since = NOW - 40_000;
    assert_eq!(world.differences(), NONE);
}

#[test]
fn a_pending_order_is_overdue_after_the_slack_and_its_lease() {
    let late = Record {
        due: NOW - 60_001,
        ..due_soon()
    };
    let world = |record| World::new().pending("A", 1).viewed("A", record);
    assert_eq!(world(late).differences(), ["overdue pay/A"]);
    let within = Record {
        due: NOW - 60_000,
        ..late
    };
    assert_eq!(world(within).differences(), NONE);
    let leased = Record {
        leased: true,
        bucket: (NOW / 1000) as u32,
        ..late
    };
    assert_eq!(world(leased).differences(), NONE);
}

#[test]
fn a_stale_event_makes_no_order_but_explains_a_result() {
    let mut world = World::new().pending("A", 1);
    if let Ok(event) = &mut world.events[0].event {
        event.at -= WINDOW + 1;
    }
    assert_eq!(world.verdict(), (Figures::default(), vec![]));
    assert_eq!(world.settled("A", 1, Terminal::Success).differences(), NONE);
}

#[test]
fn a_type_beyond_the_limit_makes_no_order() {
    let mut world = World::new().pending("A", 1);
    if let Ok(event) = &mut world.events[0].event {
        event.key.order_type = TypeName::new("unheard-of").unwrap();
    }
    assert_eq!(world.differences(), ["unaccounted unheard-of/A"]);
    let unknown = (0..UNKNOWN_TYPES).map(|n| TypeName::new(&format!("t{n}")).unwrap());
    world.view.as_mut().unwrap().types.extend(unknown);
    assert_eq!(world.verdict(), (Figures::default(), vec![]));
}

#[test]
fn a_result_of_nobody_and_one_in_a_foreign_partition_are_told() {
    let mut world = World::new().settled("A", 1, Terminal::Success);
    world.shards = 64;
    assert_ne!(key("A").shard(64), 0);
    world.results.push(ResultRecord {
        offset: 2,
        appended: NOW,
        result: None,
    });
    assert_eq!(world.differences(), ["misplaced pay/A", "foreign -"]);
}

#[test]
fn a_misplaced_event_is_owed_once_it_was_passed_and_a_copy_says_so() {
    let mut world = World::new().pending("A", 1).pending("A", 1_000);
    world.shards = 64;
    let found = world.look(None);
    let event = Misplaced {
        at: (0, 1),
        home: key("A").shard(64),
        appended: world.events[0].appended,
    };
    assert_eq!(found.misplaced, [(forwards::hash(b"A"), event)]);
    assert_eq!(found.clean.misplaced, 2);
    let mut home = World::new().pending("A", 1);
    home.events[0].forwarded = true;
    assert_eq!(home.look(None).copies, [forwards::hash(b"A")]);
}
