use super::*;
use crate::domain::event::{Author, TerminalEvent};
use crate::domain::order::TypeName;
use crate::domain::status::Open;

const SHARDS: u16 = 4;
const NOW: Millis = 1_795_417_200_000;
/// Long after every question of the schedule below.
const LATER: Millis = NOW + 60_000;

fn terms() -> Terms {
    Terms {
        events_topic: "order-events".to_owned(),
        shards: SHARDS,
        window: 86_400_000,
        configured: TypeName::new("t").into_iter().collect(),
        question_ages: Some(vec![1_000, 3_000, 7_000]),
        began_at: vec![0; SHARDS.into()],
    }
}

fn key(number: &str) -> OrderKey {
    OrderKey::parse(&format!("t/{number}")).unwrap()
}

fn home(number: &str) -> u16 {
    key(number).shard(SHARDS)
}

fn event(number: &str, offset: u64, body: Body) -> Seen {
    let event = Event {
        key: key(number),
        at: NOW,
        body,
    };
    let value = event.encode(Author::System("test"));
    Seen::Event {
        at: (home(number), offset),
        appended: NOW,
        forwarded: false,
        value,
    }
}

fn pending(number: &str, offset: u64) -> Seen {
    event(
        number,
        offset,
        Body::Pending {
            status: Open::InProgress,
            ask_at: None,
            query: None,
        },
    )
}

fn terminal(number: &str, offset: u64, status: Terminal) -> Seen {
    let said = TerminalEvent {
        status,
        source: "test".to_owned(),
        rsp_no: None,
        ret_cd: None,
        ret_msg: None,
    };
    event(number, offset, Body::Terminal(Box::new(said)))
}

fn result(number: &str, offset: u64, outcome: Outcome) -> Seen {
    let result = OrderResult {
        key: key(number),
        phase: 0,
        outcome,
        asked: 2,
        first_seen: NOW,
        at: NOW,
        event: (home(number), 0),
        traceparent: None,
    };
    Seen::Result {
        at: (home(number), offset),
        key: key(number).to_string().into(),
        value: result.encode(),
    }
}

fn settled(number: &str, offset: u64, status: Terminal, source: &str) -> Seen {
    let source = source.to_owned();
    result(
        number,
        offset,
        Outcome::Settled {
            status,
            source,
            rsp_no: None,
            ret_cd: None,
            ret_msg: None,
        },
    )
}

fn exhausted(number: &str, offset: u64) -> Seen {
    result(
        number,
        offset,
        Outcome::Exhausted {
            status: Open::Unknown,
            reason: "ended".to_owned(),
            query: None,
        },
    )
}

fn letter((partition, offset): Place, reason: &str) -> Seen {
    Seen::DeadLetter {
        key: format!("order-events/{partition}/{offset}").into(),
        reason: reason.to_owned(),
    }
}

fn asked(number: &str, given: &str) -> String {
    let order = key(number);
    format!(r#"{{"order":"{order}","attempt":1,"arrived":{NOW},"given":"{given}"}}"#)
}

/// Records and questions of a run in which nothing went wrong.
fn good_run() -> (Vec<Seen>, Vec<String>) {
    let misplaced = |forwarded, partition, offset| match pending("MISPLACED", offset) {
        Seen::Event {
            appended, value, ..
        } => Seen::Event {
            at: (partition, offset),
            appended,
            forwarded,
            value,
        },
        other => other,
    };
    let foreign = (home("MISPLACED") + 1) % SHARDS;
    let garbage = Seen::Event {
        at: (3, 900),
        appended: NOW,
        forwarded: false,
        value: b"garbage".to_vec(),
    };
    let records = vec![
        pending("ASKED", 0),
        pending("ASKED", 1),
        settled("ASKED", 0, Terminal::Success, "inquiry"),
        pending("TOLD", 2),
        terminal("TOLD", 3, Terminal::Failure),
        settled("TOLD", 1, Terminal::Failure, "test"),
        terminal("TOLD", 4, Terminal::Success),
        letter((home("TOLD"), 4), "conflict"),
        misplaced(false, foreign, 500),
        misplaced(true, home("MISPLACED"), 501),
        settled("MISPLACED", 2, Terminal::Success, "inquiry"),
        pending("EXHAUSTED", 5),
        exhausted("EXHAUSTED", 3),
        garbage,
        letter((3, 900), "not-json"),
        letter((3, 900), "not-json"),
    ];
    let answers = [
        ("ASKED", "3"),
        ("ASKED", "1"),
        ("MISPLACED", "3"),
        ("MISPLACED", "1"),
        ("EXHAUSTED", "4"),
    ];
    (
        records,
        answers.map(|(number, given)| asked(number, given)).to_vec(),
    )
}

fn audit<'a>(records: impl IntoIterator<Item = &'a Seen>, questions: &[String]) -> Audit {
    let mut audit = Audit::new(terms());
    for line in questions {
        audit.question(line);
    }
    records.into_iter().for_each(|seen| audit.take(seen));
    audit
}

#[test]
fn a_good_run_is_verified_in_whatever_order_it_is_read() {
    let (records, questions) = good_run();
    let forwards = audit(&records, &questions).verdict(LATER);
    assert_eq!(forwards.differences(), 0, "{forwards:?}");
    let standing = Standing {
        accepted: 4,
        settled: 3,
        exhausted: 1,
        pending: 0,
        due: 0,
    };
    assert_eq!(forwards.standing, standing);
    let backwards = audit(records.iter().rev(), &questions).verdict(LATER);
    assert_eq!(
        (backwards.differences(), backwards.standing),
        (0, standing),
        "{backwards:?}"
    );
    let mut late_log = audit(&records, &[]);
    for line in &questions {
        late_log.question(line);
    }
    assert_eq!(late_log.verdict(LATER).differences(), 0);
}

