//! Values with revisions, which are written in any order.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::{Client, LONG, is_well};
use crate::record::{Call, Reply, Way};

impl Client {
    /// Makes a call on a value whose revision is the version of the source.
    pub(super) async fn revised(&mut self) -> Result<bool> {
        let keys = self.keys("revised", 2, 2500);
        let cache = self.shared.revised.clone();
        match self.random.below(100) {
            // A batch that loads has no revisions, and would clear those that are stored.
            0..30 => Ok(self.fetch(&cache, &keys[..1]).await),
            30..60 => Ok(self.read(&cache, &keys).await),
            60..90 => self.set_revision(&keys[0]).await,
            _ => self.delete_revision(&keys[0]).await,
        }
    }

    /// Writes the version of the source: the newest one, or one that arrives late.
    async fn set_revision(&mut self, key: &str) -> Result<bool> {
        let version = if self.random.percent(50) {
            self.shared.source.change(key)?
        } else {
            self.shared.source.version(key)?
        };
        if self.random.percent(40) {
            let late = self.random.between(2, 40);
            // sleeps: a message about a row is late
            sleep(Duration::from_millis(late)).await;
        }
        let cache = self.shared.revised.clone();
        let call = Call::Invalidate { version, way: Way::SetRevision };
        let id = self.shared.recorder.call(key, call);
        let value = (key, version, id);
        let run = async { Ok(Reply::Is(cache.set_revision(key, &value, version, LONG).await?)) };
        Ok(is_well(&self.finish(id, run).await))
    }

    /// Deletes all versions before the newest one.
    async fn delete_revision(&mut self, key: &str) -> Result<bool> {
        let cache = self.shared.revised.clone();
        let version = self.shared.source.change(key)?;
        let run = async {
            Ok(Reply::Is(cache.delete_revision(key, version.saturating_sub(1), LONG).await?))
        };
        let call = Call::Invalidate { version, way: Way::DeleteRevision };
        Ok(is_well(&self.record(key, call, run).await.1))
    }
}
