//! `settled verify`: brings the books of each shard what the view and both logs hold, in the order
//! that they ask for, and looks again at what differs before it is told. Only reads.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rdkafka::message::BorrowedMessage;

use crate::config::Config;
use crate::domain::order::Millis;
use crate::kafka::ends::EndAsker;
use crate::kafka::record::Decoding;
use crate::kafka::settings::{Settings, World};
use crate::kafka::{EventRecord, Log, ResultRecord};
use crate::store::StoreError;
use crate::store::redis::RedisStore;
use crate::store::script::Meta;
use crate::verify::Id;
use crate::verify::books::{Books, Found, Heads, Positions, Terms};
use crate::verify::difference::{Difference, EXAMPLES_MAX, Kind};
use crate::verify::forwards::Forwards;
use crate::verify::logs::{Logs, Stretch};
use crate::verify::report::{Figures, Report, ShardFigures};

/// Looks at what differed in the first.
const MORE_LOOKS: u32 = 2;

/// Before each of them: time for a recovery, which moves what the view holds.
const PAUSE: Duration = Duration::from_secs(2);

/// How often a view that is made anew under the reading is begun again.
const TRIES: u32 = 5;

/// Verifies every shard, one after the other.
///
/// # Errors
/// Kafka or Redis does not answer, or a log cannot be read to its end. A difference is no error but
/// part of the report. Cancelling leaves nothing behind.
pub async fn run(config: &Config, slack: Duration) -> anyhow::Result<Report> {
    let settings = Settings::new(config, World::Real);
    let store = RedisStore::connect(&config.redis.urls, &config.redis.prefix).await?;
    let verification = Verification {
        terms: Arc::new(Terms {
            shards: config.shards,
            window: settings.window,
            slack: slack.as_millis() as Millis,
            configured: config.order_types.keys().cloned().collect(),
        }),
        logs: Logs::new(&settings).context("kafka")?,
        ends: EndAsker::new(&settings).context("kafka")?,
        store,
    };
    verification.run().await
}

struct Verification {
    terms: Arc<Terms>,
    logs: Logs,
    ends: EndAsker,
    store: RedisStore,
}

/// What the partitions say of each other's misplaced events.
#[derive(Default)]
struct Across {
    forwards: Forwards,
    /// Up to where each partition of the events was read.
    read_to: BTreeMap<u16, u64>,
}

impl Verification {
    async fn run(&self) -> anyhow::Result<Report> {
        let shards = self.terms.shards;
        let events = self.partitions(Log::Events).await?;
        let results = self.partitions(Log::Results).await?;
        anyhow::ensure!(
            results == shards && events >= shards,
            "{shards} shards, but {events} partitions of events and {results} of results; `settled check` says more"
        );
        let mut report = Report::default();
        let mut across = Across::default();
        for shard in 0..shards {
            let (figures, differences) = self.shard(shard, &mut report, &mut across).await?;
            report.shards.push(ShardFigures {
                shard,
                figures,
                differences,
            });
        }
        for inlet in shards..events {
            report.in_inlets += self.inlet(inlet, &mut across).await?;
        }
        self.judge_forwards(across, &mut report).await?;
        Ok(report)
    }

    async fn partitions(&self, log: Log) -> anyhow::Result<u16> {
        let partitions = self.ends.partitions(log).await.context("kafka")?;
        partitions.with_context(|| format!("there is no topic of {log:?}; `settled topics create`"))
    }

    /// One shard, until nothing differs or it was looked at often enough.
    async fn shard(
        &self,
        shard: u16,
        report: &mut Report,
        across: &mut Across,
    ) -> anyhow::Result<(Figures, u64)> {
        let before = report.differences.total();
        let mut found = self.look(shard, None, across).await?;
        let mut figures = found.clean;
        report.differences.append(std::mem::take(&mut found.facts));
        for (value, event) in found.misplaced.drain(..) {
            across.forwards.misplaced(value, event);
        }
        for value in found.copies.drain(..) {
            across.forwards.copy(value);
        }
        for _ in 0..MORE_LOOKS {
            if found.suspects.is_empty() {
                break;
            }
            let suspects = found.suspects.len();
            tracing::info!(shard, suspects, "what differs is looked at again");
            tokio::time::sleep(PAUSE).await;
            let only = Arc::new(std::mem::take(&mut found.suspects));
            found = self.look(shard, Some(only), across).await?;
            figures.add(&found.clean);
        }
        figures.add(&found.suspected);
        report.differences.append(found.differences);
        Ok((figures, report.differences.total() - before))
    }

