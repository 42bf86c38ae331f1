//! The store: every operation as one step on one key.

use std::{fmt, time::Duration};

use bytes::Bytes;
use cache_core::{
    Capabilities, Clock, Create, Entry, Error, ErrorKind, Expiry, Lifetime, Namespace, Result,
    Seen, SetMode, Stamp, StoreId, SyncBackend, Ttl, integer, payload_len,
};

use crate::{
    DRIVER, MemoryBuilder,
    deadline::{Deadline, nanos},
    entry,
    key::Lookup,
    limits::Limits,
    shard_guard::ShardGuard,
    shards::Shards,
};

/// A store in this process, bounded by entries and by bytes at once.
///
/// - **Bounds.** An entry weighs what it costs (key, value, and 160 bytes for its bookkeeping), but at least its share of
///   `max_bytes`, so neither bound is ever passed. Values are copied on the way in, so that an entry cannot keep alive a
///   larger buffer that it was cut from. A value over [`max_value_len`](Capabilities::max_value_len) is `TooLarge`, and
///   nothing is left under its key; no value is refused in silence.
/// - **Expiry.** By the monotonic clock, never early, and at most a tick of the kernel's clock (10 ms) late. An expired entry
///   is gone for every operation. Its memory is freed when somebody comes upon it, or by the writes that follow: each
///   removes a few of those that are due. There is no thread in the background and no pause; while writes go on,
///   less than 5 % of the room holds expired entries.
/// - **One step.** Operations on one key happen one after the other. [`rename`](SyncBackend::rename) holds both keys: an
///   increment comes before or after it, and is not lost. A reader of both may see the entry under both for a moment.
/// - **Clearing** removes entries one by one, so readers and writers go on meanwhile; it takes the caller some 0.4 µs
///   per entry. What is written while it goes on may stay, and so may an entry that is renamed meanwhile.
///
/// ```
/// use cache_core::{Create, Expiry, SyncBackend, Ttl};
/// use cache_memory::Memory;
/// use std::time::Duration;
///
/// let memory = Memory::new();
/// let create = Create { initial: 0, expiry: Expiry::After(Duration::from_secs(60)) };
/// assert_eq!(memory.incr("visits", 1, Some(create))?, Some(1));
/// assert_eq!(memory.incr("visits", 1, Some(create))?, Some(2));
/// assert!(matches!(memory.ttl("visits")?, Some(Ttl::Remaining(_))));
/// # Ok::<_, cache_core::Error>(())
/// ```
pub struct Memory(Shards);

impl Memory {
    /// A store with the default bounds, a million entries and 256 MiB, and the machine's clock.
    ///
    /// ```
    /// use cache_core::SyncBackend;
    ///
    /// assert_eq!(cache_memory::Memory::new().capabilities().max_value_len, Some(4 << 20));
    /// ```
    pub fn new() -> Self {
        Self::with_limits(Limits::DEFAULT, Clock::system())
    }

    /// A store with other bounds or another clock.
    ///
    /// ```
    /// assert!(cache_memory::Memory::builder().max_bytes(64 << 20).build().is_ok());
    /// ```
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::default()
    }

    pub(crate) fn with_limits(limits: Limits, clock: Clock) -> Self {
        Self(Shards::new(limits, clock))
    }

    /// How many entries it holds, with those that have expired and were not yet removed.
    ///
    /// ```
    /// # use cache_core::{Expiry, SetMode, SyncBackend};
    /// let memory = cache_memory::Memory::new();
    /// memory.set("k", "v".into(), Expiry::Never, SetMode::Always)?;
    /// assert_eq!(memory.len(), 1);
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.0.engine.len()
    }

    /// Whether it holds nothing.
    ///
    /// ```
    /// assert!(cache_memory::Memory::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.engine.is_empty()
    }

    /// How many bytes of its room are taken. An entry takes at least its share, `max_bytes / max_entries`.
    ///
    /// ```
    /// # use cache_core::{Expiry, SetMode, SyncBackend};
    /// let memory = cache_memory::Memory::new();
    /// memory.set("k", vec![0; 10_000].into(), Expiry::Never, SetMode::Always)?;
    /// assert!((10_001..11_000).contains(&memory.bytes()));
    /// # Ok::<_, cache_core::Error>(())
    /// ```
    pub fn bytes(&self) -> u64 {
        self.0.engine.weight()
    }

    /// Whether the value fits; asked first, as the engine would drop it in silence.
    fn check_size(&self, key: &str, value: &[u8]) -> Result<()> {
        let limits = &self.0.limits;
        // The second part can only fail for keys that are longer than any that the facade lets through.
        let len = payload_len(value);
        if len as u64 <= limits.max_value && entry::cost(key, value) <= limits.max_weight() {
            return Ok(());
        }
        Err(too_large(len, limits.max_value))
    }

    /// What a reader sees of a live entry.
    fn entry(&self, key: &str) -> Option<Entry> {
        let found = self.0.get(&self.0.lookup(key))?;
        let deadline = found.deadline();
        Some(Entry { value: found.data, ttl: self.remaining(deadline), stamp: stamp(deadline) })
    }

    fn remaining(&self, deadline: Deadline) -> Ttl {
        let left = deadline.remaining(|| nanos(self.0.clock.now()));
        left.map_or(Ttl::Forever, Ttl::Remaining)
    }
}

