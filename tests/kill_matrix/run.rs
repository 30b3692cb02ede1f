//! One run: a world of its own, three workers, one of them armed; orders, callers and the fault; then
//! rest, and the verdict.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::callers::Callers;
use crate::checker::Site;
use crate::checker::process::{Bank, Process, Worker};
use crate::kept::Logs;
use crate::matrix::Fault;
use crate::plain_http::get;
use crate::support::eventually;
use crate::support::topics::{Isolation, read_raw};
use crate::traffic::{IN_PROGRESS, Traffic, order_types, paces};
use crate::verdict::{Case, Verdict, judge};

const SHARDS: i32 = 6;
/// The broker allows 500; below this, two busy cores are taken for a fault of their own.
const SESSION_MS: u32 = 1_500;
/// So long is a stopped worker stopped. Its leases need no waiting for: who takes its shards over
/// ends them.
const STOPPED: Duration = Duration::from_millis(3 * SESSION_MS as u64);
/// Orders are published for so long.
const SPREAD: Duration = Duration::from_secs(6);
/// A worker that joins amid the work does so when this many results are there.
const AMID: usize = 40;
/// All is decided so long after the last event, or something is lost.
const DECIDED: Duration = Duration::from_mins(1);

/// How a run ended.
pub struct Ended {
    pub verdict: Verdict,
    took: Duration,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict {
            orders,
            results,
            aborted,
            questions,
            ..
        } = self.verdict;
        write!(
            f,
            "{orders} orders, {questions} questions, {results} results and {aborted} aborted;"
        )?;
        for (name, broken) in self.verdict.broken() {
            write!(f, " {name} {}", broken.len())?;
        }
        let stall = self.verdict.stall.as_secs_f64();
        write!(
            f,
            "; stall {stall:.2} s, took {:.1} s",
            self.took.as_secs_f64()
        )
    }
}

/// Carries a run out on a runtime of its own.
pub fn carry_out(fault: &Fault) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let began = Instant::now();
        let world = World::open(fault).await;
        let verdict = world.live_through(fault).await;
        Ended {
            verdict,
            took: began.elapsed(),
        }
    })
}

/// What a run consists of. The site is dropped last, its files with it.
struct World {
    bank: Bank,
    traffic: Arc<Traffic>,
    logs: Logs,
    site: Site,
}

impl World {
    async fn open(fault: &Fault) -> Self {
        let name = format!("kill{}", fault.seed);
        let mut site = Site::among(&name, SHARDS, None).unwrap();
        site.session_ms = SESSION_MS;
        let protocol = std::env::var_os("SETTLED_KILL_PROTOCOL");
        site.group_protocol = match protocol.as_ref().map(|name| name.to_str()) {
            None | Some(Some("classic")) => "classic",
            other => {
                assert_eq!(other, Some(Some("consumer")), "SETTLED_KILL_PROTOCOL");
                "consumer"
            }
        };
        let bank = site
            .bank(&["--in-progress", IN_PROGRESS, "--latency", "5ms"])
            .await;
        site.configure(&order_types(bank.at));
        site.create_topics();
        Self {
            bank,
            traffic: Arc::new(Traffic::draw(fault.seed, SHARDS, SPREAD)),
            logs: Logs::of(&site, "kill_matrix", &name),
            site,
        }
    }

    async fn worker(&self, name: &str, variables: &[(&str, &str)]) -> Worker {
        let log = self.site.file(&format!("{name}.log"));
        Worker::start(self.site.config().to_str().unwrap(), log, variables).await
    }

    async fn armed(&self, fault: &Fault) -> Worker {
        self.worker("armed", &[("SETTLED_FAULT", &fault.armed())])
            .await
    }

    async fn live_through(self, fault: &Fault) -> Verdict {
        let (one, other) = tokio::join!(self.worker("one", &[]), self.worker("other", &[]));
        let mut asked = vec![one.api, other.api];
        let early = if fault.is_in_recovery() {
            None
        } else {
            let armed = self.armed(fault).await;
            asked.insert(0, armed.api);
            Some(armed)
        };
        let workers: Vec<&Worker> = [Some(&one), Some(&other), early.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        self.site.all_open(&workers).await;
        let callers = Callers::start(asked, self.traffic.patient());
        let publishing = self.publishing();
        let armed = self.strike(fault, early).await;
        publishing.await.unwrap();
        self.decided().await;
        let mut workers = vec![one, other];
        workers.extend(armed);
        let all: Vec<&Worker> = workers.iter().collect();
        self.site.all_open(&all).await;
        let told = callers.told();
        drop(callers);
        for mut worker in workers {
            worker.process.terminate(Duration::from_secs(15)).await;
        }
        let questions = get(self.bank.at, "/questions").await.body;
        let verdict = judge(
            &self.site,
            &Case {
                orders: &self.traffic.orders(),
                paces: &paces(),
                questions: &questions,
                told: &told,
                gone: &[],
            },
        );
        self.logs.kept_unless(&verdict);
        verdict
    }

    fn publishing(&self) -> JoinHandle<()> {
        let (broker, topic) = (self.site.broker, self.site.names.events.clone());
        let traffic = Arc::clone(&self.traffic);
        tokio::task::spawn_blocking(move || traffic.publish(&broker.bootstrap, &topic))
    }

    /// Sees to it that the armed worker comes by its point, is gone, and comes back if it was stopped.
    async fn strike(&self, fault: &Fault, early: Option<Worker>) -> Option<Worker> {
        let mut armed = if let Some(armed) = early {
            armed
        } else {
            let within = Duration::from_secs(30);
            eventually("amid the work", within, async || {
                (self.results().len() >= AMID).then_some(())
            })
            .await;
            self.armed(fault).await
        };
        if fault.wants_a_wipe() {
            self.owns_something(&armed.process).await;
            self.site.flush_all();
        }
        let reached = format!("fault point {} reached", fault.point);
        eventually(&reached, Duration::from_secs(20), async || {
            armed.process.log().contains(&reached).then_some(())
        })
        .await;
        if fault.how == "kill" {
            let ended = armed.process.ended(Duration::from_secs(5)).await;
            assert_eq!(ended.signal(), Some(9), "it ended itself");
            return None;
        }
        eventually("it is stopped", Duration::from_secs(5), async || {
            is_stopped(&armed.process).then_some(())
        })
        .await;
        tokio::time::sleep(STOPPED).await;
        armed.process.signal("CONT");
        Some(armed)
    }

    async fn owns_something(&self, process: &Process) {
        let owns = |process: &Process| {
            let log = process.log();
            log.contains("ownership changed") || log.contains("fault point")
        };
        eventually("it owns shards", Duration::from_secs(20), async || {
            owns(process).then_some(())
        })
        .await;
    }

    /// Waits until every order has a result, or too long.
    async fn decided(&self) {
        let orders = self.traffic.orders();
        let deadline = Instant::now() + DECIDED;
        while Instant::now() < deadline && !self.results().is_superset(&orders) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The orders that have a committed result. The schemas have their turn at the end.
    fn results(&self) -> BTreeSet<String> {
        let (bootstrap, topic) = (&self.site.broker.bootstrap, &self.site.names.results);
        let results = read_raw(bootstrap, topic, Isolation::Committed);
        let keys = results.into_iter().filter_map(|result| result.key);
        keys.map(|key| String::from_utf8(key).unwrap()).collect()
    }
}

fn is_stopped(process: &Process) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid()));
    // The state follows the name, which is in parentheses.
    stat.is_ok_and(|stat| stat.contains(") T "))
}
