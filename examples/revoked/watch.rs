//! The replica of a service that serves a role until it is revoked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use cache_core::Cache;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

/// A task that reads a role again and again.
pub(crate) struct Watch(JoinHandle<Result<u64>>);

impl Watch {
    /// Starts the reads, and returns after one was answered from memory.
    pub(crate) async fn start(cache: Cache, key: String) -> Result<Self> {
        let (near, is_near) = oneshot::channel();
        let task = tokio::spawn(watch(cache, key, near));
        is_near.await.context("the role is never near")?;
        Ok(Self(task))
    }

    /// Waits until the role was deleted. Returns when the last read that found it began.
    pub(crate) async fn last(self) -> Result<u64> {
        self.0.await?
    }
}

async fn watch(cache: Cache, key: String, near: oneshot::Sender<()>) -> Result<u64> {
    let hits = || cache.stats().near.map_or(0, |it| it.hits);
    let (mut near, mut last) = (Some(near), 0);
    let before = hits();
    loop {
        let began = now()?;
        if cache.get::<String>(&key).await?.is_none() {
            return Ok(last);
        }
        last = began;
        if hits() > before
            && let Some(near) = near.take()
        {
            let _ = near.send(());
        }
        // sleeps: a request each millisecond
        sleep(Duration::from_millis(1)).await;
    }
}

/// Returns the nanoseconds of the machine's clock, which all processes share.
pub(crate) fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}
