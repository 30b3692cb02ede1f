//! The way into a Redis Cluster: which node owns a key, and whom to ask when that is no longer true.
//! It follows `MOVED`, which says that nothing ran, once. It never follows `ASK`: on the node that a
//! slot moves to, what has not arrived yet looks as if it had never been. Only shards whose owner
//! is in doubt wait while the others are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value,
};

use super::node::Node;
use super::slots::{Address, Slots, redirected, slot_of};

/// A node that has not told who owns what by then has no say.
const ASKED_WITHIN: Duration = Duration::from_millis(500);
/// So many nodes are asked at most, those of the configuration first.
const ASKED_MOST: usize = 16;

/// A cluster, and what it last said of itself.
pub(super) struct Cluster {
    /// The nodes of the configuration. The first lends its user and its TLS to those that it names.
    seeds: Vec<ConnectionInfo>,
    picture: Mutex<Picture>,
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Picture {
    slots: Slots,
    /// What a redirection told since.
    moved: BTreeMap<u16, Address>,
    /// Owners at whom something was in vain since.
    doubted: BTreeSet<Address>,
    nodes: BTreeMap<Address, Arc<Node>>,
}

impl Picture {
    fn owner(&self, slot: u16) -> Option<&Address> {
        self.moved.get(&slot).or_else(|| self.slots.owner(slot))
    }
}

impl Cluster {
    /// Asks the nodes of the configuration who owns what.
    ///
    /// # Errors
    /// An address that is none, or why nobody told.
    pub async fn open(seeds: Vec<ConnectionInfo>) -> Result<Self, RedisError> {
        let mut nodes = BTreeMap::new();
        for seed in &seeds {
            nodes.insert(place(seed)?, Arc::new(Node::new(seed.clone())?));
        }
        let picture = Picture {
            nodes,
            ..Picture::default()
        };
        let cluster = Self {
            seeds,
            picture: Mutex::new(picture),
            looking: tokio::sync::Mutex::default(),
        };
        cluster.look().await?;
        Ok(cluster)
    }

    /// Sends a command to the owner of its key.
    pub async fn command(&self, shard: u16, key: &str, command: &Cmd) -> Result<Value, RedisError> {
        let slot = slot_of(key);
        let (at, node) = self.owner(slot).await?;
        let answer = node.command(shard, command).await;
        let Some((at, node)) = self.judge(slot, &at, &answer) else {
            return answer;
        };
        let answer = node.command(shard, command).await;
        // Known from now on, and followed by the next command.
        drop(self.judge(slot, &at, &answer));
        answer
    }

    /// Sends commands to the owner of a key that shares its slot with theirs; they only read.
    pub async fn commands(
        &self,
        shard: u16,
        key: &str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>, RedisError> {
        let slot = slot_of(key);
        let (at, node) = self.owner(slot).await?;
        let answers = node.commands(shard, pipeline).await;
        match self.judge(slot, &at, &answers) {
            Some((_, node)) => node.commands(shard, pipeline).await,
            None => answers,
        }
    }

    /// Sends a command to every owner.
    pub async fn each(&self, command: &Cmd) -> Result<Vec<Value>, RedisError> {
        let owners: Vec<Address> = {
            let picture = self.picture();
            picture.slots.owners().into_iter().cloned().collect()
        };
        let mut answers = Vec::with_capacity(owners.len());
        for owner in owners {
            let node = self.node(&mut self.picture(), &owner)?;
            answers.push(node.command(0, command).await?);
        }
        Ok(answers)
    }

    fn picture(&self) -> MutexGuard<'_, Picture> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, picture: &mut Picture, at: &Address) -> Result<Arc<Node>, RedisError> {
        if let Some(node) = picture.nodes.get(at) {
            return Ok(Arc::clone(node));
        }
        let seed = self.seeds[0].clone();
        let (host, port) = at.clone();
        let address = match seed.addr() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        let node = Arc::new(Node::new(seed.set_addr(address))?);
        picture.nodes.insert(at.clone(), Arc::clone(&node));
        Ok(node)
    }

