//! The course of a run: looks every tenth of a second at the bank's log and the worker's page, knows
//! when traffic should end and when everything that may come has come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Patience, Second, Told};
use crate::clock::Clock;
use crate::dev::audit::Verdict;
use crate::dev::bank::Bank;
use crate::dev::metrics_page::{Buckets, MetricsPage};
use crate::dev::second_reader::{Ends, SharedAudit, with};
use crate::domain::order::Millis;

/// Between two looks.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Lines of the bank's log that are taken under one lock of its books.
const LINES: usize = 1_000;

/// Looks for the last records after the worker has ended.
const LAST_LOOKS: u32 = 50;

/// How long a backlog is waited for in all while results still come.
const BACKLOG: Duration = Duration::from_mins(5);

/// The second reader did not get to see everything.
const BEHIND: &str = "the topics still grow, or cannot be read to their ends: nothing is verified";

/// What is looked at.
pub(super) struct View {
    pub clock: Clock,
    pub admin: SocketAddr,
    pub bank: Option<Bank>,
    pub audit: SharedAudit,
    pub ends: Ends,
    /// Told to the traffic: records of `order-events` that the worker has dealt with.
    pub dealt_with: Arc<AtomicU64>,
}

/// A run.
pub(super) struct Session {
    view: View,
    run_for: Option<Millis>,
    patience: Patience,
    started: Millis,
    /// When traffic was told to end.
    settling_since: Option<Millis>,
    /// Results read when it was last looked, and when there was one more.
    results: u64,
    progress_at: Millis,
    next_second: u64,
    log_read_to: u64,
    page: MetricsPage,
    lateness: Buckets,
}

impl Session {
    pub fn new(view: View, run_for: Option<Duration>, patience: Patience) -> Self {
        Self {
            started: view.clock.monotonic(),
            run_for: run_for.map(|run_for| run_for.as_millis() as Millis),
            patience,
            settling_since: None,
            results: 0,
            progress_at: 0,
            next_second: 1,
            log_read_to: 0,
            page: MetricsPage::default(),
            lateness: Buckets::default(),
            view,
        }
    }

    pub fn is_settling(&self) -> bool {
        self.settling_since.is_some()
    }

    /// Whether traffic has run for as long as it should.
    pub fn is_over(&self) -> bool {
        self.run_for.is_some_and(|run_for| self.age() >= run_for)
    }

    /// Traffic has been told to end.
    pub fn settle(&mut self, tell: &mut impl FnMut(Told)) {
        self.settling_since = Some(self.age());
        tell(Told::Settling(self.patience.settle));
    }

    /// Takes in what is new, and tells of a second that has passed.
    pub async fn look(&mut self, tell: &mut impl FnMut(Told)) {
        self.read_bank();
        match MetricsPage::read(self.view.admin).await {
            Ok(page) => self.page = page,
            Err(error) => tracing::debug!(%error, "the worker's metrics page was not read"),
        }
        let dealt_with = self.page.sum("settled_events_total");
        #[expect(clippy::cast_sign_loss, reason = "a sum of counters")]
        self.view
            .dealt_with
            .store(dealt_with as u64, Ordering::Relaxed);
        let seconds = self.age() / 1000;
        if seconds >= self.next_second {
            self.next_second = seconds + 1;
            tell(Told::Second(self.second(seconds)));
        }
    }

    /// The verdict, once there is no need to wait any longer.
    ///
    /// # Errors
    /// The broker does not answer, or the topics grow for ever.
    pub async fn verdict(&mut self) -> anyhow::Result<Option<Verdict>> {
        let Some(since) = self.settling_since else {
            return Ok(None);
        };
        let results = with(&self.view.audit, |audit| audit.counts().results);
        if results > self.results {
            (self.results, self.progress_at) = (results, self.age());
        }
        let age = self.age();
        // A backlog is waited for as long as it gets smaller.
        let until = since + BACKLOG.as_millis() as Millis;
        let since = self.progress_at.max(since).min(until);
        let waited = Duration::from_millis(age.saturating_sub(since));
        let at_the_ends = self.view.ends.are_reached().await?;
        self.read_bank();
        let verdict = self.judge();
        let given_up = waited >= self.patience.settle + self.patience.grace;
        if !at_the_ends {
            anyhow::ensure!(!given_up, BEHIND);
            return Ok(None);
        }
        let is_clean = verdict.differences() == 0;
        let is_done = verdict.standing.pending == 0 || waited >= self.patience.settle;
        Ok((given_up || (is_clean && is_done)).then_some(verdict))
    }

    /// The verdict after the worker has ended: nothing wrong may have come since.
    ///
    /// # Errors
    /// As [`Session::verdict`].
    pub async fn last_verdict(&mut self, before: Verdict) -> anyhow::Result<Verdict> {
        if before.differences() > 0 {
            return Ok(before);
        }
        for _ in 0..LAST_LOOKS {
            if self.view.ends.are_reached().await? {
                self.read_bank();
                let last = self.judge();
                // What was answered while the worker ended is left to the next one.
                return Ok(if last.wrong.is_empty() { before } else { last });
            }
            tokio::time::sleep(TICK).await;
        }
        anyhow::bail!(BEHIND)
    }

    fn judge(&self) -> Verdict {
        with(&self.view.audit, |audit| {
            audit.verdict(self.view.clock.wall())
        })
    }

    fn second(&mut self, seconds: u64) -> Second {
        let now = self.view.clock.wall();
        let (standing, counts) = with(&self.view.audit, |audit| {
            (audit.standing(now), audit.counts())
        });
        let lateness = self.page.buckets("settled_lateness_seconds");
        let lateness_p99_seconds = lateness.p99_since(&self.lateness);
        self.lateness = lateness;
        #[expect(clippy::cast_sign_loss, reason = "a sum of counters")]
        let asked = match self.view.bank {
            Some(_) => counts.questions,
            None => self.page.sum("settled_questions_total") as u64,
        };
        Second {
            seconds,
            standing,
            asked,
            lateness_p99_seconds,
            has_log: self.view.bank.is_some(),
        }
    }

    fn read_bank(&mut self) {
        let Some(bank) = &self.view.bank else { return };
        loop {
            let (lines, next) = bank.log(self.log_read_to, LINES);
            let count = lines.lines().count() as u64;
            with(&self.view.audit, |audit| {
                lines.lines().for_each(|line| audit.question(line));
                if next - self.log_read_to > count {
                    audit.log_is_incomplete();
                }
            });
            self.log_read_to = next;
            if count < LINES as u64 {
                return;
            }
        }
    }

    fn age(&self) -> Millis {
        self.view.clock.monotonic() - self.started
    }
}
