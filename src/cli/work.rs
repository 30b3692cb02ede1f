//! The verbs that talk to the outside: a runtime, the signals, and what they print.

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Failure, print};
use crate::app::reload::Reread;
use crate::app::{self, check};
use crate::clock::Clock;
use crate::config::Config;
use crate::dev::bank::{Bank, BankArgs};
use crate::kafka::settings::World;
use crate::kafka::topic_rules::Finding;
use crate::store::redis::RedisStore;

/// `settled run`: one worker until SIGTERM or SIGINT; SIGHUP makes it read its configuration again.
pub(super) fn run(config: &Config, reread: Reread) -> Result<(), Failure> {
    on_runtime(async |stop| {
        let findings = check::all(config, World::Real).await;
        for finding in &findings {
            if finding.is_refused() {
                tracing::error!("{finding}");
            } else {
                tracing::info!("{finding}");
            }
        }
        if findings.iter().any(Finding::is_refused) {
            return Err(Failure::Failed(anyhow::anyhow!(
                "the start is refused; `settled check` prints the same"
            )));
        }
        let store = RedisStore::connect(&config.redis.urls, &config.redis.prefix)
            .await
            .map_err(anyhow::Error::from)?;
        let start = app::Start {
            config,
            world: World::Real,
            reread: Some(reread),
        };
        app::run(start, Arc::new(store), stop, |at| {
            tracing::info!(api = %at.api, admin = %at.admin, "listening");
        })
        .await?;
        Ok(())
    })
}

/// `settled check`: one line each, failing when one is refused.
pub(super) fn check(config: &Config) -> Result<(), Failure> {
    on_runtime(async |_| {
        print("ok: configuration\n")?;
        let findings = check::all(config, World::Real).await;
        for finding in &findings {
            print(&format!("{finding}\n"))?;
        }
        let refused = findings
            .iter()
            .filter(|finding| finding.is_refused())
            .count();
        if refused > 0 {
            return Err(Failure::Failed(anyhow::anyhow!(
                "{refused} refused; `settled run` would not start"
            )));
        }
        Ok(())
    })
}

/// `settled topics create`.
pub(super) fn create_topics(config: &Config) -> Result<(), Failure> {
    on_runtime(async |_| {
        for created in check::create_topics(config)
            .await
            .map_err(anyhow::Error::from)?
        {
            print(&format!("{created}\n"))?;
        }
        Ok(())
    })
}

/// `settled bank`: a simulated owner until SIGTERM or SIGINT.
pub(super) fn bank(args: &BankArgs) -> Result<(), Failure> {
    let options = args.options().map_err(Failure::Usage)?;
    on_runtime(async |stop| {
        let tasks = TaskTracker::new();
        let bank = Bank::start(args.listen, options, Clock::start(), &tasks, stop.clone())
            .await
            .map_err(|error| {
                let listen = args.listen;
                Failure::Failed(anyhow::anyhow!(
                    "--listen {listen}: cannot listen: {error}; choose another port"
                ))
            })?;
        for change in &args.behave {
            bank.behave(change.clone())
                .map_err(|error| Failure::Usage(format!("--behave: {error}")))?;
        }
        print(&format!("bank listening on {}\n", bank.local_addr()))?;
        stop.cancelled().await;
        tasks.close();
        tasks.wait().await;
        Ok(())
    })
}

/// Runs a verb on a runtime of its own; `stop` is cancelled by SIGTERM and SIGINT.
pub(super) fn on_runtime<F>(verb: impl FnOnce(CancellationToken) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let done = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut verb = std::pin::pin!(verb(stop.clone()));
        tokio::select! {
            done = &mut verb => return done,
            signalled = signalled() => signalled?,
        }
        tracing::info!("stopping");
        stop.cancel();
        verb.await
    });
    // A thread that hangs in a library must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    done
}

/// Resolves at SIGTERM or SIGINT.
pub(super) async fn signalled() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