    /// The owner, unless it is in doubt.
    fn trusted(&self, slot: u16) -> Result<Option<(Address, Arc<Node>)>, RedisError> {
        let mut picture = self.picture();
        let Some(at) = picture.owner(slot).cloned() else {
            return Ok(None);
        };
        if picture.doubted.contains(&at) {
            return Ok(None);
        }
        let node = self.node(&mut picture, &at)?;
        Ok(Some((at, node)))
    }

    async fn owner(&self, slot: u16) -> Result<(Address, Arc<Node>), RedisError> {
        if let Some(found) = self.trusted(slot)? {
            return Ok(found);
        }
        let looking = self.looking.lock().await;
        // Somebody else may have looked meanwhile.
        if let Some(found) = self.trusted(slot)? {
            return Ok(found);
        }
        self.look().await?;
        drop(looking);
        let nobody = || RedisError::from((ErrorKind::ClusterConnectionNotFound, "nobody owns it"));
        self.trusted(slot)?.ok_or_else(nobody)
    }

    /// What an answer tells about who owns what; where else to send the same, if nothing ran.
    fn judge<T>(
        &self,
        slot: u16,
        at: &Address,
        answer: &Result<T, RedisError>,
    ) -> Option<(Address, Arc<Node>)> {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly};
        let error = answer.as_ref().err()?;
        match error.kind() {
            ErrorKind::Server(Moved) => {
                let (to, _) = error.redirect_node()?;
                let to = redirected(to, &at.0)?;
                let mut picture = self.picture();
                let node = self.node(&mut picture, &to).ok()?;
                picture.moved.insert(slot, to.clone());
                return Some((to, node));
            }
            ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly)
            | ErrorKind::Io => {
                self.picture().doubted.insert(at.clone());
            }
            _ => {}
        }
        None
    }

    /// Asks the nodes that are known, and believes most of those that answer in time.
    async fn look(&self) -> Result<(), RedisError> {
        let asked: Vec<(Address, Arc<Node>)> = {
            let mut picture = self.picture();
            let members = picture.slots.members.clone();
            let seeds = self.seeds.iter().filter_map(|seed| place(seed).ok());
            let mut all: Vec<Address> = seeds.collect();
            all.extend(
                members
                    .into_iter()
                    .filter(|at| !all.contains(at))
                    .collect::<Vec<_>>(),
            );
            all.truncate(ASKED_MOST);
            let node = |at: Address| {
                let node = self.node(&mut picture, &at)?;
                Ok::<_, RedisError>((at, node))
            };
            all.into_iter().map(node).collect::<Result<_, _>>()?
        };
        let question = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
        let answers = asked
            .iter()
            .map(|(_, node)| node.ask(&question, ASKED_WITHIN));
        let answers = join_all(answers).await;
        let mut why = RedisError::from((ErrorKind::Io, "no node of the cluster answers"));
        let mut said = Vec::new();
        for ((at, _), answer) in asked.iter().zip(answers) {
            match answer {
                Some(Ok(answer)) => said.extend(Slots::read(&answer, &at.0)),
                Some(Err(error)) => why = error,
                None => {}
            }
        }
        let slots = Slots::of_most(said).ok_or(why)?;
        let mut picture = self.picture();
        let Picture { nodes, .. } = &mut *picture;
        nodes
            .retain(|at, _| slots.members.contains(at) || asked.iter().any(|(kept, _)| kept == at));
        picture.slots = slots;
        picture.moved.clear();
        picture.doubted.clear();
        Ok(())
    }
}

fn place(info: &ConnectionInfo) -> Result<Address, RedisError> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Ok((host.clone(), *port))
        }
        _ => Err(RedisError::from((
            ErrorKind::InvalidClientConfig,
            "a node of a cluster has a host and a port",
        ))),
    }
}
