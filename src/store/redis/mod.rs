//! The view in Redis: every operation is one Lua script on the keys of one shard, so each is atomic
//! and Redis Cluster can place shards freely. Nothing is remembered here between two operations.

mod cluster;
mod connection;
mod dump;
mod errors;
mod node;
mod operator;
mod reply;
mod request;
mod slots;
mod source;

use futures_util::future::try_join_all;
use redis::Value;

use super::ceiling::{self, Breaker, Reserve, Slots, Spacing};
use super::key::{self, Key, LAYOUT, mark_hash};
use super::script::{Found, Meta, Reply, Script, Survey};
use super::{Acquire, Acquired, Dump, Store, StoreError, field, limits};
use crate::config::Secret;
use crate::domain::order::{OrderId, OrderKey, RECORD_HASHES, TypeName};
use crate::domain::record::Record;
use connection::Connections;

/// The view of all shards in one Redis or Redis Cluster. Cancelling an operation leaves the fate of
/// its script unknown.
pub struct RedisStore {
    connections: Connections,
    prefix: String,
}

/// What `settled check` and the start look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Redis' version.
    pub version: String,
    /// `maxmemory_policy` of INFO; anything but `noeviction` loses orders.
    pub maxmemory_policy: String,
    /// `maxmemory` of INFO, bytes; 0: no limit.
    pub maxmemory: u64,
}

impl RedisStore {
    /// Opens the store; `prefix` stands before every key. One address is connected to when first
    /// used; more are a cluster, which must answer now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] for an address of the wrong form and for a silent cluster.
    pub async fn connect(urls: &[Secret], prefix: &str) -> Result<Self, StoreError> {
        Ok(Self {
            connections: Connections::open(urls).await?,
            prefix: prefix.to_owned(),
        })
    }

    /// Asks what must be true before any shard is taken.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] for a silent Redis, and for a cluster of which one node is known.
    pub async fn check(&self) -> Result<Health, StoreError> {
        // A cluster answers for each node; all are configured alike or the operator finds out here.
        let infos = self.connections.send_each(&redis::cmd("INFO")).await?;
        let texts: Vec<String> = infos
            .into_iter()
            .map(|text| {
                String::from_utf8_lossy(&reply::bytes(text).unwrap_or_default()).into_owned()
            })
            .collect();
        let all = |name: &str| {
            let lines = texts.iter().flat_map(|text| text.lines());
            let mut values: Vec<_> = lines
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::to_owned)
                .collect();
            values.sort_unstable();
            values.dedup();
            values
        };
        let is_of_a_cluster = all("redis_mode").contains(&"cluster".to_owned());
        if is_of_a_cluster && matches!(self.connections, Connections::Node(_)) {
            return Err(StoreError::Unavailable(
                "one node of a Redis Cluster does not do; name several of them".to_owned(),
            ));
        }
        let limits = all("maxmemory").into_iter();
        Ok(Health {
            version: all("redis_version").join(", "),
            maxmemory_policy: all("maxmemory_policy").join(", "),
            maxmemory: limits.filter_map(|n| n.parse().ok()).max().unwrap_or(0),
        })
    }

    /// Shows every record of a shard's view to `take`, page by page and not at one moment, each with
    /// the meta as it was before the first. `None`: there is no view.
    ///
    /// # Errors
    /// As [`Store::meta`]; [`StoreError::Unavailable`] when the view was made anew meanwhile.
    pub async fn records(
        &self,
        shard: u16,
        take: impl FnMut(&Meta, OrderKey, &Record),
    ) -> Result<Option<Meta>, StoreError> {
        dump::records(self, shard, take).await
    }

    fn key(&self, key: Key, shard: u16) -> String {
        key.name(&self.prefix, shard)
    }

    /// What the view with this meta knows of an order; `None`: it is another one now.
    async fn find_in(
        &self,
        shard: u16,
        meta: &Meta,
        order: &OrderKey,
    ) -> Result<Option<Found>, StoreError> {
        let mut types = meta.types.iter();
        let id = types
            .find(|(_, name, _)| *name == order.order_type)
            .map(|(type_id, _, _)| OrderId {
                type_id: *type_id,
                req_no: order.req_no,
            });
        let mark = order.mark(&meta.mark_key);
        let name_of = |hash| key::hash_name(hash).to_string();
        let arguments = |command: &mut redis::Cmd| {
            let name = id.as_ref().map(field::field).unwrap_or_default();
            command
                .arg(meta.mark_key.0.as_slice())
                .arg(name_of(id.as_ref().map_or(0, OrderId::record_hash)))
                .arg(name)
                .arg(name_of(mark_hash(&mark)))
                .arg(mark.0.as_slice());
        };
        match self.call(shard, &source::FIND, arguments).await? {
            Value::Nil => Ok(None),
            answer => reply::found(&reply::bytes(answer)?).map(Some),
        }
    }

    async fn call(
        &self,
        shard: u16,
        source: &source::Source,
        arguments: impl Fn(&mut redis::Cmd) + Sync,
    ) -> Result<Value, StoreError> {
        let key = self.key(Key::Meta, shard);
        let arguments = |command: &mut redis::Cmd| {
            command.arg(LAYOUT);
            arguments(command);
        };
        self.connections.call(shard, source, &key, &arguments).await
    }
}

