//! The store: every operation is one atomic step on one key.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{
    Clock, Result, Ttl,
    store::{
        Backend, Capabilities, CounterInit, Entry, Expected, Expiry, Inline, IntoBackend,
        Namespace, SetMode, Stamp, StoreId, SyncBackend, TtlUpdate, integer,
    },
};

use crate::{
    clear,
    deadline::{Deadline, nanos},
    entry::Entry as StoredEntry,
    key::Lookup,
    limits::Limits,
    reader, rename,
    shard_guard::ShardGuard,
    shards::Shards,
};

/// A store in this process, bounded by entries and by bytes.
///
/// - **Bounds.** An entry weighs what it costs (key, value, and 160 bytes of bookkeeping), but at
///   least its share of `max_bytes`, so neither bound is ever exceeded. Values are copied when they
///   are stored, so that an entry does not keep a larger buffer alive. A `set`
///   of a value over [`max_value_len`](Capabilities::max_value_len) is refused with `TooLarge`, and
///   removes the old value if its mode allowed the write; no value is dropped silently.
/// - **Decoded values.** An entry keeps the decoded value of `get_arc` until its bytes are replaced
///   or removed. Its size in memory is unknown, and does not count for the bounds.
/// - **Expiry.** An entry expires by the monotonic clock, never early, and at most one tick of the
///   kernel's coarse clock (10 ms) late. An expired entry is absent for every operation. Its memory
///   is freed by the operation that finds it, or by later writes: each removes a few of the entries
///   that are due. There is no background thread and no pause; while writes continue, expired
///   entries occupy less than 5 % of the capacity.
/// - **Atomicity.** Operations on one key run one after the other.
///   [`rename`](SyncBackend::rename) locks both keys: an increment runs before or after it, and is
///   not lost. A reader of both keys may see the entry under both for a moment.
/// - **Clearing** removes entries one by one while readers and writers continue. It takes about
///   0.4 µs per entry. An entry that is written or renamed meanwhile may remain.
///
/// ```
/// use cache_core::{Ttl, store::{CounterInit, Expiry, SyncBackend}};
/// use cache_memory::Memory;
/// use std::time::Duration;
///
/// let memory = Memory::new();
/// let create = CounterInit::new(0, Expiry::After(Duration::from_secs(60)));
/// assert_eq!(memory.incr("visits", 1, Some(create))?, Some(1));
/// assert_eq!(memory.incr("visits", 1, Some(create))?, Some(2));
/// assert!(matches!(memory.ttl("visits")?, Some(Ttl::Remaining(_))));
/// # Ok::<_, cache_core::Error>(())
/// ```
pub struct Memory(pub(crate) Shards);

/// The name of the store in settings and errors.
pub(crate) const NAME: &str = "memory";

impl Memory {
    /// Creates a store with the default bounds, a million entries and 256 MiB, and the system
    /// clock.
    ///
    /// ```
    /// use cache_core::store::SyncBackend;
    ///
    /// assert_eq!(cache_memory::Memory::new().capabilities().max_value_len, Some(4 << 20));
    /// ```
    pub fn new() -> Self {
        Self::with_limits(Limits::DEFAULT, Clock::system())
    }

    pub(crate) fn with_limits(limits: Limits, clock: Clock) -> Self {
        Self(Shards::new(limits, clock))
    }

    /// Returns the number of entries, including expired ones that were not removed yet.
    ///
    /// ```
    /// # use cache_core::store::{Expiry, SetMode, SyncBackend};
    /// let memory = cache_memory::Memory::new();
    /// memory.set("k", "v".into(), Expiry::Never, SetMode::Always)?;
    /// assert_eq!(memory.len(), 1);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.0.engine.len()
    }

    /// Returns whether the store has no entries, expired ones included.
    ///
    /// ```
    /// assert!(cache_memory::Memory::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.engine.is_empty()
    }

    /// Returns how many bytes of the capacity are used. An entry uses at least
    /// `max_bytes / max_entries`.
    ///
    /// ```
    /// # use cache_core::store::{Expiry, SetMode, SyncBackend};
    /// let memory = cache_memory::Memory::new();
    /// memory.set("k", vec![0; 10_000].into(), Expiry::Never, SetMode::Always)?;
    /// assert!((10_001..11_000).contains(&memory.bytes()));
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn bytes(&self) -> u64 {
        self.0.engine.weight()
    }

    fn guard(&self, lookup: &Lookup<'_>) -> ShardGuard<'_> {
        ShardGuard::of_key(&self.0, lookup)
    }

    pub(crate) fn remaining(&self, deadline: Deadline) -> Ttl {
        let left = deadline.remaining(|| nanos(self.0.clock.now()));
        left.map_or(Ttl::Forever, Ttl::Remaining)
    }
}

