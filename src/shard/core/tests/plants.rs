//! Every planted bug is found: a world breaks a promise with it and none without it. The seed that is
//! tried first is the one that docs/PROOF.md names; where the worlds have changed since, the search
//! begins anew from seed 0, and `SETTLED_PROOF=write` writes down what it finds.

use std::fs;
use std::path::{Path, PathBuf};

use super::world::World;
use super::worlds::told;
use crate::plant::{Plant, planted};

/// A planted bug, and who finds it beside the worlds.
#[derive(Clone, Copy)]
struct Bug {
    plant: Plant,
    what: &'static str,
    /// The test of what the worlds only model, or of the same rule elsewhere: its file and its name.
    beside: Option<(&'static str, &'static str)>,
}

const fn bug(plant: Plant, what: &'static str) -> Bug {
    Bug {
        plant,
        what,
        beside: None,
    }
}

const fn beside(bug: Bug, file: &'static str, test: &'static str) -> Bug {
    Bug {
        beside: Some((file, test)),
        ..bug
    }
}

/// The scripts in Lua do what the memory store does.
const fn in_lua(bug: Bug) -> Bug {
    beside(
        bug,
        "tests/store_contract/main.rs",
        "memory_and_redis_agree_on_every_reply_and_every_byte",
    )
}

const BUGS: [Bug; 27] = [
    bug(Plant::EPastOpen, "`E` past an open offset"),
    bug(Plant::EFromPosition, "`E` from the reader's position"),
    bug(Plant::NoGate, "no gate"),
    bug(
        Plant::WaitingDropped,
        "events of a gated order dropped instead of waiting",
    ),
    bug(
        Plant::ClaimNotCompared,
        "an answer accepted without its claim",
    ),
    in_lua(bug(Plant::NoToken, "no token")),
    in_lua(bug(Plant::NoVersion, "no version")),
    in_lua(bug(Plant::ClaimInTwoSteps, "non-atomic claim")),
    beside(
        bug(Plant::AskedUnowned, "no ownership check before asking"),
        "tests/inquiry/engine.rs",
        "nothing_of_a_revoked_generation_is_asked",
    ),
    bug(Plant::SettledAtProduce, "settled at produce"),
    bug(Plant::ResultsUnread, "results not read at recovery"),
    beside(
        bug(Plant::EndReadCommitted, "end taken from read_committed"),
        "src/kafka/settings.rs",
        "the_end_asker_sees_what_is_not_committed",
    ),
    bug(Plant::EventsBeforeResults, "events before results"),
    beside(
        bug(
            Plant::WorkerInTransactionalId,
            "worker name in transactional.id",
        ),
        "src/kafka/settings.rs",
        "a_shards_transactional_id_is_the_same_on_every_worker",
    ),
    beside(
        bug(
            Plant::PublisherReused,
            "producer reused after an unknown commit",
        ),
        "tests/kafka_handles/publisher.rs",
        "a_result_that_the_topic_does_not_take_uses_the_publisher_up",
    ),
    bug(
        Plant::OldQuestionsKept,
        "old generation's questions kept at recovery",
    ),
    bug(Plant::ReplayFromLatest, "replay from latest"),
    bug(Plant::TimeoutIsAttempt, "timeout counted as an attempt"),
    in_lua(bug(
        Plant::RequeuePhaseUnchecked,
        "requeue without phase check",
    )),
    bug(Plant::RequeueWithoutQuery, "requeue without its query"),
    bug(Plant::ExhaustedOutsideLog, "exhaustion outside the log"),
    bug(
        Plant::FloorIgnoresExhausted,
        "floor that ignores exhausted orders",
    ),
    in_lua(bug(Plant::NoRebuildMark, "no `rebuild` mark")),
    bug(Plant::MarksByWallClock, "marks dropped by wall clock"),
    bug(Plant::IdleNotSwept, "no sweep on an idle shard"),
    beside(
        bug(Plant::RetentionUnchecked, "no retention check"),
        "src/kafka/topic_rules.rs",
        "results_that_are_kept_no_longer_than_their_events_are_refused",
    ),
    bug(Plant::MisplacedKept, "misplaced event not forwarded"),
];

