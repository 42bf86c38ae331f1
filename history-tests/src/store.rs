//! The stores, each with its server, its faults and its limits.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use test_servers::{Memcached, Postgres, Redis, Sentinels, Server};

use crate::{check::Limits, fault::Fault};

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
            Cut, Delay, FailOver, Freeze, HalfOpen, Hold, Kill, Refuse, Restart, Stop, Truncate,
        };
        match self {
            Self::Memory => &[Stop, Restart],
            Self::File | Self::Sqlite => &[Kill, Stop],
            Self::Sentinel => &[Kill, Stop, FailOver],
            Self::Postgres | Self::Redis | Self::Memcached => {
                &[Kill, Stop, Freeze, Restart, Cut, HalfOpen, Refuse, Delay, Hold, Truncate]
            }
        }
    }

    /// Returns the limits that the book states.
    pub(crate) fn limits(self) -> Limits {
        let exact = Limits { expiry_is_late_by: 20, ..Limits::default() };
        match self {
            Self::File | Self::Sqlite | Self::Postgres | Self::Sentinel => exact,
            Self::Memory | Self::Redis => Limits { restart_loses_all: true, ..exact },
            // Whole seconds, and two more, because a tick of the server may count two.
            Self::Memcached => Limits {
                restart_loses_all: true,
                held_writes_arrive_late: true,
                expiry_is_late_by: 4_000,
            },
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
            Self::Postgres => {
                Servers::One(Box::new(Postgres::start_with(&["synchronous_commit=on"])?))
            }
            Self::Redis => Servers::One(Box::new(Redis::start()?)),
            Self::Memcached => Servers::One(Box::new(Memcached::start()?)),
            Self::Sentinel => Servers::Group(Box::new(Sentinels::start(1, 3)?)),
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
}

impl Running {
    /// Returns the server, if there is one alone.
    pub(crate) fn server(&self) -> Option<&dyn Server> {
        match &self.server {
            Servers::One(it) => Some(&**it),
            Servers::None | Servers::Group(_) => None,
        }
    }

    /// Returns the group of servers, if there is one.
    pub(crate) fn group(&self) -> Option<&Sentinels> {
        match &self.server {
            Servers::Group(it) => Some(it),
            Servers::None | Servers::One(_) => None,
        }
    }

    /// Returns the lines of settings that name the store, reached at this address.
    pub(crate) fn settings(&self, at: Option<SocketAddr>) -> String {
        let at = at.map(|it| it.to_string()).unwrap_or_default();
        let path = self.folder.path().display();
        match (self.store, self.group()) {
            (Store::Memory, _) => "backend = 'memory'".to_owned(),
            (Store::File, _) => format!("backend = 'file'\nlocation = '{path}'"),
            (Store::Sqlite, _) => format!("backend = 'sqlite'\nlocation = '{path}/cache.db'"),
            (Store::Postgres, _) => {
                format!("backend = 'db'\nlocation = 'postgres://postgres@{at}/postgres'")
            }
            (Store::Redis | Store::Sentinel, None) => {
                format!("backend = 'redis'\nlocation = 'redis://{at}'")
            }
            (Store::Memcached, _) => format!("backend = 'memcached'\nlocation = '{at}'"),
            (Store::Redis | Store::Sentinel, Some(group)) => {
                let urls: Vec<_> =
                    group.sentinels().iter().map(|it| format!("'{}'", it.url())).collect();
                format!(
                    "backend = 'redis'\nlocation = [{}]\n\
                     options = {{ topology = 'sentinel', service_name = '{}' }}",
                    urls.join(", "),
                    group.name()
                )
            }
        }
    }
}
