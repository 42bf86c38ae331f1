//! The stores, each with its server, its faults and its limits.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use test_servers::{Memcached, Postgres, Redis, RedisCluster, Sentinel, Sentinels, Server};

use crate::{check::Limits, fault::Fault, near::NearTier};

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In the memory of one process.
    Memory,
    /// A directory.
    File,
    /// A table in a file.
    Sqlite,
    /// A table at a server.
    Postgres,
    /// A single server.
    Redis,
    /// A leader and a replica behind Sentinels.
    Sentinel,
    /// A single server.
    Memcached,
    /// A single server that reports changes to a near tier in each process.
    NearRedis,
    /// A leader and a replica behind Sentinels that do so.
    NearSentinel,
    /// Three masters and their replicas that do so.
    NearCluster,
    /// A table at a server that does so.
    NearPostgres,
    /// A single server, with a near tier in each process that hears of no changes.
    NearSilent,
}

impl Store {
    /// All stores.
    pub const ALL: &[Self] = &[
        Self::Memory,
        Self::File,
        Self::Sqlite,
        Self::Postgres,
        Self::Redis,
        Self::Sentinel,
        Self::Memcached,
        Self::NearRedis,
        Self::NearSentinel,
        Self::NearCluster,
        Self::NearPostgres,
        Self::NearSilent,
    ];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Sentinel => "sentinel",
            Self::Memcached => "memcached",
            Self::NearRedis => "near-redis",
            Self::NearSentinel => "near-sentinel",
            Self::NearCluster => "near-cluster",
            Self::NearPostgres => "near-postgres",
            Self::NearSilent => "near-silent",
        }
    }

    /// Returns the store of this name.
    ///
    /// # Errors
    /// If the name is unknown. The error lists the names.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|it| it.name() == name);
        let all: Vec<_> = Self::ALL.iter().map(|it| it.name()).collect();
        found.with_context(|| format!("`{name}` is not a store: {}", all.join(", ")))
    }

    /// Returns whether several processes share the entries.
    pub(crate) fn is_shared(self) -> bool {
        self != Self::Memory
    }

    /// Returns the faults that can happen.
    pub(crate) fn faults(self) -> &'static [Fault] {
        use Fault::{
            Cut, Delay, FailOver, Freeze, HalfOpen, HandOver, Hold, Kill, Refuse, Restart, Stop,
            Truncate,
        };
        match self {
            Self::Memory => &[Stop, Restart],
            Self::File | Self::Sqlite => &[Kill, Stop],
            Self::Sentinel | Self::NearSentinel => &[Kill, Stop, FailOver],
            Self::NearCluster => &[Kill, Stop, Freeze, Restart, HandOver, Cut],
            _ => &[Kill, Stop, Freeze, Restart, Cut, HalfOpen, Refuse, Delay, Hold, Truncate],
        }
    }

    /// Returns the limits that the book states.
    pub(crate) fn limits(self) -> Limits {
        let near = self.near().map(|it| it.bound);
        let exact = Limits { expiry_is_late_by: 20, near, ..Limits::default() };
        match self {
            Self::File
            | Self::Sqlite
            | Self::Postgres
            | Self::Sentinel
            | Self::NearSentinel
            | Self::NearPostgres => exact,
            Self::Memory | Self::Redis | Self::NearRedis | Self::NearSilent => {
                Limits { restart_loses_all: true, ..exact }
            }
            Self::NearCluster => Limits { outage_loses_writes: true, ..exact },
            // Whole seconds, and two more, because a tick of the server may count two.
            Self::Memcached => Limits {
                restart_loses_all: true,
                held_writes_arrive_late: true,
                expiry_is_late_by: 4_000,
                ..exact
            },
        }
    }

    /// Returns how old a value of another process may be that a near tier returns, in milliseconds;
    /// `None` without a near tier.
    pub fn near_bound(self) -> Option<u64> {
        self.near().map(|it| it.bound)
    }

    /// Returns the near tier of each process, if the store has one.
    pub(crate) fn near(self) -> Option<NearTier> {
        match self {
            Self::NearRedis => Some(NearTier::hearing("tracking")),
            Self::NearSentinel | Self::NearCluster => Some(NearTier::of_group()),
            Self::NearPostgres => Some(NearTier::hearing("postgres")),
            Self::NearSilent => Some(NearTier::silent()),
            _ => None,
        }
    }

    /// Starts the server of an empty store.
    ///
    /// # Errors
    /// If the server does not start.
    pub(crate) fn start(self) -> Result<Running> {
        let folder = tempfile::tempdir()?;
        let server = match self {
            Self::Memory | Self::File | Self::Sqlite => Servers::None,
            // The book promises nothing for commits that do not wait for the log.
            Self::Postgres | Self::NearPostgres => {
                Servers::One(Box::new(Postgres::start_with(&["synchronous_commit=on"])?))
            }
            Self::Redis | Self::NearRedis | Self::NearSilent => {
                Servers::One(Box::new(Redis::start()?))
            }
            Self::Memcached => Servers::One(Box::new(Memcached::start()?)),
            // The faults of the run are the only ones: a server that stands still on a busy machine
            // keeps its place, because a replica that took it would lose writes.
            Self::Sentinel | Self::NearSentinel => {
                Servers::Group(Box::new(Sentinels::start(1, 3)?.patient()?))
            }
            Self::NearCluster => Servers::Cluster(Box::new(RedisCluster::start(3, 3)?.patient()?)),
        };
        Ok(Running { store: self, folder, server })
    }
}

