//! A store with a copy that lags. A test provides both parts.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Result, Ttl,
    store::{Backend, Capabilities, Entry, Views, forward},
};

/// Sends plain reads to the copy and all other calls to the leader. The leader's entries never
/// reach the copy.
#[derive(Clone, Debug)]
pub(crate) struct Replicated {
    pub(crate) leader: Arc<dyn Backend>,
    pub(crate) copy: Arc<dyn Backend>,
    /// The leader view.
    pub(crate) view: Option<Arc<dyn Backend>>,
    pub(crate) facts: Capabilities,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Replicated {
    forward!(
        Backend,
        self.leader,
        except capabilities, get, get_entry, get_many, get_entries, has, ttl
    );

    fn capabilities(&self) -> Capabilities {
        self.facts
    }
    fn views(self: Arc<Self>) -> Views {
        match &self.view {
            Some(view) => Views::none().with_leader(Arc::clone(view)),
            None => Views::none(),
        }
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.copy.get(key).await
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.copy.get_entry(key).await
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        self.copy.get_many(keys).await
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.copy.get_entries(keys).await
    }
    async fn has(&self, key: &str) -> Result<bool> {
        self.copy.has(key).await
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        self.copy.ttl(key).await
    }
}
