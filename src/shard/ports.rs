//! What a shard needs of the rest of the worker. `app` makes it once; every shard shares it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::inquiry::Engine;
use crate::kafka::ends::EndAsker;
use crate::kafka::floor::Floors;
use crate::kafka::member::MemberHandle;
use crate::kafka::producer::Producer;
use crate::kafka::publisher::PublisherPool;
use crate::kafka::reader::ReaderHandle;
use crate::metrics::Metrics;
use crate::shard::core::plan::TypePlan;

/// How long each log keeps its records; `None`: for ever, or nobody says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// `order-events`.
    pub events: Option<Duration>,
    /// `order-results`.
    pub results: Option<Duration>,
}

/// The worker, as a shard sees it.
pub struct Ports<S> {
    /// The name in header `settled-app`.
    pub app: Arc<str>,
    /// N.
    pub shards: u16,
    /// The dedupe window, in milliseconds.
    pub window: u64,
    /// The order types that are configured, sorted by name, as last read.
    pub types: watch::Receiver<Arc<[TypePlan]>>,
    /// How long the logs keep their records, as last heard.
    pub retention: watch::Receiver<Retention>,
    /// The view.
    pub store: Arc<S>,
    /// Reads both logs.
    pub reader: ReaderHandle,
    /// Opens publishers.
    pub publishers: PublisherPool,
    /// Dead letters and forwards.
    pub producer: Producer,
    /// The real ends of the logs.
    pub ends: EndAsker,
    /// The committed floors.
    pub floors: Floors,
    /// The group's committed positions.
    pub member: MemberHandle,
    /// Asks owners.
    pub engine: Engine,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Clock,
}