    /// Reads a shard once.
    async fn look(
        &self,
        shard: u16,
        only: Option<Arc<HashSet<Id>>>,
        across: &mut Across,
    ) -> anyhow::Result<Found> {
        let is_first = only.is_none();
        let books = self.view(shard, only).await?;
        let results = self.ends.ends(Log::Results, shard).await?;
        let oldest = match results.low {
            0 => None,
            low => self.ends.append_time(Log::Results, shard, low).await?,
        };
        let stretch = Stretch {
            log: Log::Results,
            partition: shard,
            from: results.low,
            to: results.high,
        };
        let books = self.logs.read(stretch, books, |books: &mut Books, record| {
            books.result(&ResultRecord::read(record));
        });
        let books = books.await?;
        let events = self.ends.ends(Log::Events, shard).await?;
        let stretch = Stretch {
            log: Log::Events,
            partition: shard,
            from: events.low,
            to: events.high,
        };
        let books = self.events(stretch, books).await?;
        if is_first {
            across.read_to.insert(shard, events.high);
        }
        Ok(books.close(&Heads::new(events, results, oldest)))
    }

    /// New books with all that the view holds.
    async fn view(&self, shard: u16, only: Option<Arc<HashSet<Id>>>) -> anyhow::Result<Books> {
        let mut tries = 1;
        loop {
            let mut books = Books::new(Arc::clone(&self.terms), shard, only.clone());
            let mut is_first = true;
            let read = self.store.records(shard, |meta, key, record| {
                if std::mem::take(&mut is_first) {
                    books.positions(positions(meta));
                }
                books.viewed(&key, record);
            });
            match read.await {
                Ok(meta) => {
                    // A view without records has positions all the same.
                    if let Some(meta) = meta.filter(|_| is_first) {
                        books.positions(positions(&meta));
                    }
                    return Ok(books);
                }
                Err(StoreError::Unavailable(why)) if tries < TRIES => {
                    tracing::info!(shard, why, "the view is read again");
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn events(&self, stretch: Stretch, books: Books) -> anyhow::Result<Books> {
        let shards = self.terms.shards;
        let books = self.logs.read(stretch, books, move |books, record| {
            books.event(&decoded(shards, record));
        });
        Ok(books.await?)
    }

    /// A partition beyond the shards: all of it belongs elsewhere. Gives the number of its events.
    async fn inlet(&self, partition: u16, across: &mut Across) -> anyhow::Result<u64> {
        let committed = self.logs.committed(partition).await?;
        let mut books = Books::new(Arc::clone(&self.terms), partition, None);
        books.positions(Positions {
            e: committed.unwrap_or(0),
            ..Positions::of_no_view()
        });
        let events = self.ends.ends(Log::Events, partition).await?;
        let stretch = Stretch {
            log: Log::Events,
            partition,
            from: events.low,
            to: events.high,
        };
        let books = self.events(stretch, books).await?;
        let found = books.close(&Heads {
            events: events.low,
            results_since: 0,
        });
        for (value, event) in found.misplaced {
            across.forwards.misplaced(value, event);
        }
        Ok(found.clean.misplaced)
    }

    /// A copy may have come into a partition after that one was read: reads on there, then tells.
    async fn judge_forwards(&self, across: Across, report: &mut Report) -> anyhow::Result<()> {
        let Across {
            mut forwards,
            read_to,
        } = across;
        let mut begins = BTreeMap::new();
        for home in forwards.homes() {
            let events = self.ends.ends(Log::Events, home).await?;
            if events.low > 0 {
                let oldest = self.ends.append_time(Log::Events, home, events.low).await?;
                begins.insert(home, oldest.unwrap_or(Millis::MAX));
            }
            let stretch = Stretch {
                log: Log::Events,
                partition: home,
                from: read_to.get(&home).copied().unwrap_or(0).max(events.low),
                to: events.high,
            };
            let books = Books::new(Arc::clone(&self.terms), home, None);
            let found = self.events(stretch, books).await?.close(&Heads {
                events: 0,
                results_since: 0,
            });
            for value in found.copies {
                forwards.copy(value);
            }
        }
        for (n, event) in forwards.lost(&begins).into_iter().enumerate() {
            let order = if n < EXAMPLES_MAX {
                self.name_of(event.at).await?
            } else {
                None
            };
            let ((partition, offset), home) = (event.at, event.home);
            report.differences.add(Kind::Misplaced, || {
                Some(Difference {
                    kind: Kind::Misplaced,
                    shard: partition,
                    order,
                    what: format!(
                        "event {partition}/{offset} was passed and not forwarded into partition {home}"
                    ),
                })
            });
        }
        Ok(())
    }

    /// Whose event this is.
    async fn name_of(&self, (partition, offset): (u16, u64)) -> anyhow::Result<Option<String>> {
        let stretch = Stretch {
            log: Log::Events,
            partition,
            from: offset,
            to: offset + 1,
        };
        let shards = self.terms.shards;
        let name = self.logs.read(stretch, None, move |name, record| {
            let event = decoded(shards, record).event;
            *name = event.ok().map(|event| event.key.to_string());
        });
        Ok(name.await?)
    }
}

/// Staleness is for the books to judge, and every value is needed.
fn decoded(shards: u16, record: &BorrowedMessage<'_>) -> EventRecord {
    Decoding {
        shards,
        window: Millis::MAX,
        configured: &|_| false,
    }
    .event(record)
}

fn positions(meta: &Meta) -> Positions {
    Positions {
        e: meta.e,
        r: meta.r,
        now: meta.now,
        types: meta.types.iter().map(|(_, name, _)| name.clone()).collect(),
    }
}