impl SyncBackend for Memory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> StoreId {
        self.0.id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let max_value = usize::try_from(self.0.limits.max_value).unwrap_or(usize::MAX);
        Capabilities::new().granularity(TICK).max_value_len(max_value)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(reader::get(&self.0, &self.0.lookup(key)).map(StoredEntry::into_value))
    }

    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        let found = reader::get(&self.0, &self.0.lookup(key));
        Ok(found.map(|it| {
            let deadline = it.deadline();
            Entry::new(it.into_value(), self.remaining(deadline), stamp(deadline))
        }))
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        keys.iter().map(|key| self.get_entry(key)).collect()
    }

    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let lookup = self.0.lookup(key);
        let fits = self.0.limits.check_size(key, &value);
        let entry = fits.as_ref().map(|()| StoredEntry::new(key, &value));
        let mut guard = self.guard(&lookup);
        let allowed = match mode {
            SetMode::Always => true,
            SetMode::IfAbsent => guard.peek(&lookup, |_| ()).is_none(),
            SetMode::IfPresent => guard.peek(&lookup, |_| ()).is_some(),
        };
        match entry {
            Ok(entry) if allowed => {
                let deadline = guard.deadline(expiry);
                guard.put(&lookup, entry.expiring(deadline));
            }
            // The caller wanted the old value replaced: a miss is better than the old value.
            Err(_) if allowed => drop(guard.remove(&lookup)),
            _ => {}
        }
        fits.map(|()| allowed)
    }

    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let set =
            |(key, value): &(&str, Bytes)| self.set(key, value.clone(), expiry, SetMode::Always);
        items.iter().map(|item| set(item).map(drop)).collect()
    }

    fn has(&self, key: &str) -> Result<bool> {
        Ok(reader::get(&self.0, &self.0.lookup(key)).is_some())
    }

    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let found = reader::get(&self.0, &self.0.lookup(key));
        Ok(found.map(|it| self.remaining(it.deadline())))
    }

    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let lookup = self.0.lookup(key);
        let mut guard = self.guard(&lookup);
        let deadline = guard.deadline(expiry);
        Ok(guard.touch(&lookup, deadline))
    }

    fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.take(key)?.is_some())
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        keys.iter().map(|key| self.delete(key)).collect()
    }

    fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let lookup = self.0.lookup(key);
        let taken = self.guard(&lookup).remove(&lookup);
        Ok(taken.map(StoredEntry::into_value))
    }

    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>> {
        let lookup = self.0.lookup(key);
        let mut guard = self.guard(&lookup);
        let stored = guard.peek(&lookup, |it| (integer::parse(it.value()), it.deadline()));
        let (value, deadline) = match (stored, create) {
            (Some((value, deadline)), _) => (value?, deadline),
            (None, Some(create)) => (create.initial, guard.deadline(create.expiry)),
            (None, None) => return Ok(None),
        };
        let value = integer::add(value, delta)?;
        let text = value.to_string();
        self.0.limits.check_size(key, text.as_bytes())?;
        guard.put(&lookup, StoredEntry::new(key, text.as_bytes()).expiring(deadline));
        Ok(Some(value))
    }

    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let lookup = self.0.lookup(key);
        let mut guard = self.guard(&lookup);
        Ok(guard.remove_if(&lookup, |it| seen.is(it.value(), stamp(it.deadline()))).is_some())
    }

    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        self.0.limits.check_size(key, &value)?;
        let (lookup, entry) = (self.0.lookup(key), StoredEntry::new(key, &value));
        let mut guard = self.guard(&lookup);
        let same = guard
            .peek(&lookup, |it| seen.is(it.value(), stamp(it.deadline())).then(|| it.deadline()));
        let Some(old) = same.flatten() else { return Ok(false) };
        let deadline = match lifetime {
            TtlUpdate::Keep => old,
            TtlUpdate::New(expiry) => guard.deadline(expiry),
        };
        guard.put(&lookup, entry.expiring(deadline));
        Ok(true)
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        rename::rename(&self.0, from, to)
    }

    fn clear(&self, namespace: &Namespace) -> Result<()> {
        clear::remove_all(&self.0, |key| namespace.contains(key));
        Ok(())
    }

    fn clear_store(&self) -> Result<()> {
        clear::remove_all(&self.0, |_| true);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Without keys and values.
impl IntoBackend for Memory {
    fn into_backend(self) -> Arc<dyn Backend> {
        Arc::new(Inline::new(self).with_objects())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("entries", &self.len())
            .field("bytes", &self.bytes())
            .field("limits", &self.0.limits)
            .finish()
    }
}

/// The tick of the coarse clock on the slowest common kernel.
const TICK: Duration = Duration::from_millis(10);

/// The absolute expiry distinguishes an entry from a later one.
fn stamp(deadline: Deadline) -> Stamp {
    Stamp(deadline.to_bits())
}
