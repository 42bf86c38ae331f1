//! Values that are invalidated in groups: by a tag, or with their namespace.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use cache_core::Cache;
use tokio::time::sleep;

use super::{
    Client, LONG, epoch_of, is_well,
    values::{Stored, of_each, register},
};
use crate::{
    clock,
    planted::Bug,
    record::{Call, Reply, Way},
};

/// The time after which the next keys are used, in milliseconds.
const PERIOD: u64 = 2500;
/// The number of keys with the same tags. With few keys, other processes would replace a value
/// before it is known whether they still serve it after an invalidation.
const SLOTS: u64 = 4;

impl Client {
    /// Makes a call on a value with the tag `a`, or with the tags `a` and `b`.
    pub(super) async fn tagged(&mut self) -> Result<bool> {
        let name = if self.random.percent(50) { "tagged-a" } else { "tagged-ab" };
        let keys = self.keys(name, SLOTS, PERIOD);
        let cache = self.shared.grouped.clone();
        let tags: &[&str] = if name == "tagged-a" { &["a"] } else { &["a", "b"] };
        let tagged = cache.with_tags(tags.iter().map(|it| format!("{it}.{}", epoch_of(&keys[0]))));
        Ok(match (self.random.below(100), &keys[..]) {
            (0..45, [key]) if self.shared.plan.bug == Some(Bug::TagVersionsAreReadLate) => {
                self.fetch_with_late_tags(&tagged, key).await
            }
            (0..45, _) => self.fetch(&tagged, &keys).await,
            (45..73, _) => self.read(&cache, &keys).await,
            (73..81, _) => self.store(&tagged, &keys).await?,
            (81..95, _) => self.invalidate(&keys[0], Way::Tags).await?,
            _ => self.invalidate(&keys[0], Way::ExpireTags).await?,
        })
    }

    /// Makes a call on a value in a namespace.
    pub(super) async fn space(&mut self) -> Result<bool> {
        let keys = self.keys("space", 3, PERIOD);
        let space = format!("space.{}", epoch_of(&keys[0]));
        let cache = self.shared.grouped.namespace(&space)?;
        match self.random.below(100) {
            0..45 => Ok(self.fetch(&cache, &keys).await),
            45..75 => Ok(self.read(&cache, &keys).await),
            75..82 => self.store(&cache, &keys).await,
            _ => {
                let epoch = epoch_of(&keys[0]);
                let all: Vec<_> = (0..3).map(|it| format!("space{it}.{epoch}")).collect();
                let version = self.shared.source.change(&register(&keys[0]))?;
                let calls = of_each(&all, &Call::Invalidate { version, way: Way::Clear });
                let run = async {
                    cache.clear().await?;
                    Ok(vec![Reply::Done; all.len()])
                };
                Ok(self.record_all(&calls, run).await)
            }
        }
    }

    /// Invalidates one of the tags, after the source has changed.
    async fn invalidate(&mut self, key: &str, way: Way) -> Result<bool> {
        let epoch = epoch_of(key);
        let is_a = self.random.percent(60);
        let names: &[&str] = if is_a { &["tagged-a", "tagged-ab"] } else { &["tagged-ab"] };
        let concerned: Vec<_> = names
            .iter()
            .flat_map(|name| (0..SLOTS).map(move |it| format!("{name}{it}.{epoch}")))
            .collect();
        let tag = [format!("{}.{epoch}", if is_a { "a" } else { "b" })];
        let cache = self.shared.grouped.clone();
        let version = self.shared.source.change(&register(key))?;
        let run = async {
            match way {
                Way::ExpireTags => cache.expire_tags(&tag).await?,
                _ => cache.invalidate_tags(&tag).await?,
            }
            Ok(vec![Reply::Done; concerned.len()])
        };
        let calls = of_each(&concerned, &Call::Invalidate { version, way });
        Ok(self.record_all(&calls, run).await)
    }

    /// Writes values that were read from the source a moment before.
    async fn store(&mut self, cache: &Cache, keys: &[String]) -> Result<bool> {
        let at = clock::now();
        let version = self.shared.source.version(&register(&keys[0]))?;
        let ids = self.shared.recorder.calls(&of_each(keys, &Call::Store));
        for id in &ids {
            self.shared.recorder.load(*id, at, version);
        }
        let items: Vec<(String, Stored)> = keys
            .iter()
            .zip(&ids)
            .map(|(key, id)| (key.clone(), (key.clone(), version, *id)))
            .collect();
        let run = async {
            if let [(key, value)] = &items[..] {
                cache.set(key, value, LONG).await?;
                return Ok(vec![Reply::Done]);
            }
            set_all(cache, items).await
        };
        Ok(self.finish_all(&ids, run).await)
    }

    /// Loads a value as a program does that does not use `fetch`: it reads, loads, and writes.
    async fn fetch_with_late_tags(&mut self, tagged: &Cache, key: &str) -> bool {
        let id = self.shared.recorder.call(key, Call::Fetch);
        let shared = Arc::clone(&self.shared);
        let run = async {
            if let Some((_, version, by)) = tagged.get::<Stored>(key).await? {
                return Ok(Reply::Version { version, by });
            }
            let at = clock::now();
            let version = shared.source.version(&register(key)).expect("the source never fails");
            shared.recorder.load(id, at, version);
            // sleeps: the source is slow, and the value may be invalidated meanwhile
            sleep(Duration::from_millis(15)).await;
            tagged.set(key, &(key, version, id), LONG).await?;
            Ok(Reply::Version { version, by: id })
        };
        is_well(&self.finish(id, run).await)
    }
}

/// Writes a batch. Returns for each item, in order, whether it failed.
pub(super) async fn set_all<T>(
    cache: &Cache,
    items: Vec<(String, T)>,
) -> cache_core::Result<Vec<Reply>>
where
    T: serde::Serialize,
{
    let names: Vec<String> = items.iter().map(|it| it.0.clone()).collect();
    let failed = cache.set_many(items, LONG).await?;
    let reply = |name: &String| match failed.iter().find(|it| it.key == *name) {
        Some(it) => Reply::Failed(format!("{:?}: {}", it.error.kind(), it.error.message())),
        None => Reply::Done,
    };
    Ok(names.iter().map(reply).collect())
}
