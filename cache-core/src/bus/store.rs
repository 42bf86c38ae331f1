//! The store of an alias on a bus.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{memory::BusMemory, message::Change, stats::BusStats};
use crate::{
    consistency::{Peer, Peers},
    error::{Error, ErrorKind, Result},
    key::{Namespace, marker},
    near::listen,
    runtime::first,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Kept, Object, Objects, SetMode,
        StoreId, TtlUpdate, Views,
    },
    telemetry::stats::{Counters, Event},
    timeout::{Expiry, Ttl},
    value::envelope,
};

/// Memory whose removals are published.
///
/// While it is bypassed, it reads as empty and keeps nothing. The markers of tags and namespaces
/// are no copies of anything, so they are read and written all the time.
pub(crate) struct BusStore {
    memory: Arc<BusMemory>,
    counters: Counters,
}

impl BusStore {
    pub(super) fn new(memory: Arc<BusMemory>) -> Self {
        Self { memory, counters: Counters::new() }
    }

    /// Sets the loads that messages end: those of this memory, and of all aliases of its store.
    pub(crate) fn attach(&self, own: impl FnOnce() -> Peer, peers: &Arc<Peers>) {
        self.memory.attach(own, peers);
    }

    /// Returns the counters of the alias, in which the store counts as well.
    pub(crate) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Returns the counters of the memory and of the alias.
    pub(crate) fn stats(&self) -> BusStats {
        self.memory.stats(self.counters.sum(Event::BusBypassed))
    }

    /// Returns the longest that a call of one key may take.
    pub(crate) fn patience(&self) -> Duration {
        self.memory.patience
    }

    /// Returns the name of the store that passes the messages on.
    pub(crate) fn bus_name(&self) -> &'static str {
        self.memory.server.name()
    }

    /// Returns the stored bytes of a key. This needs no future.
    #[inline]
    pub(crate) fn value(&self, key: &str) -> Option<Bytes> {
        if self.memory.is_open() { self.memory.store.get(key).ok()? } else { None }
    }

    /// Returns the entry of a key. This needs no future.
    #[inline]
    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        if self.memory.is_open() { self.memory.store.get_entry(key).ok()? } else { None }
    }

    /// Returns whether the memory is in use for this key.
    fn is_visible(&self, key: &str) -> bool {
        self.memory.is_open() || marker::is_marker(key)
    }

    /// Returns whether a key may be read, and counts it if not.
    fn is_readable(&self, key: &str) -> bool {
        if self.is_visible(key) {
            return true;
        }
        self.counters.add_event(Event::BusBypassed, 1);
        self.memory.observer.bus_bypassed_keys(1);
        self.start();
        false
    }

    /// Starts to receive messages. The memory is bypassed until the task can start.
    fn start(&self) {
        let _: Result<()> = listen::start(&self.memory);
    }

    /// Returns whether entries are kept. Before the first messages arrive, this waits for the first
    /// attempt to receive them: a program writes what it then reads.
    async fn is_keeping(&self) -> bool {
        if !self.memory.is_open() {
            self.start();
            let patience = self.memory.clock.sleep(self.memory.patience);
            first(self.memory.link.tried(), patience).await;
        }
        self.memory.is_open()
    }

    /// Publishes that keys were removed.
    async fn publish_removed(&self, keys: &[&str]) -> Result<()> {
        self.memory.publish(Change::Removed(keys)).await
    }
}

