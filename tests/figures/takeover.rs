//! Two workers under load; one goes, as an operator, a crash or a frozen machine makes it go. How long
//! until its shards are open again, and how long nothing was asked and no result written in them.

use std::time::Duration;

use settled::clock::Clock;

use crate::checker::process::Worker;
use crate::checker::size;
use crate::load::{Traffic, now, shard};
use crate::page::Page;
use crate::seen::{Ends, results};
use crate::stage::{SHARDS, Stage};

/// Orders a second; each is asked twice.
const PER_SECOND: u64 = 1_000;
const WITHIN: Duration = Duration::from_mins(1);

/// How a worker goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// SIGTERM.
    Terminated,
    /// `kill -9`.
    Killed,
    /// SIGSTOP, while one of its transactions at least is open.
    Stopped,
    /// SIGTERM, and started again as the same static member.
    Restarted,
    /// `kill -9`, and started again as the same static member.
    KilledAndRestarted,
}

impl Going {
    fn comes_back(self) -> bool {
        matches!(self, Self::Restarted | Self::KilledAndRestarted)
    }

    /// What the worker of this name finds in its environment.
    fn variables(self, name: &str) -> Vec<(&'static str, String)> {
        if self.comes_back() {
            let properties = format!(r#"{{ "group.instance.id" = "{name}" }}"#);
            vec![("SETTLED_KAFKA__PROPERTIES", properties)]
        } else {
            Vec::new()
        }
    }
}

pub async fn take(name: &'static str, going: Going) {
    let mut worst = [0.0_f64; 3];
    let runs = size("SETTLED_FIGURES_RUNS", 3);
    for _ in 0..runs {
        let took = run(name, going).await;
        for (worst, took) in worst.iter_mut().zip(took) {
            *worst = worst.max(took);
        }
    }
    println!(
        "figure: {name}: worst of {runs}: open again after {:.2} s, no question for {:.2} s, no \
         result for {:.2} s",
        worst[0], worst[1], worst[2]
    );
}

/// Seconds until the shards were open again, without a question, without a result.
async fn run(name: &'static str, going: Going) -> [f64; 3] {
    let mut stage = Stage::open(name, &["--in-progress", "1"], &[("transfer", "1s x 100")]).await;
    for member in ["one", "other"] {
        let worker = worker(&stage, going, member).await;
        stage.workers.push(worker);
    }
    stage.all_open().await;
    let traffic = Traffic::start(&stage.site, PER_SECOND);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let moving = shards_of(&stage.workers[0]);
    let keeping = shards_of(&stage.workers[1]);
    assert_eq!(moving.len() + keeping.len(), SHARDS as usize);

    let clock = Clock::start();
    let (went, inside) = go(&mut stage, going, &moving).await;
    let went_us = clock.monotonic_us();
    let (open_at, wanted) = if going.comes_back() {
        if going == Going::Restarted {
            let ended = stage.workers[0].process.ended(WITHIN).await;
            assert!(ended.success(), "{ended}");
        }
        stage.workers[0] = worker(&stage, going, "one").await;
        (stage.workers[0].admin, moving.len())
    } else {
        (stage.workers[1].admin, SHARDS as usize)
    };
    let deadline = tokio::time::Instant::now() + WITHIN;
    while Page::of(open_at).await.open() < wanted as u64 {
        assert!(tokio::time::Instant::now() < deadline, "never open again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let opened = (clock.monotonic_us() - went_us) as f64 / 1e6;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let until = now();
    if going == Going::Stopped {
        stage.workers[0].process.kill();
    }
    let orders = traffic.end().await;
    let survivor = stage.workers.pop().unwrap();
    let gone = std::mem::replace(&mut stage.workers, vec![survivor]);
    stage.all_decided(orders).await;

    let questions = stage.questions().await;
    let asked = questions.iter().map(|question| {
        (
            shard(&crate::load::key("transfer", question.order)),
            question.arrived,
        )
    });
    let unasked = silence(asked, &moving, went, until);
    let ended = results(&stage.site, orders);
    let ended = ended.iter().map(|result| (shard(&result.key), result.at));
    let unsaid = silence(ended, &moving, went, until);
    println!(
        "figure: {name}: {} shards of {SHARDS} at {PER_SECOND} orders/s{inside}: open again after \
         {opened:.2} s; no question in one of them for {unasked:.2} s, no result for {unsaid:.2} s; {orders} \
         orders, one result each",
        moving.len()
    );
    if going.comes_back() {
        let mut back = gone.into_iter().next().unwrap();
        back.process.terminate(Duration::from_secs(15)).await;
    }
    stage.close().await;
    [opened, unasked, unsaid]
}

/// Makes the first worker go; when it went, in Unix milliseconds, and in what state.
async fn go(stage: &mut Stage, going: Going, moving: &[usize]) -> (u64, String) {
    let process = &mut stage.workers[0].process;
    match going {
        Going::Terminated | Going::Restarted => {
            let went = now();
            process.signal("TERM");
            (went, String::new())
        }
        Going::Killed | Going::KilledAndRestarted => {
            let went = now();
            process.kill();
            (went, String::new())
        }
        Going::Stopped => {
            let ends = Ends::of(&stage.site);
            for _ in 0..100 {
                let went = now();
                process.signal("STOP");
                let open = ends.in_transaction();
                let inside = open.iter().filter(|shard| moving.contains(shard)).count();
                if inside > 0 {
                    return (went, format!(", inside a transaction in {inside} of them"));
                }
                process.signal("CONT");
                tokio::time::sleep(Duration::from_millis(37)).await;
            }
            unreachable!("it is never inside a transaction");
        }
    }
}

async fn worker(stage: &Stage, going: Going, name: &str) -> Worker {
    let variables = going.variables(name);
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    stage.worker(&variables).await
}

/// The shards that a worker was given and not taken again, by its log.
fn shards_of(worker: &Worker) -> Vec<usize> {
    let mut shards = Vec::new();
    for line in worker.process.log_lines() {
        if line["message"] != "ownership changed" {
            continue;
        }
        let partitions = line["partitions"].as_str().unwrap();
        let partitions: Vec<usize> = serde_json::from_str(partitions).unwrap();
        if line["ours"] == true {
            shards.extend(partitions);
        } else {
            shards.retain(|shard| !partitions.contains(shard));
        }
    }
    shards
}

/// The longest time in seconds that one of these shards did not show up, of those that end after
/// `from` and begin before `until`.
fn silence(
    shown: impl Iterator<Item = (usize, u64)>,
    shards: &[usize],
    from: u64,
    until: u64,
) -> f64 {
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); SHARDS as usize];
    for (shard, at) in shown {
        times[shard].push(at);
    }
    let mut longest = 0;
    for shard in shards {
        let times = &mut times[*shard];
        times.sort_unstable();
        for pair in times.windows(2) {
            if pair[1] > from && pair[0] < until {
                longest = longest.max(pair[1] - pair[0].max(from));
            }
        }
    }
    longest as f64 / 1e3
}
