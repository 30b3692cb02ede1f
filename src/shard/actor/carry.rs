//! Carries out what the core commands, one function a command.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Done, Shard};
use crate::domain::order::{MarkKey, Millis};
use crate::domain::result::OrderResult;
use crate::fault;
use crate::inquiry::{Asker, Question, Ticket};
use crate::kafka::reader::{Sink, Start};
use crate::kafka::{Log, Publication};
use crate::shard::core::Phase;
use crate::shard::core::input::{Ask, Command, Input, LogEnds};
use crate::shard::floor;
use crate::shard::letters::Letter;
use crate::store::script::{Body, Floor, Token};
use crate::store::{Acquire, Acquired, Store, StoreError};

/// Batches of 250 events that wait for the shard; the reader pauses the partition beyond.
const EVENT_BATCHES: usize = 4;
/// Two clocks that are so far apart are not both right.
const APART: Millis = 5_000;
/// Results are never held back by anything but memory.
const RESULT_BATCHES: usize = 64;

impl<S: Store> Shard<S> {
    pub(super) fn carry_out(&mut self, command: Command) {
        let shard = self.plan.shard;
        match command {
            Command::Acquire(floor) => self.acquire(floor),
            Command::FindFloor => {
                let ports = Arc::clone(&self.ports);
                self.beside(async move {
                    Done::Input(Input::FloorFound(floor::find(&ports, shard).await))
                });
            }
            Command::Fence => self.fence(),
            Command::AskEnds => self.ask_ends(),
            Command::ReadResults(offset) => {
                let (sink, results) = mpsc::channel(RESULT_BATCHES);
                self.results = Some(results);
                self.read(offset, Sink::Results(sink));
            }
            Command::ReadEvents(offset) => {
                let (sink, events) = mpsc::channel(EVENT_BATCHES);
                self.events = Some(events);
                self.read(offset, Sink::Events(sink));
            }
            Command::Release => self.release(),
            Command::Run(script) => {
                let store = Arc::clone(&self.ports.store);
                let (before, after) = fault_points(&script.body, self.core.phase());
                self.beside(async move {
                    fault::point(before);
                    let replied = store.run(shard, &script).await;
                    fault::point(after);
                    Done::Input(Input::Replied(replied))
                });
            }
            Command::ReadMeta => {
                let store = Arc::clone(&self.ports.store);
                self.beside(async move { Done::Input(Input::MetaRead(store.meta(shard).await)) });
            }
            Command::Ask(ask) => self.ask(ask),
            Command::Publish(results) => self.publish(&results),
            Command::DeadLetter {
                offset,
                appended,
                refusal,
                original,
            } => {
                self.letters
                    .push(Letter::dead(shard, offset, appended, refusal, *original));
            }
            Command::Forward {
                offset,
                original,
                to,
                appended,
            } => self.letters.push(Letter::Forward {
                original,
                to,
                offset,
                appended,
            }),
            Command::Survey => {
                let store = Arc::clone(&self.ports.store);
                self.beside(async move { Done::Input(Input::Surveyed(store.survey(shard).await)) });
            }
            Command::CommitFloor(floor) => {
                let ports = Arc::clone(&self.ports);
                self.beside(
                    async move { Done::Floored(floor::commit(&ports, shard, floor).await) },
                );
            }
            Command::CommitGroup(e) => self.ports.member.commit(&[(shard, e)]),
        }
    }

    fn ask(&self, ask: Ask) {
        fault::point("claimed");
        let generation = self.core.generation();
        self.ports.engine.ask(Question {
            key: ask.key,
            query: ask.query,
            traceparent: ask.traceparent,
            attempt: ask.attempt,
            fresh: ask.fresh,
            start_before: ask.start_before,
            asker: Asker {
                standing: self.ownership.standing(generation),
                ticket: Ticket {
                    generation,
                    id: ask.id,
                    claim: ask.claim,
                },
                answers: self.answers.0.clone(),
            },
        });
    }

    /// Runs a call beside the actor; its answer belongs to the present generation.
    fn beside(&self, call: impl Future<Output = Done> + Send + 'static) {
        let generation = self.core.generation();
        self.pending
            .push(Box::pin(async move { (generation, call.await) }));
    }

