//! The two listeners, and the functions through which the API reaches the rest of the worker.

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pauses::Pauses;
use super::reload::ReloadHandle;
use super::{Addresses, deadlines};
use crate::api::admin::{self, Admin};
use crate::api::desk::Desk;
use crate::api::desk::ports::{DeskPorts, TypeCount};
use crate::api::health::Health;
use crate::api::listener::{BindError, Listener};
use crate::api::ports::{AppendError, Ports as ApiPorts, Said, port};
use crate::api::{Api, MAX_FLIGHTS, Shared};
use crate::config::Config;
use crate::domain::order::{TypeId, TypeName};
use crate::kafka::{At, Log};
use crate::shard::Ports;
use crate::store::Store;
use crate::store::operator::OperatorStore;
use crate::store::script::Survey;

/// Both ports, bound.
pub(super) struct Listeners {
    api: Listener,
    admin: Listener,
    health: Arc<Health>,
}

/// Binds both: a port in use fails the start.
pub(super) async fn bind(config: &Config, health: Arc<Health>) -> Result<Listeners, BindError> {
    let api = Listener::bind("api", config.api.listen).await?;
    Ok(Listeners {
        api,
        admin: admin::bind(&config.admin).await?,
        health,
    })
}

impl Listeners {
    pub fn addresses(&self) -> Addresses {
        Addresses {
            api: self.api.local_addr(),
            admin: self.admin.local_addr(),
        }
    }

    /// Answers until `stop`, then ends what has begun.
    pub fn serve<S: Store + OperatorStore>(
        self,
        config: &Config,
        (ports, pauses, reloads): (&Arc<Ports<S>>, &Arc<Pauses<S>>, ReloadHandle),
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) -> (Shared, impl Future<Output = ()> + Send + use<S>) {
        let api = Api {
            clock: ports.clock,
            shards: config.shards,
            window: config.dedupe_window,
            deadlines: deadlines(config),
            ports: api_ports(ports),
            tracker: tasks.clone(),
            metrics: Arc::clone(&ports.metrics),
            max_flights: MAX_FLIGHTS,
        };
        let admin = Admin {
            metrics: Arc::clone(&ports.metrics),
            health: self.health,
        };
        let shared = api.share();
        let api = tasks.spawn(self.api.serve(shared.router(), stop.clone()));
        let desk = Desk {
            shared: shared.clone(),
            ports: desk_ports(ports, pauses, reloads),
            token: config.admin.token.clone(),
            stop: stop.clone(),
        };
        let admin = tasks.spawn(self.admin.serve(admin.router_with(desk), stop.clone()));
        let serving = async move {
            // The first that ends unasked ends the process.
            let served = tokio::select! {
                served = api => served,
                served = admin => served,
            };
            if !matches!(served, Ok(Ok(()))) {
                tracing::error!(?served, "a listener has ended badly");
            }
        };
        (shared, serving)
    }
}

fn api_ports<S: Store>(ports: &Arc<Ports<S>>) -> ApiPorts {
    let (store, ends, engine, producer) = (
        Arc::clone(&ports.store),
        ports.ends.clone(),
        ports.engine.clone(),
        ports.producer.clone(),
    );
    ApiPorts {
        find: port(move |(shard, keys): (u16, Vec<_>)| {
            let store = Arc::clone(&store);
            async move { store.find_all(shard, &keys).await }
        }),
        read_result: port(move |(shard, offset)| {
            let ends = ends.clone();
            async move { ends.result_at(shard, offset).await.ok().flatten() }
        }),
        ask_now: port(move |ask: crate::api::ports::AskNow| {
            let engine = engine.clone();
            async move {
                let said = engine
                    .ask_now(ask.key, ask.query, ask.traceparent, ask.deadline)
                    .await;
                Said {
                    answer: said.answer,
                    data: said.data,
                    took: said.took,
                }
            }
        }),
        append_event: port(move |event: crate::api::ports::AppendEvent| {
            let producer = producer.clone();
            async move {
                let headers: Vec<_> = event
                    .traceparent
                    .iter()
                    .map(|parent| ("traceparent", &**parent))
                    .collect();
                let appended = producer
                    .append_event(event.shard, &event.key.to_string(), &event.value, &headers)
                    .await;
                match appended {
                    Ok((partition, offset)) => Ok(At { partition, offset }),
                    Err(error) => Err(AppendError(error.to_string())),
                }
            }
        }),
    }
}

fn desk_ports<S: Store + OperatorStore>(
    ports: &Arc<Ports<S>>,
    pauses: &Arc<Pauses<S>>,
    reloads: ReloadHandle,
) -> DeskPorts {
    let (listing, counting) = (Arc::clone(&ports.store), Arc::clone(&ports.store));
    let (knowing, saying) = (Arc::clone(pauses), Arc::clone(pauses));
    let ends = ports.ends.clone();
    DeskPorts {
        exhausted: port(move |(shard, span, limit)| {
            let store = Arc::clone(&listing);
            async move { store.exhausted(shard, span, limit).await }
        }),
        result_at: port(move |(shard, time)| {
            let ends = ends.clone();
            async move {
                let found = ends.offset_for_time(Log::Results, shard, time).await;
                found.map_err(|error| error.to_string())
            }
        }),
        counts: port(move |shard| {
            let store = Arc::clone(&counting);
            async move { Ok(counts(&store.survey(shard).await?)) }
        }),
        pauses: port(move |()| std::future::ready(knowing.known())),
        reload: port(move |()| {
            let reloads = reloads.clone();
            async move { reloads.reload().await.map_err(|error| error.to_string()) }
        }),
        say: port(move |word| {
            let pauses = Arc::clone(&saying);
            async move { pauses.say(word).await }
        }),
    }
}

/// How many orders of each type a shard holds.
fn counts(survey: &Survey) -> Vec<TypeCount> {
    let count = |(id, name, _): &(TypeId, TypeName, u32)| {
        let slots = survey.slots.iter().filter(|slot| slot.type_id == *id);
        let exhausted = survey.exhausted.iter().filter(|(type_id, _)| type_id == id);
        TypeCount {
            order_type: name.clone(),
            pending: slots.map(|slot| slot.count).sum(),
            exhausted: exhausted.map(|(_, count)| count).sum(),
        }
    };
    survey.types.iter().map(count).collect()
}
