//! Entries in a namespace that is cleared, and batches of entries.

use std::collections::HashMap;

use anyhow::Result;
use cache_core::Cache;

use super::{
    Client,
    entries::of_key,
    epoch_of,
    groups::set_all,
    values::{delete_all, of_each},
};
use crate::record::{Call, Reply};

impl Client {
    /// Makes a call on an entry in a namespace, or clears the namespace.
    pub(super) async fn room(&mut self) -> Result<bool> {
        let keys = self.keys("room", 2, 900);
        let epoch = epoch_of(&keys[0]);
        let room = self.shared.plain.namespace(&format!("room.{epoch}"))?;
        if self.random.percent(8) {
            let all = [format!("room0.{epoch}"), format!("room1.{epoch}")];
            let run = async {
                room.clear().await?;
                Ok(vec![Reply::Done; all.len()])
            };
            return Ok(self.record_all(&of_each(&all, &Call::Clear), run).await);
        }
        if keys.len() > 1 {
            return Ok(self.entry_batch(&room, &keys).await);
        }
        let call = self.entry_call(None);
        Ok(self.call_entry(&room, &keys[0], call).await)
    }

    /// Makes a call on several entries.
    pub(super) async fn entry_batch(&mut self, cache: &Cache, keys: &[String]) -> bool {
        match self.random.below(100) {
            0..50 => {
                let run = async {
                    let mut found: HashMap<_, (String, u64)> =
                        cache.get_many(keys.to_vec()).await?;
                    Ok(keys.iter().map(|key| of_key(key, found.remove(key))).collect())
                };
                self.record_all(&of_each(keys, &Call::Get), run).await
            }
            50..80 => {
                let recorder = &self.shared.recorder;
                let ids: Vec<u64> = keys.iter().map(|_| recorder.unique()).collect();
                let all = || keys.iter().cloned().zip(&ids);
                let calls: Vec<_> = all().map(|(key, id)| (key, Call::Set(*id, None))).collect();
                let items: Vec<_> = all().map(|(key, id)| (key.clone(), (key, *id))).collect();
                self.record_all(&calls, set_all(cache, items)).await
            }
            _ => self.record_all(&of_each(keys, &Call::Delete), delete_all(cache, keys)).await,
        }
    }
}
