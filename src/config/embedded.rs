//! The configuration of the embedded world, built in code by `dev` and by tests. No file and no
//! variable reaches it, and `run` never calls it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::domain::order::TypeName;

use super::{Admin, Api, Config, GroupProtocol, Kafka, OrderTypeConfig, Redis, Secret};

/// What an embedded world differs in.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// Of the embedded broker, or of the user's.
    pub bootstrap: String,
    /// The mock broker takes 0.1 s to form a group by [`GroupProtocol::Consumer`], 3 s by the other.
    pub group_protocol: GroupProtocol,
    /// Partitions of each topic.
    pub shards: u16,
    /// Empty: the view is in memory.
    pub redis_urls: Vec<Secret>,
    /// Which orders there are; each is asked about at `query_url`.
    pub order_types: Vec<TypeName>,
    /// The owner of them all.
    pub query_url: String,
    /// Port 0 takes a free one.
    pub api: SocketAddr,
    /// Port 0 takes a free one.
    pub admin: SocketAddr,
}

impl Embedded {
    /// Free ports on loopback, a view in memory, one order type `transfer`, 4 shards.
    pub fn new(bootstrap: String, query_url: String) -> Self {
        let free = (Ipv4Addr::LOCALHOST, 0).into();
        Self {
            bootstrap,
            group_protocol: GroupProtocol::Consumer,
            shards: 4,
            redis_urls: Vec::new(),
            order_types: TypeName::new("transfer").into_iter().collect(),
            query_url,
            api: free,
            admin: free,
        }
    }
}

impl Config {
    /// Everything that `world` does not name has its default.
    pub fn for_embedded(world: Embedded) -> Self {
        let asked = |name| (name, OrderTypeConfig::new(world.query_url.clone()));
        Self {
            app: "settled".to_owned(),
            shards: world.shards,
            dedupe_window: Duration::from_hours(24),
            kafka: Kafka {
                bootstrap: world.bootstrap,
                group_protocol: world.group_protocol,
                ..Kafka::default()
            },
            redis: Redis {
                urls: world.redis_urls,
                ..Redis::default()
            },
            api: Api { listen: world.api },
            admin: Admin {
                listen: world.admin,
                token: None,
            },
            order_types: world.order_types.into_iter().map(asked).collect(),
        }
    }
}