    fn acquire(&self, floor: Option<Floor>) {
        let (shard, shards, store) = (
            self.plan.shard,
            self.plan.shards,
            Arc::clone(&self.ports.store),
        );
        let clock = self.ports.clock;
        self.beside(async move {
            let mut acquired = match draw() {
                Ok((token, mark_key)) => {
                    store
                        .acquire(Acquire {
                            shard,
                            shards,
                            token,
                            floor,
                            mark_key,
                        })
                        .await
                }
                Err(error) => Err(StoreError::Unavailable(format!("no random token: {error}"))),
            };
            if let Ok(Acquired::Owned(meta)) = &mut acquired {
                meta.now = earlier(shard, meta.now, clock.wall());
            }
            fault::point("recovery-acquired");
            Done::Input(Input::Acquired(acquired))
        });
    }

    fn fence(&mut self) {
        self.publisher = None;
        let (shard, publishers) = (self.plan.shard, self.ports.publishers.clone());
        let standing = self.ownership.standing(self.core.generation());
        self.beside(async move {
            let opened = publishers
                .open(shard, Arc::new(move || standing.stands()))
                .await;
            if opened.is_ok() {
                fault::point("recovery-fenced");
            }
            Done::Opened(opened.map_err(|error| error.to_string()))
        });
    }

    fn ask_ends(&self) {
        let (shard, asker) = (self.plan.shard, self.ports.ends.clone());
        self.beside(async move {
            let both = tokio::try_join!(
                asker.ends(Log::Events, shard),
                asker.ends(Log::Results, shard)
            );
            let ends = both.map(|(events, results)| LogEnds { events, results });
            Done::Input(Input::Ends(ends.map_err(|error| error.to_string())))
        });
    }

    fn read(&self, offset: u64, sink: Sink) {
        let (partition, generation) = (self.plan.shard, self.core.generation());
        self.ports.reader.start(Start {
            partition,
            generation,
            offset,
            sink,
        });
    }

    fn release(&mut self) {
        for log in [Log::Events, Log::Results] {
            self.ports
                .reader
                .stop(log, self.plan.shard, self.core.generation());
        }
        (self.events, self.results, self.publisher) = (None, None, None);
    }

    fn publish(&mut self, results: &[OrderResult]) {
        let group = results
            .iter()
            .map(|result| Publication {
                key: result.key.to_string(),
                value: result.encode(),
                headers: result.headers(&self.ports.app),
            })
            .collect();
        let Some(publisher) = self.publisher.take() else {
            return self
                .beside(async { Done::Published(Err("there is no open publisher".to_owned())) });
        };
        self.beside(async move {
            Done::Published(
                publisher
                    .publish(group)
                    .await
                    .map_err(|error| error.to_string()),
            )
        });
    }
}

/// The fault points before a script is sent, and between its effect and its reply.
fn fault_points(script: &Body, phase: Phase) -> (&'static str, &'static str) {
    match (script, phase) {
        (Body::Settle(_), Phase::FoldingResults(_)) => ("", "recovery-results"),
        (Body::Settle(_), _) => ("read-back-not-settled", ""),
        (Body::Fold(_), Phase::FoldingEvents(_)) => ("", "recovery-events"),
        (Body::Fold(_), _) => ("", "folded-reply-not-read"),
        _ => ("", ""),
    }
}

fn draw() -> Result<(Token, MarkKey), getrandom::Error> {
    let mut mark_key = [0; 16];
    getrandom::fill(&mut mark_key)?;
    // Never 0, which stands for «no owner».
    Ok((Token(getrandom::u64()? | 1), MarkKey(mark_key)))
}

/// The time at which an ownership begins: the store's or ours, whichever is earlier. With a clock that
/// is ahead, orders would be asked about before they are due, and by the clock that the view keeps for
/// ever after. One that is behind is made up for by that clock.
fn earlier(shard: u16, store: Millis, own: Millis) -> Millis {
    if store.abs_diff(own) > APART {
        tracing::warn!(
            shard,
            redis_ms = store,
            own_ms = own,
            "the clocks of Redis and of this worker differ; the earlier one counts"
        );
    }
    store.min(own)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{draw, earlier};

    #[test]
    fn each_acquire_draws_another_token_and_another_secret_of_the_marks() {
        let draws: Vec<_> = (0..100).map(|_| draw().unwrap()).collect();
        let tokens: HashSet<_> = draws.iter().map(|(token, _)| token.0).collect();
        let keys: HashSet<_> = draws.iter().map(|(_, key)| key.0).collect();
        assert_eq!((tokens.len(), keys.len()), (100, 100));
        assert!(!tokens.contains(&0), "which stands for no owner");
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_order_due() {
        let now = 1_800_000_000_000;
        let step = 300_000;
        assert_eq!(earlier(0, now + step, now), now);
        assert_eq!(earlier(0, now, now + step), now);
    }
}
