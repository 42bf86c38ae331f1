//! Peers in Python: what Django users have today, measured on the same server.
//!
//! They are measured where Python and its packages can be had, and left out with one line where
//! not. The packages go to a folder of their own under cargo's target folder, and nowhere else.

mod python;

use std::{cell::RefCell, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use self::python::{Python, Talk};
use crate::harness::Side;

/// The program that measures on request.
const PROGRAM: &str = include_str!("peers/django_caches.py");
const DJANGO: &str = "django==5.2.19";
const REDIS: &str = "redis==8.1.0";
const DJANGO_REDIS: &str = "django-redis==7.0.0";
const PYMEMCACHE: &str = "pymemcache==4.0.0";
const DISKCACHE: &str = "diskcache==5.6.3";
/// With its C extension, as users who need speed install it.
const PSYCOPG: [&str; 2] = ["psycopg==3.2.13", "psycopg-binary==3.2.13"];

/// A cache backend of Django.
#[derive(Clone, Debug)]
pub struct DjangoCache {
    name: &'static str,
    backend: Value,
    packages: Vec<&'static str>,
}

/// The operation: `get`, `set`, `get_many_100`, `set_many_100`, `incr`, `get_or_set` of an absent
/// key, or `lock`, which django-redis has. Each value is a dictionary, and there are 1000 keys; a
/// thread has a connection of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCase {
    /// The name that the program uses.
    pub case: &'static str,
    /// The length of a value as JSON. It is stored as a pickle, which is Django's default.
    pub value_bytes: usize,
    /// The number of threads.
    pub threads: usize,
}

/// Single writes of new keys into a full cache.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct FullWrites {
    /// The seconds that all writes took.
    pub seconds: f64,
    /// The median write.
    pub median: f64,
    /// The longest write.
    pub longest: f64,
}

/// A cache that is ready to be measured.
#[derive(Debug)]
pub struct Peer {
    name: &'static str,
    talk: RefCell<Talk>,
}

impl DjangoCache {
    /// Django's backend for Redis.
    pub fn redis(url: &str) -> Self {
        let backend = "django.core.cache.backends.redis.RedisCache";
        Self::new("django", json!({ "BACKEND": backend, "LOCATION": url }), &[REDIS])
    }

    /// The package django-redis.
    pub fn django_redis(url: &str) -> Self {
        let backend = json!({ "BACKEND": "django_redis.cache.RedisCache", "LOCATION": url });
        Self::new("django-redis", backend, &[REDIS, DJANGO_REDIS])
    }

    /// Django's backend for memcached, on pymemcache.
    pub fn memcached(address: &str) -> Self {
        let backend = "django.core.cache.backends.memcached.PyMemcacheCache";
        Self::new("django", json!({ "BACKEND": backend, "LOCATION": address }), &[PYMEMCACHE])
    }

    /// Django's own for a database, on a SQLite file with the pragmas of ours, and room for all.
    pub fn sqlite(file: &Path) -> Self {
        let pragmas =
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16384;";
        let options =
            json!({ "timeout": 10, "transaction_mode": "IMMEDIATE", "init_command": pragmas });
        let database =
            json!({ "ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": options });
        let backend = "django.core.cache.backends.db.DatabaseCache";
        let cache = json!({
            "BACKEND": backend, "LOCATION": "cache", "OPTIONS": { "MAX_ENTRIES": 1_000_000 },
            "DATABASE": database,
        });
        Self::new("django", cache, &[])
    }

    /// Django's own for a database, on this entry of `DATABASES` of a PostgreSQL, with room for
    /// all.
    pub fn postgres(database: &Value) -> Self {
        let backend = "django.core.cache.backends.db.DatabaseCache";
        let cache = json!({
            "BACKEND": backend, "LOCATION": "django", "OPTIONS": { "MAX_ENTRIES": 1_000_000 },
            "DATABASE": database,
        });
        Self::new("django", cache, &PSYCOPG)
    }

    /// With so many entries from the start: files of Django's or of diskcache, with values of 100
    /// bytes.
    #[must_use]
    pub fn with_entries(mut self, entries: usize) -> Self {
        self.backend["ENTRIES"] = entries.into();
        self
    }

    /// The package diskcache, with this entry of Django's `CACHES`.
    pub fn diskcache(backend: Value) -> Self {
        Self::new("diskcache", backend, &[DISKCACHE])
    }