#[test]
fn a_record_that_is_dropped_makes_a_difference_whichever_it_is() {
    let (records, questions) = good_run();
    // What says nothing that another record does not say as well: the two events of ASKED, the first
    // of two of TOLD, the misplaced original of a copy, the two dead letters of the garbage.
    let said_twice = [0, 1, 3, 8, 14, 15];
    for dropped in 0..records.len() {
        let rest = records
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != dropped)
            .map(|(_, seen)| seen);
        let verdict = audit(rest, &questions).verdict(LATER);
        let noticed = verdict.differences() > 0;
        assert_eq!(
            noticed,
            !said_twice.contains(&dropped),
            "{dropped}: {:?}",
            records[dropped]
        );
    }
}

#[test]
fn a_second_settled_result_is_wrong_even_if_it_agrees() {
    let (mut records, questions) = good_run();
    records.push(settled("ASKED", 9, Terminal::Success, "inquiry"));
    let verdict = audit(&records, &questions).verdict(LATER);
    assert_eq!(
        verdict.wrong,
        ["t/ASKED: two settled results, the second at 0/9"
            .replace("0/9", &format!("{}/9", home("ASKED")))]
    );
}

#[test]
fn a_result_must_say_what_the_bank_or_the_event_said() {
    for (source, status) in [("inquiry", Terminal::Failure), ("test", Terminal::Success)] {
        let records = [pending("A", 0), settled("A", 0, status, source)];
        let verdict = audit(&records, &[asked("A", "3"), asked("A", "1")]).verdict(LATER);
        assert_eq!(verdict.wrong.len(), 1, "{source}: {verdict:?}");
    }
}

#[test]
fn without_the_banks_log_only_events_are_compared() {
    let mut audit = Audit::new(Terms {
        question_ages: None,
        ..terms()
    });
    audit.take(&pending("A", 0));
    audit.take(&settled("A", 0, Terminal::Failure, "inquiry"));
    audit.take(&pending("B", 1));
    let verdict = audit.verdict(LATER);
    assert_eq!(
        (verdict.differences(), verdict.by_the_banks_log),
        (0, false)
    );
    assert_eq!(verdict.standing.pending, 1);
}

#[test]
fn an_order_is_pending_only_until_its_question_is_overdue() {
    let mut audit = audit(&[pending("A", 0)], &[asked("A", "3")]);
    // Its second question is due 3 s after the event.
    let early = audit.verdict(NOW + 2_999);
    assert_eq!(
        (
            early.differences(),
            early.standing.pending,
            early.standing.due
        ),
        (0, 1, 0)
    );
    let soon = audit.verdict(NOW + 5_000);
    assert_eq!((soon.differences(), soon.standing.due), (0, 1));
    assert_eq!(audit.verdict(LATER).missing.len(), 1);
    // As long as older orders are being asked about it is only a queue.
    audit.question(&format!(
        r#"{{"order":"t/X","arrived":{LATER},"given":"3"}}"#
    ));
    assert_eq!(audit.verdict(LATER).differences(), 0);
}

#[test]
fn an_order_of_an_earlier_run_is_not_due_by_this_banks_log() {
    let mut audit = Audit::new(Terms {
        began_at: vec![1; SHARDS.into()],
        ..terms()
    });
    audit.take(&pending("OLD", 0));
    // Repeated in this run, which opens nothing.
    audit.take(&pending("OLD", 1));
    // What it was asked before, and so what is due next, is not known here.
    audit.question(&asked("OLD", "3"));
    let verdict = audit.verdict(LATER);
    assert_eq!((verdict.differences(), verdict.standing.due), (0, 0));
    assert_eq!(verdict.standing.pending, 1);
    let (phase, query) = (1, None);
    audit.take(&event("OLD", 2, Body::Requeue { phase, query }));
    let verdict = audit.verdict(LATER);
    assert_eq!((verdict.missing.len(), verdict.standing.due), (1, 1));
}

#[test]
fn what_was_acknowledged_must_be_in_the_topic() {
    let mut audit = audit(&[pending("A", 0)], &[asked("A", "3")]);
    audit.acknowledged((home("A"), 0));
    assert_eq!((audit.unread(), audit.verdict(NOW).differences()), (0, 0));
    audit.acknowledged((home("A"), 5));
    assert_eq!((audit.unread(), audit.verdict(NOW).missing.len()), (5, 1));
}

#[test]
fn a_dead_letter_of_a_good_event_is_wrong() {
    let records = [pending("A", 0), letter((home("A"), 0), "schema")];
    assert_eq!(
        audit(&records, &[asked("A", "3")]).verdict(NOW).wrong.len(),
        1
    );
}

#[test]
fn differences_beyond_a_hundred_are_only_counted() {
    let records: Vec<Seen> = (0..150)
        .map(|n| settled(&format!("N{n}"), n, Terminal::Success, "inquiry"))
        .collect();
    let verdict = audit(&records, &[]).verdict(LATER);
    assert_eq!((verdict.wrong.len(), verdict.differences()), (100, 150));
}
