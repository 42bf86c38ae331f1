//! Values that are loaded from the source, and deleted after the source has changed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Result;
use cache_core::{Cache, LoadContext};
use tokio::time::sleep;

use super::{Client, LONG, epoch_of, is_well};
use crate::{
    clock,
    record::{Call, Reply, Way},
};

/// A value: its key, its version, and the call that loaded or wrote it.
pub(super) type Stored = (String, u64, u64);

impl Client {
    /// Makes a call on a value that all processes load, with fences.
    pub(super) async fn value(&mut self) -> Result<bool> {
        let keys = self.keys("value", 3, 2500);
        let cache = self.shared.fenced.clone();
        self.call_value(&keys, cache).await
    }

    /// Makes a call on a value that only this process loads, without a fence.
    pub(super) async fn own_value(&mut self) -> Result<bool> {
        let name = format!("own{}.", self.shared.plan.process);
        let keys = self.keys(&name, 2, 2500);
        let cache = self.shared.plain.clone();
        self.call_value(&keys, cache).await
    }

    async fn call_value(&mut self, keys: &[String], cache: Cache) -> Result<bool> {
        let strict = cache.strict();
        match self.random.below(100) {
            0..50 => Ok(self.fetch(&strict, keys).await),
            50..78 => Ok(self.read(&strict, keys).await),
            it if it < 92 => self.delete(&strict, keys, Way::Delete).await,
            _ => self.delete(&cache, keys, Way::OpenDelete).await,
        }
    }

    async fn delete(&mut self, cache: &Cache, keys: &[String], way: Way) -> Result<bool> {
        let mut calls = Vec::new();
        for key in keys {
            let version = self.shared.source.change(key)?;
            calls.push((key.clone(), Call::Invalidate { version, way }));
        }
        let run = async { delete_all(cache, keys).await };
        Ok(self.record_all(&calls, run).await)
    }

    /// Reads values.
    pub(super) async fn read(&mut self, cache: &Cache, keys: &[String]) -> bool {
        let run = async {
            let mut found: HashMap<String, Stored> = match keys {
                [key] => cache.get(key).await?.map(|it| (key.clone(), it)).into_iter().collect(),
                _ => cache.get_many(keys.to_vec()).await?,
            };
            Ok(keys.iter().map(|key| of_key(key, found.remove(key))).collect())
        };
        self.record_all(&of_each(keys, &Call::Read), run).await
    }

    /// Reads values, and loads those that are missing. Some loads are slow.
    pub(super) async fn fetch(&mut self, cache: &Cache, keys: &[String]) -> bool {
        let slow = if self.random.percent(25) { self.random.between(2, 60) } else { 0 };
        let slow = Duration::from_millis(slow);
        match keys {
            [key] => self.fetch_one(cache, key, slow).await,
            _ => self.fetch_many(cache, keys, slow).await,
        }
    }

    async fn fetch_one(&mut self, cache: &Cache, key: &str, slow: Duration) -> bool {
        let is_forced = self.random.percent(8);
        // A value with an expired tag is served if its load fails.
        let fails = key.starts_with("tagged") && self.random.percent(5);
        let id = self.shared.recorder.call(key, Call::Fetch);
        let (shared, name) = (Arc::clone(&self.shared), key.to_owned());
        let load = move |context: LoadContext| async move {
            let at = clock::now();
            let version = shared.source.version(&register(&name)).map_err(|it| it.to_string())?;
            shared.recorder.load(id, at, version);
            // sleeps: the source is slow, and the value may be invalidated meanwhile
            sleep(slow).await;
            if fails {
                return Err("the source fails".to_owned());
            }
            if name.starts_with("revised") {
                context.revision(version);
            }
            Ok((name, version, id))
        };
        let fetch = cache.fetch(key).ttl(LONG);
        let fetch = if is_forced { fetch.force() } else { fetch };
        let run = async { Ok(of_key(key, Some(fetch.load(load).await?))) };
        is_well(&self.finish(id, run).await)
    }

    async fn fetch_many(&mut self, cache: &Cache, keys: &[String], slow: Duration) -> bool {
        let ids = self.shared.recorder.calls(&of_each(keys, &Call::Fetch));
        let shared = Arc::clone(&self.shared);
        let id_of: HashMap<_, _> = keys.iter().cloned().zip(ids.iter().copied()).collect();
        let read = |key: String| {
            let (id, at) = (id_of[&key], clock::now());
            let version = shared.source.version(&register(&key)).map_err(|it| it.to_string())?;
            shared.recorder.load(id, at, version);
            Ok((key.clone(), (key, version, id)))
        };
        let load = |missing: Vec<String>| {
            let loaded: Result<Vec<_>, String> = missing.into_iter().map(read).collect();
            async move {
                // sleeps: the source is slow, and the values may be invalidated meanwhile
                sleep(slow).await;
                loaded
            }
        };
        let run = async {
            let mut found = cache.get_or_try_set_many(keys.to_vec(), LONG, load).await?;
            Ok(keys.iter().map(|key| of_key(key, found.remove(key))).collect())
        };
        self.finish_all(&ids, run).await
    }
}

/// Returns the register of the source that has the version of a value. Values that are invalidated
/// together have one.
pub(super) fn register(key: &str) -> String {
    let shared = ["tagged", "space"].into_iter().find(|it| key.starts_with(it));
    shared.map_or(key.to_owned(), |name| format!("{name}.{}", epoch_of(key)))
}

/// Returns the same call for each key.
pub(super) fn of_each(keys: &[String], call: &Call) -> Vec<(String, Call)> {
    keys.iter().map(|key| (key.clone(), call.clone())).collect()
}

/// Deletes keys, and returns whether each existed. `delete_many` tells this only if it is so for
/// all or for none.
pub(super) async fn delete_all(cache: &Cache, keys: &[String]) -> cache_core::Result<Vec<Reply>> {
    let reply = match keys {
        [key] => Reply::Is(cache.delete(key).await?),
        _ => match cache.delete_many(keys).await? {
            0 => Reply::Is(false),
            it if it == keys.len() as u64 => Reply::Is(true),
            _ => Reply::Done,
        },
    };
    Ok(vec![reply; keys.len()])
}

/// Returns the version in a value that names its key.
fn of_key(key: &str, value: Option<Stored>) -> Reply {
    match value {
        None => Reply::Value(None),
        Some((of, version, by)) if of == key => Reply::Version { version, by },
        Some((of, version, _)) => Reply::Foreign(format!("version {version} of {of}")),
    }
}
