//! The changes of a load on a cache with revisions.

use bytes::Bytes;

use super::Known;
use crate::{
    cache::{
        Cache, call,
        fetch::{AT_ONCE, Fence},
    },
    error::Result,
    key::FullKey,
    layer::Operation,
    runtime::all,
    timeout::Expiry,
    value::{Form, revision::Change},
};

impl<V: Form> Cache<V> {
    /// Removes the entry of a load that found no value. Returns whether it was removed.
    pub(in crate::cache) async fn delete_loaded(
        &self,
        key: &FullKey,
        fence: Option<&mut Fence>,
        revision: Option<u64>,
    ) -> Result<bool> {
        let res = match fence {
            Some(fence) => fence.delete_at(revision).await,
            None if self.shared.fetch.allowed().revisions => {
                self.remove_loaded(key, revision).await
            }
            None => call!(self.delete(key)),
        };
        self.answer(Operation::Delete, Some(key), res)
    }

    /// Stores the values of a batch, one by one: a batch of the store does not compare.
    pub(in crate::cache) async fn apply_loaded_many(
        &self,
        items: &[(&str, Bytes)],
        expiry: Expiry,
    ) {
        for chunk in items.chunks(AT_ONCE) {
            let writes = chunk.iter().map(async |(key, value)| {
                if let Err(error) = self.write_loaded(key, None, value.clone(), expiry).await {
                    self.load_not_stored(key, value, &error);
                }
            });
            all(writes).await;
        }
    }

    /// Removes what is stored under the keys of a batch without a value.
    pub(in crate::cache) async fn remove_loaded_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let mut answers = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(AT_ONCE) {
            answers.extend(all(chunk.iter().map(|key| self.remove_loaded(key, None))).await);
        }
        answers
    }

    async fn remove_loaded(&self, key: &str, revision: Option<u64>) -> Result<bool> {
        let change = Change::remove(revision);
        self.apply_loaded(Operation::Delete, key, &change, Known::Nothing).await
    }
}
