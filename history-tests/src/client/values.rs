//! Values that are loaded from the source, and deleted after the source has changed.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use cache_core::Cache;
use tokio::time::sleep;

use super::{Client, LONG, entries::of_key, is_well};
use crate::{
    clock,
    record::{Call, Reply},
};

impl Client {
    /// Makes a call on a value that all processes load, with fences.
    pub(super) async fn value(&mut self) -> Result<bool> {
        let key = self.key("value", 3, 2500);
        let cache = self.shared.fenced.clone();
        self.call_value(&key, cache).await
    }

    /// Makes a call on a value that only this process loads, without a fence.
    pub(super) async fn own_value(&mut self) -> Result<bool> {
        let name = format!("own{}.", self.shared.plan.process);
        let key = self.key(&name, 2, 2500);
        let cache = self.shared.plain.clone();
        self.call_value(&key, cache).await
    }

    async fn call_value(&mut self, key: &str, cache: Cache) -> Result<bool> {
        let strict = cache.strict();
        let reply = match self.random.below(100) {
            0..50 => self.fetch(key, &strict).await,
            50..78 => {
                let run = async { Ok(of_key(key, strict.get(key).await?)) };
                self.record(key, Call::Read, run).await.1
            }
            it => {
                let is_strict = it < 92;
                let version = self.shared.source.change(key)?;
                let cache = if is_strict { strict } else { cache };
                let run = async { Ok(Reply::Is(cache.delete(key).await?)) };
                let call = Call::Invalidate { version, strict: is_strict };
                self.record(key, call, run).await.1
            }
        };
        Ok(is_well(&reply))
    }

    /// Reads the value, and loads it if it is missing. Some loads are slow.
    async fn fetch(&mut self, key: &str, cache: &Cache) -> Reply {
        let slow = if self.random.percent(25) { self.random.between(2, 60) } else { 0 };
        let is_forced = self.random.percent(8);
        let id = self.shared.recorder.call(key, Call::Fetch);
        let (shared, register) = (Arc::clone(&self.shared), key.to_owned());
        let load = move |_| async move {
            let at = clock::now();
            let version = shared.source.version(&register).map_err(|it| it.to_string())?;
            shared.recorder.load(id, at, version);
            // sleeps: the source is slow, and the value may be deleted meanwhile
            sleep(Duration::from_millis(slow)).await;
            Ok::<_, String>((register, version))
        };
        let fetch = cache.fetch(key).ttl(LONG);
        let fetch = if is_forced { fetch.force() } else { fetch };
        let run = async { Ok(of_key(key, Some(fetch.load(load).await?))) };
        self.finish(id, run).await
    }
}