impl Objects for BusStore {
    fn read(&self, key: &str, read: &mut dyn FnMut(&Kept<'_>)) {
        if let Some(objects) = self.memory.objects.as_ref().filter(|_| self.memory.is_open()) {
            objects.read(key, read);
        }
    }

    fn keep(&self, key: &str, make: &mut dyn FnMut(Bytes) -> Option<Object>) {
        if let Some(objects) = &self.memory.objects {
            objects.keep(key, make);
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for BusStore {
    fn name(&self) -> &'static str {
        self.memory.store.name()
    }
    fn id(&self) -> StoreId {
        self.memory.store.id()
    }
    fn capabilities(&self) -> Capabilities {
        // The first call connects to the bus.
        self.memory.store.capabilities().connects()
    }
    fn views(self: Arc<Self>) -> Views {
        Views::none()
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        if self.is_readable(key) { self.memory.store.get(key) } else { Ok(None) }
    }
    async fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        if self.is_readable(key) { self.memory.store.get_entry(key) } else { Ok(None) }
    }
    async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        if self.memory.is_open() {
            return self.memory.store.get_many(keys);
        }
        let get = |key: &&str| {
            if self.is_readable(key) { self.memory.store.get(key) } else { Ok(None) }
        };
        keys.iter().map(get).collect()
    }
    async fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        if self.memory.is_open() {
            return self.memory.store.get_entries(keys);
        }
        let get = |key: &&str| {
            if self.is_readable(key) { self.memory.store.get_entry(key) } else { Ok(None) }
        };
        keys.iter().map(get).collect()
    }
    async fn has(&self, key: &str) -> Result<bool> {
        if self.is_readable(key) { self.memory.store.has(key) } else { Ok(false) }
    }
    async fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        if self.is_readable(key) { self.memory.store.ttl(key) } else { Ok(None) }
    }
    async fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        self.memory.note(key);
        let is_keeping = self.is_keeping().await;
        if marker::is_marker(key) {
            let is_set = self.memory.store.set(key, value, expiry, mode)?;
            // A reader that makes a missing marker replaces nothing.
            if mode != SetMode::IfAbsent {
                self.publish_removed(&[key]).await?;
            }
            return Ok(is_set);
        }
        let is_removal = envelope::is_floor(&value);
        let is_set = if is_keeping {
            self.memory.store.set(key, value, expiry, mode)?
        } else {
            match mode {
                SetMode::Always => true,
                SetMode::IfAbsent if is_removal => true,
                SetMode::IfAbsent => return Err(bypassed()),
                SetMode::IfPresent => false,
            }
        };
        if is_set && is_removal {
            self.publish_removed(&[key]).await?;
        }
        Ok(is_set)
    }
    async fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        for (key, _) in items {
            self.memory.note(key);
        }
        let is_removal =
            |(key, value): &&(&str, Bytes)| marker::is_marker(key) || envelope::is_floor(value);
        let removed: Vec<&str> = items.iter().filter(is_removal).map(|(key, _)| *key).collect();
        let is_keeping = self.is_keeping().await;
        let mut results = if removed.len() < items.len() && !is_keeping {
            let keep = |(key, value): &(&str, Bytes)| {
                if marker::is_marker(key) {
                    let set = self.memory.store.set(key, value.clone(), expiry, SetMode::Always);
                    return set.map(drop);
                }
                Ok(())
            };
            items.iter().map(keep).collect()
        } else {
            self.memory.store.set_many(items, expiry)
        };
        if !removed.is_empty()
            && let Err(error) = self.publish_removed(&removed).await
        {
            for (item, result) in items.iter().zip(&mut results) {
                if is_removal(&item) && result.is_ok() {
                    *result = Err(error.clone());
                }
            }
        }
        results
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        if self.is_readable(key) { self.memory.store.touch(key, expiry) } else { Ok(false) }
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        let was_visible = self.is_visible(key);
        let removed = self.memory.store.delete(key)?;
        self.publish_removed(&[key]).await?;
        Ok(removed && was_visible)
    }
    async fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let were_visible: Vec<_> = keys.iter().map(|it| self.is_visible(it)).collect();
        let removed = self.memory.store.delete_many(keys);
        if let Err(error) = self.publish_removed(keys).await {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        let both = removed.into_iter().zip(were_visible);
        both.map(|(removed, was_visible)| removed.map(|it| it && was_visible)).collect()
    }
    /// The value is removed after the message, because it would be lost with an error.
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.publish_removed(&[key]).await?;
        if self.is_visible(key) { self.memory.store.take(key) } else { Ok(None) }
    }
    async fn incr(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        self.memory.note(key);
        if self.is_keeping().await {
            return self.memory.store.incr(key, delta, create);
        }
        if create.is_some() { Err(bypassed()) } else { Ok(None) }
    }
    /// The entry is removed after the message, so that a caller may try again after an error.
    async fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        if !self.is_readable(key) {
            return Ok(false);
        }
        // Locks and leases are of this process alone.
        if !marker::is_of_lock(key) && !envelope::is_lease(seen.value) {
            let entry = self.memory.store.get_entry(key)?;
            if !entry.is_some_and(|it| seen.is(&it.value, it.stamp)) {
                return Ok(false);
            }
            self.publish_removed(&[key]).await?;
        }
        self.memory.store.compare_and_delete(key, seen)
    }
    async fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        if !self.is_readable(key) {
            return Ok(false);
        }
        let is_removal = envelope::is_floor(&value);
        let is_set = self.memory.store.compare_and_set(key, seen, value, lifetime)?;
        if is_set && marker::is_marker(key) {
            self.memory.publish(Change::Expired(key)).await?;
        } else if is_set && is_removal {
            self.publish_removed(&[key]).await?;
        }
        Ok(is_set)
    }
    async fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.memory.note(to);
        if !self.is_visible(from) {
            return Ok(false);
        }
        self.publish_removed(&[from]).await?;
        self.memory.store.rename(from, to)
    }
    async fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.memory.store.clear(namespace)?;
        self.memory.publish(Change::Cleared(namespace)).await
    }
    async fn clear_store(&self) -> Result<()> {
        self.memory.store.clear_store()?;
        self.memory.publish(Change::StoreCleared).await
    }
    /// Also verifies that messages arrive.
    async fn check(&self) -> Result<()> {
        self.memory.store.check()?;
        self.memory.server.check().await?;
        listen::start(&self.memory)?;
        self.memory.link.ready().await
    }
    /// Publishes what is pending. The memory begins empty with the next call.
    async fn close(&self) -> Result<()> {
        let published = self.memory.publish_pending().await;
        self.memory.link.stop().await;
        let emptied = self.memory.store.close();
        self.memory.server.close().await?;
        emptied.and(published)
    }
}

/// Creates the error of a call that needs an answer which bypassed memory cannot give.
#[cold]
fn bypassed() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the memory is bypassed, because no messages of other processes arrive over its bus",
    )
}

impl fmt::Debug for BusStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BusStore").field(&self.memory).finish()
    }
}