/// What the table in docs/PROOF.md begins with.
const HEAD: &str = "\
| # | planted bug | found by | and beside the worlds by |
|---|---|---|---|
";

/// Each is found far earlier.
const SEEDS_MAX: u64 = 10_000;

/// The promise that a world breaks with a bug; a panic is none.
fn broken(plant: Option<Plant>, seed: u64) -> Option<String> {
    let verdict = planted(plant, || told(seed, &mut World::new(seed)));
    let what = verdict.err()?;
    let (promise, _) = what.split_once(':')?;
    Some(promise.to_owned())
}

/// A seed whose world breaks a promise with the bug and none without it.
fn finds(plant: Plant, seed: u64) -> Option<(u64, String)> {
    let promise = broken(Some(plant), seed)?;
    broken(None, seed).is_none().then_some((seed, promise))
}

/// The line of docs/PROOF.md about one bug.
fn row(number: usize, bug: &Bug, found: Option<&(u64, String)>) -> String {
    let by = found.map_or("NOBODY".to_owned(), |(seed, promise)| {
        format!("seed {seed}: {promise}")
    });
    let beside = bug
        .beside
        .map_or(String::new(), |(file, test)| format!("`{test}` in {file}"));
    format!("| {number} | {} | {by} | {beside} |", bug.what)
}

/// The seed that a line remembers.
fn remembered(proof: &str, number: usize) -> Option<u64> {
    let begins = format!("| {number} | ");
    let (_, table) = proof.split_once(HEAD)?;
    let row = table.lines().find(|line| line.starts_with(&begins))?;
    let (_, after) = row.split_once("| seed ")?;
    after.split_once(':')?.0.parse().ok()
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Every bug's line, each bug tried on one of the threads.
fn rows(proof: &str) -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let search = |thread: usize| {
        let mine = BUGS.iter().enumerate().skip(thread).step_by(threads);
        let rows = mine.map(|(index, bug)| {
            let first = remembered(proof, index + 1);
            let mut seeds = first.into_iter().chain(0..SEEDS_MAX);
            let found = seeds.find_map(|seed| finds(bug.plant, seed));
            (index, row(index + 1, bug, found.as_ref()))
        });
        rows.collect::<Vec<_>>()
    };
    let search = &search;
    let mut rows = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || search(thread)))
            .collect();
        let each = all.into_iter().flat_map(|some| some.join().unwrap());
        each.collect::<Vec<_>>()
    });
    rows.sort();
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The same document with these lines in its table.
fn with_rows(proof: &str, rows: &[String]) -> String {
    let (before, table) = proof.split_once(HEAD).unwrap();
    let after = table.lines().skip_while(|line| line.starts_with('|'));
    let rows = rows.iter().map(String::as_str);
    let lines: Vec<_> = rows.chain(after).collect();
    format!("{before}{HEAD}{}\n", lines.join("\n"))
}

#[test]
fn every_planted_bug_is_found() {
    let file = path("docs/PROOF.md");
    let proof = fs::read_to_string(&file).unwrap();
    let rows = rows(&proof);
    println!("{}", rows.join("\n"));
    let missed: Vec<_> = rows.iter().filter(|row| row.contains("NOBODY")).collect();
    assert!(missed.is_empty(), "nobody finds {missed:#?}");
    let told = with_rows(&proof, &rows);
    #[expect(
        clippy::disallowed_methods,
        reason = "whether the table is written is for the person who runs the test to say"
    )]
    let write = std::env::var("SETTLED_PROOF").is_ok_and(|what| what == "write");
    if write {
        fs::write(&file, &told).unwrap();
    } else {
        assert!(
            proof == told,
            "docs/PROOF.md tells something else: SETTLED_PROOF=write cargo test --lib every_planted"
        );
    }
}

#[test]
fn what_finds_a_bug_beside_the_worlds_is_a_test() {
    for (file, test) in BUGS.iter().filter_map(|bug| bug.beside) {
        let code = fs::read_to_string(path(file)).unwrap();
        assert!(code.contains(&format!("fn {test}(")), "{file}: {test}");
    }
}