/// A store with its server.
pub(crate) struct Running {
    store: Store,
    folder: TempDir,
    server: Servers,
}

enum Servers {
    None,
    One(Box<dyn Server>),
    Group(Box<Sentinels>),
    Cluster(Box<RedisCluster>),
}

impl Running {
    /// Returns the server, if there is one alone.
    pub(crate) fn server(&self) -> Option<&dyn Server> {
        match &self.server {
            Servers::One(it) => Some(&**it),
            Servers::None | Servers::Group(_) | Servers::Cluster(_) => None,
        }
    }

    /// Returns the cluster, if it is one.
    pub(crate) fn cluster(&self) -> Option<&RedisCluster> {
        match &self.server {
            Servers::Cluster(it) => Some(&**it),
            _ => None,
        }
    }

    /// Returns the group of servers, if there is one.
    pub(crate) fn group(&self) -> Option<&Sentinels> {
        match &self.server {
            Servers::Group(it) => Some(it),
            Servers::None | Servers::One(_) | Servers::Cluster(_) => None,
        }
    }

    /// Returns the lines of settings of the store, reached at this address.
    pub(crate) fn settings(&self, at: Option<SocketAddr>) -> String {
        let at = at.map(|it| it.to_string()).unwrap_or_default();
        let path = self.folder.path().display();
        let location = match self.store {
            Store::Memory => "backend = 'memory'".to_owned(),
            Store::File => format!("backend = 'file'\nlocation = '{path}'"),
            Store::Sqlite => format!("backend = 'sqlite'\nlocation = '{path}/cache.db'"),
            Store::Postgres | Store::NearPostgres => {
                format!("backend = 'db'\nlocation = 'postgres://postgres@{at}/postgres'")
            }
            Store::Memcached => format!("backend = 'memcached'\nlocation = '{at}'"),
            Store::Redis
            | Store::Sentinel
            | Store::NearRedis
            | Store::NearSentinel
            | Store::NearCluster
            | Store::NearSilent => self.redis(&at),
        };
        match self.store.near() {
            Some(near) => format!("{location}\n{}", near.settings()),
            None => location,
        }
    }

    fn redis(&self, at: &str) -> String {
        let list = |urls: Vec<String>| {
            urls.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ")
        };
        match &self.server {
            Servers::Group(group) => format!(
                "backend = 'redis'\nlocation = [{}]\n\
                 options = {{ topology = 'sentinel', service_name = '{}' }}",
                list(group.sentinels().iter().map(Sentinel::url).collect()),
                group.name()
            ),
            Servers::Cluster(cluster) => format!(
                "backend = 'redis'\nlocation = [{}]\noptions = {{ topology = 'cluster' }}",
                list(cluster.urls())
            ),
            Servers::None | Servers::One(_) => {
                format!("backend = 'redis'\nlocation = 'redis://{at}'")
            }
        }
    }
}