impl SyncBackend for Memory {
    fn name(&self) -> &'static str {
        DRIVER.name()
    }

    fn id(&self) -> StoreId {
        self.0.id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let max_value = usize::try_from(self.0.limits.max_value).unwrap_or(usize::MAX);
        Capabilities::new().granularity(TICK).max_value_len(max_value)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.0.get(&self.0.lookup(key)).map(|it| it.data))
    }

    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        Ok(self.entry(key))
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        keys.iter().map(|key| self.get_entry(key)).collect()
    }

    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let lookup = self.0.lookup(key);
        let fits = self.check_size(key, &value);
        let value = fits.as_ref().map(|()| exact(&value));
        let mut guard = self.0.write(&lookup);
        let allowed = match mode {
            SetMode::Always => true,
            SetMode::IfAbsent => guard.look(&lookup, |_| ()).is_none(),
            SetMode::IfPresent => guard.look(&lookup, |_| ()).is_some(),
        };
        match value {
            Ok(value) if allowed => {
                let deadline = guard.deadline(expiry);
                guard.put(&lookup, value, deadline);
            }
            // Better nothing than the old value, which the caller believes to be gone.
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
        Ok(self.0.get(&self.0.lookup(key)).is_some())
    }

    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let found = self.0.get(&self.0.lookup(key));
        Ok(found.map(|it| self.remaining(it.deadline())))
    }

    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let lookup = self.0.lookup(key);
        let mut guard = self.0.write(&lookup);
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
        let taken = self.0.write(&lookup).remove(&lookup);
        Ok(taken.map(|it| it.data))
    }

    fn incr(&self, key: &str, delta: i64, create: Option<Create>) -> Result<Option<i64>> {
        let lookup = self.0.lookup(key);
        let mut guard = self.0.write(&lookup);
        let stored = guard.look(&lookup, |it| (integer::parse(&it.data), it.deadline()));
        let (value, deadline) = match (stored, create) {
            (Some((value, deadline)), _) => (value?, deadline),
            (None, Some(create)) => (create.initial, guard.deadline(create.expiry)),
            (None, None) => return Ok(None),
        };
        let value = integer::add(value, delta)?;
        let text = value.to_string();
        self.check_size(key, text.as_bytes())?;
        guard.put(&lookup, exact(text.as_bytes()), deadline);
        Ok(Some(value))
    }

    fn compare_and_delete(&self, key: &str, seen: Seen<'_>) -> Result<bool> {
        let lookup = self.0.lookup(key);
        let mut guard = self.0.write(&lookup);
        Ok(guard.remove_if(&lookup, |it| seen.is(&it.data, stamp(it.deadline()))).is_some())
    }

    fn compare_and_set(
        &self,
        key: &str,
        seen: Seen<'_>,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<bool> {
        self.check_size(key, &value)?;
        let (lookup, value) = (self.0.lookup(key), exact(&value));
        let mut guard = self.0.write(&lookup);
        let same = guard
            .look(&lookup, |it| seen.is(&it.data, stamp(it.deadline())).then(|| it.deadline()));
        let Some(old) = same.flatten() else { return Ok(false) };
        let deadline = match lifetime {
            Lifetime::Keep => old,
            Lifetime::New(expiry) => guard.deadline(expiry),
        };
        guard.put(&lookup, value, deadline);
        Ok(true)
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let (source, target) = (self.0.lookup(from), self.0.lookup(to));
        let mut pair = ShardPair::lock(&self.0, &source, &target);
        let found = pair.guard(&source).look(&source, |it| (it.data.clone(), it.deadline()));
        let Some((value, deadline)) = found else { return Ok(false) };
        self.check_size(to, &value)?;
        // First in, then out: who looks for the entry in both places finds it in one.
        pair.guard(&target).put(&target, value, deadline);
        if from != to {
            pair.guard(&source).remove(&source);
        }
        Ok(true)
    }

    fn clear(&self, namespace: &Namespace) -> Result<()> {
        self.0.remove_all(|key| namespace.contains(key));
        Ok(())
    }

    fn clear_store(&self) -> Result<()> {
        self.0.remove_all(|_| true);
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
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("entries", &self.len())
            .field("bytes", &self.bytes())
            .field("limits", &self.0.limits)
            .finish()
    }
}

/// The only writer in the shards of two keys, which may be the same shard. With both held, no step on either key comes
/// between the two halves of a rename. Shards are entered in one order, so two renames cannot wait for each other.
struct ShardPair<'a> {
    shards: &'a Shards,
    low: ShardGuard<'a>,
    high: Option<(usize, ShardGuard<'a>)>,
}

impl<'a> ShardPair<'a> {
    fn lock(shards: &'a Shards, one: &Lookup<'_>, other: &Lookup<'_>) -> Self {
        let (one, other) = (shards.shard_of(one), shards.shard_of(other));
        let (low, high) = (one.min(other), one.max(other));
        let low_writing = shards.write_shard(low);
        let high = (high != low).then(|| (high, shards.write_shard(high)));
        Self { shards, low: low_writing, high }
    }

    fn guard(&mut self, lookup: &Lookup<'_>) -> &mut ShardGuard<'a> {
        match &mut self.high {
            Some((shard, high)) if *shard == self.shards.shard_of(lookup) => high,
            _ => &mut self.low,
        }
    }
}

/// The coarse clock of the slowest common kernel.
const TICK: Duration = Duration::from_millis(10);

/// Exactly these bytes: a buffer may be a small part of a large one, or have room left, and neither can be seen from outside.
fn exact(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}

/// The absolute expiry tells an entry from a later one.
fn stamp(deadline: Deadline) -> Stamp {
    Stamp(deadline.to_bits())
}

#[cold]
fn too_large(len: usize, max: u64) -> Error {
    let message =
        format!("the value has {len} bytes, and this store takes {max} (option `max_value_bytes`)");
    Error::new(ErrorKind::TooLarge, message)
}
