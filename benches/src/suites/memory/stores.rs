//! The contenders behind one trait. All callers are generic, so the trait costs nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cache_core::store::{Expiry, SetMode, SyncBackend};
use cache_memory::Memory;
use foldhash::fast::RandomState;
use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

/// A contender.
pub(super) trait Store: Send + Sync + Sized {
    const NAME: &'static str;

    /// Creates a store with room for so many entries and an optional lifetime for all entries.
    fn new(room: usize, life: Option<Duration>) -> Self;
    fn get(&self, key: &str) -> Option<Bytes>;
    fn set(&self, key: &str, value: Bytes);
    fn len(&self) -> usize;

    /// Runs deferred work now.
    fn settle(&self) {}
}

pub(super) struct Ours(Memory, Expiry);

pub(super) type Engine = Cache<Box<str>, Bytes, UnitWeighter, RandomState>;

pub(super) type Moka = moka::sync::Cache<Box<str>, Bytes, RandomState>;

/// A map without a bound.
#[derive(Default)]
pub(super) struct Map(Mutex<HashMap<Box<str>, Bytes, RandomState>>);

pub(super) const VALUE_LEN: usize = 100;

/// Returns a new buffer each time.
pub(super) fn value() -> Bytes {
    Bytes::copy_from_slice(&[b'x'; VALUE_LEN])
}

pub(super) fn key(n: usize) -> String {
    format!("app:1:user:{n:08}")
}

/// Returns a key of the same length that no entry has.
pub(super) fn absent_key(n: usize) -> String {
    format!("app:1:none:{n:08}")
}

impl Store for Ours {
    const NAME: &'static str = "cache-memory";

    fn new(room: usize, life: Option<Duration>) -> Self {
        let (entries, kibibyte) = (room as u64, 1024);
        // The default bound is in bytes, for entries of 1 KiB.
        let bytes = (entries * kibibyte).max(256 * kibibyte * kibibyte);
        let memory = Memory::builder().max_entries(entries).max_bytes(bytes).build();
        Self(memory.unwrap_or_default(), life.map_or(Expiry::Never, Expiry::After))
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        self.0.get(key).ok()?
    }

    fn set(&self, key: &str, value: Bytes) {
        let stored = self.0.set(key, value, self.1, SetMode::Always);
        debug_assert!(stored.is_ok());
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl Store for Engine {
    const NAME: &'static str = "quick_cache";

    fn new(room: usize, _: Option<Duration>) -> Self {
        let (weigh, hashing) = (UnitWeighter, RandomState::default());
        Self::with(room, room as u64, weigh, hashing, DefaultLifecycle::default())
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        self.get(key)
    }

    fn set(&self, key: &str, value: Bytes) {
        self.insert(key.into(), value);
    }

    fn len(&self) -> usize {
        self.len()
    }
}

impl Store for Moka {
    const NAME: &'static str = "moka";

    fn new(room: usize, life: Option<Duration>) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(room as u64);
        let builder = match life {
            Some(life) => builder.time_to_live(life),
            None => builder,
        };
        builder.build_with_hasher(RandomState::default())
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        self.get(key)
    }

    fn set(&self, key: &str, value: Bytes) {
        self.insert(key.into(), value);
    }

    fn len(&self) -> usize {
        self.run_pending_tasks();
        usize::try_from(self.entry_count()).unwrap_or(usize::MAX)
    }

    fn settle(&self) {
        self.run_pending_tasks();
    }
}

impl Store for Map {
    const NAME: &'static str = "mutex_hashmap";

    fn new(_: usize, _: Option<Duration>) -> Self {
        Self::default()
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn set(&self, key: &str, value: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.into(), value);
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_stored_entries<S: Store>() {
        let store = S::new(3000, Some(Duration::from_secs(60)));
        (0..1000).for_each(|n| store.set(&key(n), value()));
        store.settle();
        assert_eq!(store.len(), 1000, "{}", S::NAME);
        assert!((0..1000).all(|n| store.get(&key(n)) == Some(value())), "{}", S::NAME);
        assert_eq!(store.get(&absent_key(1)), None);
    }

    #[test]
    fn all_contenders_return_stored_entries() {
        check_stored_entries::<Ours>();
        check_stored_entries::<Engine>();
        check_stored_entries::<Moka>();
        check_stored_entries::<Map>();
    }

    #[test]
    fn contenders_with_a_bound_hold_at_most_their_bound() {
        fn held<S: Store>() -> usize {
            let store = S::new(1000, None);
            (0..5000).for_each(|n| store.set(&key(n), value()));
            store.len()
        }
        assert!(held::<Ours>() <= 1000);
        assert!(held::<Engine>() <= 1000);
        assert!(held::<Moka>() <= 1000);
    }
}