impl Store for RedisStore {
    async fn acquire(&self, acquire: Acquire) -> Result<Acquired, StoreError> {
        let arguments = |command: &mut redis::Cmd| {
            command
                .arg(field::token(acquire.token))
                .arg(acquire.shards)
                .arg(acquire.mark_key.0.as_slice());
            match acquire.floor {
                Some(floor) => command.arg(floor.e).arg(floor.r),
                None => command.arg("").arg(""),
            }
            .arg(request::hash_names(0, RECORD_HASHES));
        };
        let answer = self
            .call(acquire.shard, &source::ACQUIRE, arguments)
            .await?;
        Ok(reply::meta(answer)?.map_or(Acquired::Absent, Acquired::Owned))
    }

    async fn run(&self, shard: u16, script: &Script) -> Result<Reply, StoreError> {
        let types = limits::check(script)?;
        let arguments = |command: &mut redis::Cmd| request::arguments(script, &types, command);
        let answer = self
            .call(shard, request::source(&script.body), arguments)
            .await?;
        reply::reply(script, answer)
    }

    async fn meta(&self, shard: u16) -> Result<Option<Meta>, StoreError> {
        reply::meta(self.call(shard, &source::META, |_| {}).await?)
    }

    async fn survey(&self, shard: u16) -> Result<Survey, StoreError> {
        let arguments = |command: &mut redis::Cmd| {
            command.arg(request::hash_names(0, RECORD_HASHES));
        };
        reply::survey(self.call(shard, &source::SURVEY, arguments).await?)
    }

    async fn find_all(&self, shard: u16, orders: &[OrderKey]) -> Result<Vec<Found>, StoreError> {
        // The mark needs the view's secret; when the view is made anew between the calls, the
        // script says so and the new secret is read.
        for _ in 0..3 {
            let Some(meta) = self.meta(shard).await? else {
                return Ok(vec![Found::Unknown; orders.len()]);
            };
            // One script each: together they are sent, one by one they run, and none holds Redis.
            let found = orders.iter().map(|order| self.find_in(shard, &meta, order));
            let found = try_join_all(found).await?;
            if let Some(found) = found.into_iter().collect() {
                return Ok(found);
            }
        }
        Err(StoreError::Unavailable(
            "the view is being made anew again and again".to_owned(),
        ))
    }

    async fn reserve(&self, order_type: &TypeName, reserve: &Reserve) -> Result<Slots, StoreError> {
        let Some(spacing) = Spacing::of(reserve) else {
            return Ok(ceiling::nothing(reserve));
        };
        let (born, at, mode, for_us) = reserve.known.map_or((0, 0, 0, 0), |known| {
            let (mode, for_us) = match known.breaker {
                Breaker::Closed => (0, 0),
                Breaker::Open => (1, 0),
                Breaker::Closing { for_us } => (2, for_us),
            };
            (known.born_us, known.at_us, mode, for_us)
        });
        let key = key::ceiling(&self.prefix, order_type);
        let arguments = |command: &mut redis::Cmd| {
            command
                .arg(spacing.all)
                .arg(&reserve.wanted)
                .arg(&spacing.own)
                .arg(u8::from(reserve.heard.answered))
                .arg(reserve.heard.failures)
                .arg(born)
                .arg(at)
                .arg(mode)
                .arg(for_us)
                .arg(reserve.hold_us)
                .arg(reserve.most);
        };
        let connections = &self.connections;
        let answer = connections.call(0, &source::RESERVE, &key, &arguments);
        reply::slots(answer.await?)
    }

    async fn dump(&self, shard: u16) -> Result<Dump, StoreError> {
        dump::dump(self, shard).await
    }
}
