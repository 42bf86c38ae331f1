//! The measured caches and engines, with equal entries.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use cache_core::{
    BlockingCache, Cache,
    store::{Expiry, Inline, SetMode, SyncBackend},
};
use cache_memory::Memory;
use foldhash::fast::RandomState;
use quick_cache::{
    UnitWeighter,
    sync::{self, DefaultLifecycle},
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

/// The measured caches and engines, with equal entries.
pub struct Fixture {
    pub(super) runtime: Runtime,
    pub(super) cache: Cache,
    pub(super) bytes: Cache<Bytes>,
    pub(super) blocking_bytes: BlockingCache<Bytes>,
    pub(super) memory: Arc<Memory>,
    pub(super) engine: sync::Cache<Box<str>, Bytes, UnitWeighter, RandomState>,
    /// Decoded values, as a program keeps them by hand.
    pub(super) moka: moka::sync::Cache<String, Arc<User>>,
    pub(super) user: User,
    pub(super) json: Bytes,
    /// The keys of the callers.
    names: Vec<String>,
    /// The keys in the store.
    keys: Vec<String>,
}

/// A stored value: 89 bytes of JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct User {
    id: u64,
    name: String,
    email: String,
    active: bool,
    score: f64,
}

/// The number of keys of a batch.
pub(super) const MANY: usize = 100;

pub(super) const LIFETIME: Duration = Duration::from_secs(3600);
pub(super) const LIFE: Expiry = Expiry::After(LIFETIME);

/// So many keys that branch prediction does not learn them, and so few that they fit into the CPU
/// cache.
const KEYS: usize = 1_000;

impl Fixture {
    /// Creates and fills the caches and engines.
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let memory = Arc::new(Memory::new());
        let store = Inline::from_arc(Arc::clone(&memory)).with_objects();
        let cache = Cache::builder(Arc::new(store)).build("bench")?;
        let user = User::ada();
        let json = Bytes::from(serde_json::to_vec(&user)?);
        let names: Vec<String> = (0..KEYS).map(|n| format!("user:{n:06}")).collect();
        let keys: Vec<String> = names.iter().map(|it| format!(":1:{it}")).collect();
        let room = 2 * KEYS;
        let engine = sync::Cache::with(
            room,
            room as u64,
            UnitWeighter,
            RandomState::default(),
            DefaultLifecycle::default(),
        );
        let moka =
            moka::sync::Cache::builder().max_capacity(room as u64).time_to_live(LIFETIME).build();
        for key in &keys {
            moka.insert(key.clone(), Arc::new(User::ada()));
            memory.set(key, json.clone(), LIFE, SetMode::Always)?;
            engine.insert(key.as_str().into(), Bytes::copy_from_slice(&json));
        }
        memory.set(":1:counter", Bytes::from_static(b"0"), LIFE, SetMode::Always)?;
        let bytes = cache.bytes();
        let blocking_bytes = bytes.blocking();
        Ok(Self {
            runtime,
            cache,
            bytes,
            blocking_bytes,
            memory,
            engine,
            moka,
            user,
            json,
            names,
            keys,
        })
    }

    /// Returns the place of the key of the n-th call. Consecutive keys are far apart.
    pub(super) fn place(n: u64) -> usize {
        usize::try_from(n).unwrap_or_default().wrapping_mul(7919) % KEYS
    }

    pub(super) fn name(&self, place: usize) -> &str {
        &self.names[place]
    }

    pub(super) fn key(&self, place: usize) -> &str {
        &self.keys[place]
    }

    /// Returns the names of a batch.
    pub(super) fn many(&self, place: usize) -> impl Iterator<Item = &str> {
        (0..MANY).map(move |n| self.name((place + n) % KEYS))
    }

    /// Gets the values of a batch with a loop.
    pub(super) fn collect(
        &self,
        place: usize,
        get: impl Fn(&str) -> Option<Bytes>,
    ) -> HashMap<&str, User> {
        let places = (0..MANY).map(|n| (place + n) % KEYS);
        places.filter_map(|it| Some((self.name(it), User::decode(&get(self.key(it))?)?))).collect()
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl User {
    pub(super) fn ada() -> Self {
        Self {
            id: 123_456,
            name: "Ada Lovelace".into(),
            email: "ada@example.org".into(),
            active: true,
            score: 98.25,
        }
    }

    pub(super) fn decode(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_contenders_return_the_same_values() {
        let it = Fixture::new().unwrap();
        assert_eq!(it.json.len(), 89);
        for n in [0, 1, 4242, 999_999] {
            let place = Fixture::place(n);
            let ours = it.blocking_bytes.get(it.name(place)).unwrap();
            assert_eq!(ours.as_ref(), Some(&it.json));
            assert_eq!(it.memory.get(it.key(place)).unwrap(), ours);
            assert_eq!(it.engine.get(it.key(place)), ours);
        }
        let many = it.collect(7, |key| it.engine.get(key));
        assert_eq!(many.len(), MANY);
        assert_eq!(it.cache.blocking().get_many::<User, _>(it.many(7)).unwrap().len(), MANY);
    }
}
