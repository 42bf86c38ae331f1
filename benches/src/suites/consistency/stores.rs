//! The stores, and their contenders.

use std::{any::Any, net::SocketAddr};

use anyhow::Result;
use cache_db as _;
use cache_file as _;
use cache_memcached as _;
use cache_memory as _;
use cache_redis as _;
use test_servers::{Memcached, Postgres, Redis, Server};

use super::{calls::Contender, memcached, ours, redis, tags, tags::Most};
use crate::peers::{self, DjangoCache, Peer};

/// A store by its name.
pub(super) struct Store {
    pub(super) name: &'static str,
    pub(super) start: fn() -> Result<Place>,
    /// The entries of the largest tag that is invalidated.
    pub(super) most: Most,
}

pub(super) const STORES: [Store; 6] = [
    Store {
        name: "memory",
        start: || Ok(Place::here("backend = \"memory\"", Box::new(()))),
        most: Most::Million,
    },
    Store {
        name: "file",
        start: || in_folder("file", ""),
        // Each entry is a file: a million would take gigabytes of blocks and inodes.
        most: Most::HundredThousand,
    },
    Store { name: "sqlite", start: || in_folder("db", "/cache.db"), most: Most::Million },
    Store {
        name: "redis",
        start: || {
            let server = Redis::start()?;
            Ok(Place::on("redis", &server.url(), By::Redis, server))
        },
        most: Most::Million,
    },
    Store {
        name: "memcached",
        start: || {
            let server = Memcached::options().memory(1024).start()?;
            Ok(Place::on("memcached", &server.address().to_string(), By::Memcached, server))
        },
        most: Most::Million,
    },
    Store {
        name: "postgres",
        start: || {
            let server = Postgres::start()?;
            Ok(Place::on("db", &server.url(), By::None, server))
        },
        most: Most::Million,
    },
];

/// A store that is ready.
pub(super) struct Place {
    settings: String,
    pub(super) server: Option<SocketAddr>,
    by_hand: By,
    /// Removes the folder, or stops the server.
    _owner: Box<dyn Any>,
}

/// The raw client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    None,
    Redis,
    Memcached,
}

fn in_folder(backend: &str, file: &str) -> Result<Place> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().display();
    let settings = format!("backend = \"{backend}\"\nlocation = \"{path}{file}\"");
    Ok(Place::here(&settings, Box::new(folder)))
}

impl Place {
    fn here(settings: &str, owner: Box<dyn Any>) -> Self {
        Self { settings: settings.to_owned(), server: None, by_hand: By::None, _owner: owner }
    }

    fn on(backend: &str, location: &str, by_hand: By, server: impl Server + 'static) -> Self {
        let settings = format!("backend = \"{backend}\"\nlocation = \"{location}\"");
        let address = Some(server.address());
        Self { settings, server: address, by_hand, _owner: Box::new(server) }
    }

    /// Connects all contenders to the server at this address. The largest tag has `most` entries.
    pub(super) async fn contenders(
        &self,
        address: Option<SocketAddr>,
        most: Most,
    ) -> Result<Vec<Contender>> {
        let settings = match (self.server, address) {
            (Some(server), Some(other)) => {
                self.settings.replace(&server.to_string(), &other.to_string())
            }
            _ => self.settings.clone(),
        };
        let mut res = ours::contenders(&settings).await?;
        res.extend(tags::contenders(&settings, most).await?);
        match (self.by_hand, address) {
            (By::Redis, Some(it)) => res.extend(redis::contenders(it).await?),
            (By::Memcached, Some(it)) => res.extend(memcached::contenders(it).await?),
            _ => {}
        }
        Ok(res)
    }

    /// Returns django-redis, if this is its server and Python is there.
    pub(super) fn python(&self) -> Vec<Peer> {
        match self.server {
            Some(it) if self.by_hand == By::Redis => {
                let url = format!("redis://{it}");
                peers::django(&[DjangoCache::django_redis(&url)]).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}