    /// Any other: an entry of Django's `CACHES`, and the packages with their versions that it needs
    /// besides Django. Its keys begin with its name. A `DATABASE` in it is an entry of `DATABASES`,
    /// in which the table is made.
    pub fn new(name: &'static str, mut backend: Value, packages: &[&'static str]) -> Self {
        // Otherwise it would find values of other contenders on the same server.
        backend["KEY_PREFIX"] = name.into();
        Self { name, backend, packages: [&[DJANGO], packages].concat() }
    }
}

impl PeerCase {
    /// Returns a case of this name, with values of this size, on one thread.
    pub fn new(case: &'static str, value_bytes: usize) -> Self {
        Self { case, value_bytes, threads: 1 }
    }

    /// Runs on this many threads.
    #[must_use]
    pub fn on_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }
}

/// Returns the packages of the peers in Python, with their versions.
pub fn versions() -> String {
    let packages = [DJANGO, REDIS, DJANGO_REDIS, PYMEMCACHE, DISKCACHE, PSYCOPG[0]];
    packages.map(|it| it.replace("==", " ")).join(", ")
}

/// Starts these caches. None, and a line that says why, if Python, its packages or the network are
/// missing, or a cache does not work.
///
/// ```no_run
/// use benches::{
///     harness::{Case, Contest, Side, Unit},
///     peers::{self, DjangoCache, PeerCase},
/// };
///
/// # fn ours() -> Side<'static> { Side::busy("cache-redis", |_| ()) }
/// let url = "redis://127.0.0.1:6379";
/// let peers = peers::django(&[DjangoCache::redis(url), DjangoCache::django_redis(url)]);
/// let peers = peers.unwrap_or_default();
/// let mut sides = vec![ours()];
/// sides.extend(peers.iter().map(|it| it.side(&PeerCase::new("get", 100))));
/// let contest = Contest { case: Case::new("get", Unit::Nanos, 100), sides };
/// ```
pub fn django(caches: &[DjangoCache]) -> Option<Vec<Peer>> {
    match caches.iter().map(DjangoCache::start).collect::<Result<Vec<_>>>() {
        Ok(peers) => Some(peers),
        Err(err) => {
            // On standard error, as standard output has the table.
            eprintln!("without the peers in Python: {err:#}");
            None
        }
    }
}

impl DjangoCache {
    fn start(&self) -> Result<Peer> {
        let talk = Python::with(&self.packages)?.start(PROGRAM, &self.backend.to_string())?;
        let peer = Peer { name: self.name, talk: RefCell::new(talk) };
        time(&peer.talk.borrow_mut().hear()?).with_context(|| self.name)?;
        Ok(peer)
    }
}

impl Peer {
    /// Returns the name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// As a contender, which takes its turns with ours: by the clock, as is to be ours then.
    ///
    /// # Panics
    /// If it fails when it is measured: it has worked before.
    pub fn side(&self, case: &PeerCase) -> Side<'_> {
        let case = case.clone();
        Side::timed(self.name, move |count| match self.time(&case, count) {
            Ok(time) => time,
            Err(err) => panic!("{}, {}: {err:#}", self.name, case.case),
        })
    }

    fn time(&self, case: &PeerCase, count: u64) -> Result<Duration> {
        let PeerCase { case, value_bytes, threads } = case;
        let asked = json!({
            "case": case, "value_bytes": value_bytes, "threads": threads, "count": count,
        });
        time(&self.talk.borrow_mut().ask(&asked.to_string())?)
    }

    /// From now on one of [`with_entries`](DjangoCache::with_entries) has no room for more. Writes
    /// so many new keys, or as many as it can in two seconds, but a few at least.
    pub fn write_full(&self, value_bytes: usize, count: usize) -> Result<FullWrites> {
        let asked = json!({
            "case": "set_full", "value_bytes": value_bytes, "count": count, "seconds": 2, "least": 9,
        });
        parse(&self.talk.borrow_mut().ask(&asked.to_string())?).with_context(|| self.name)
    }
}

fn time(line: &str) -> Result<Duration> {
    #[derive(Deserialize)]
    struct Answer {
        seconds: f64,
    }
    Ok(Duration::try_from_secs_f64(parse::<Answer>(line)?.seconds)?)
}

/// Parses the program's reply.
fn parse<T: DeserializeOwned>(line: &str) -> Result<T> {
    serde_json::from_str(line).with_context(|| format!("line {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_time() {
        assert_eq!(time("{\"seconds\": 0.0405}\n").unwrap(), Duration::from_micros(40_500));
    }

    #[test]
    fn an_answer_that_is_no_time_is_told() {
        let err = time("Traceback").unwrap_err();
        assert_eq!(err.to_string(), "line \"Traceback\"");
        time("{\"seconds\": -1}").unwrap_err();
    }
}
