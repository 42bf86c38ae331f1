//! The fence of a load: the entry that must still be stored when the loaded value arrives.
//!
//! Before a fenced load runs, its key holds an entry that nothing replaces without notice: a lease
//! that this load wrote, or the old entry that it read. The loaded value is stored by
//! compare-and-set on this entry. So a write, a delete, a clear or another lease, from any process,
//! keeps the value out. All reads take a lease for an absent key, see
//! [`Found`].
//!
//! `tests/flight_model` checks it as a model, with its own `crate::cache`.

use std::{collections::HashMap, mem, time::Duration};

use bytes::Bytes;

use crate::{
    cache::{Cache, call, lock::runtime_of},
    error::{ErrorKind, Result},
    fetch::{Policy, singleflight::Lead},
    layer::Operation,
    runtime::{all, jitter, random},
    store::{Entry, Expected, SetMode, Stamp, TtlUpdate},
    timeout::{Expiry, Ttl},
    value::{
        Form,
        envelope::{self, Found},
        revision::{Change, Verdict},
    },
};

/// The longest waits between two reads of a lease of another process: the first one, and the last
/// after each wait was twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The number of keys of a batch whose leases or values are written at the same time.
pub(in crate::cache) const AT_ONCE: usize = 100;

/// The fence of one load.
pub(in crate::cache) struct Fence {
    cache: Cache,
    key: Box<str>,
    seen: Bytes,
    /// The stamp and the lifetime that remained at the read; `None` for a lease: no other entry has
    /// its bytes.
    entry: Option<(Stamp, Ttl)>,
    /// Whether `seen` is a lease of this load, which may still be stored.
    is_lease: bool,
}

/// The answer to a load that wants a fence.
pub(in crate::cache) enum Fenced {
    /// The value is stored if this fence allows it.
    By(Box<Fence>),
    /// The key has a value by now.
    Found(Bytes),
    /// Another load stores its value, if any does.
    Foreign,
    /// The store failed.
    Failed,
}

impl<V: Form> Cache<V> {
    /// Returns until when a load waits for the lease of another process; `None` if it does not
    /// wait.
    pub(in crate::cache) fn lease_wait(&self, policy: &Policy) -> Option<Duration> {
        let now = self.shared.clock.now();
        policy.lease_wait().then(|| now.saturating_add(policy.load_deadline))
    }

    /// Puts up the fence of a load, unless `accept` takes what is stored as the value. Waits for a
    /// load of another process until `wait`, and then takes its lease over: its value will not be
    /// stored. `has_entry` if the key probably has an old entry.
    pub(in crate::cache) async fn fence(
        &self,
        lead: &Lead,
        key: &str,
        policy: &Policy,
        wait: Option<Duration>,
        has_entry: bool,
        accept: &(dyn Fn(Found) -> Option<Bytes> + Send + Sync),
    ) -> Fenced {
        let res = self.try_fence(lead, key, policy.load_deadline, wait, has_entry, accept).await;
        res.unwrap_or_else(|error| {
            // As with a loaded value that could not be stored.
            let _ = self.fail(Operation::Set, Some(key), error);
            self.load_write_failed();
            Fenced::Failed
        })
    }

    async fn try_fence(
        &self,
        lead: &Lead,
        key: &str,
        lasts: Duration,
        wait: Option<Duration>,
        has_entry: bool,
        accept: &(dyn Fn(Found) -> Option<Bytes> + Send + Sync),
    ) -> Result<Fenced> {
        let (clock, owner) = (&self.shared.clock, *self.shared.lease_owner.get_or_init(random));
        let (lease, expiry) = (envelope::lease(owner), Expiry::After(lasts));
        // Boxed because it passes through the future of every load.
        let mut fence = Box::new(Fence::new(self.in_form(), key, lease.clone()));
        let mut longest = FIRST_WAIT;
        // The lease of another process that this load waits for.
        let mut awaited: Option<Bytes> = None;
        let mut write = if has_entry { None } else { Some(SetMode::IfAbsent) };
        loop {
            // A write in this process ended this load. A later load may have a lease by now, which
            // this one must not take for a lease that was left behind.
            if !lead.stores() {
                return Ok(Fenced::Foreign);
            }
            if let Some(mode) = write.take() {
                // First: if this future is dropped or the call times out, the lease may be stored.
                fence.is_lease = true;
                let res: Result<bool> = call!(self.set(key, lease.clone(), expiry, mode));
                if res? {
                    return Ok(Fenced::By(fence));
                }
                fence.is_lease = false;
            }
            let entry = match self.read_entry(key, true).await {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    write = Some(SetMode::IfAbsent);
                    continue;
                }
                // The value of another program, which the loaded value replaces, cannot be
                // compared. So the lease replaces it.
                Err(error) if error.kind().is_unreadable() => {
                    write = Some(SetMode::Always);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let holder = match self.verified(entry.value.clone(), entry.ttl).await? {
                Found::Lease(holder) => holder,
                found => {
                    let is_invalid = found.is_invalid();
                    if let Some(value) = accept(found) {
                        return Ok(Fenced::Found(value));
                    }
                    fence.put_on(entry, is_invalid);
                    return Ok(Fenced::By(fence));
                }
            };
            // One load per key and process may store its value, so a lease of this process is left
            // from an earlier load.
            if holder != owner {
                let Some(until) = wait else { return Ok(Fenced::Foreign) };
                let left = until.saturating_sub(clock.now());
                if !left.is_zero() {
                    awaited.get_or_insert(entry.value);
                    clock.sleep((longest / 2 + jitter(longest / 2)).min(left)).await;
                    longest = (longest * 2).min(LONGEST_WAIT);
                    continue;
                }
                // Its holder may be dead. A later lease is that of a process that loads now.
                if awaited.as_ref().is_some_and(|it| *it != entry.value) {
                    return Ok(Fenced::Foreign);
                }
            }
            fence.is_lease = true;
            let (seen, new) = (Expected::entry(&entry), TtlUpdate::New(expiry));
            let res: Result<bool> = call!(self.compare_and_set(key, seen, lease.clone(), new));
            if res? {
                return Ok(Fenced::By(fence));
            }
            fence.is_lease = false;
        }
    }
}

impl Fence {
    fn new(cache: Cache, key: &str, lease: Bytes) -> Self {
        Self { cache, key: key.into(), seen: lease, entry: None, is_lease: false }
    }

    /// Makes it the fence of a load that replaces an old entry. One with an invalid tag is past its
    /// timeout.
    fn put_on(&mut self, entry: Entry, is_invalid: bool) {
        let left = if is_invalid { Ttl::Remaining(Duration::ZERO) } else { entry.ttl };
        (self.seen, self.entry) = (entry.value, Some((entry.stamp, left)));
    }

    fn expected(&self) -> Expected<'_> {
        Expected::new(&self.seen, self.entry.map(|(stamp, _)| stamp))
    }

    /// Stores the loaded value, if the key was neither written nor deleted since the load began and
    /// has no newer revision.
    pub(in crate::cache) async fn replace(&mut self, value: Bytes, expiry: Expiry) -> Result<bool> {
        let (value, expiry) = match self.judge(&Change::store(value, expiry)) {
            Verdict::Applies(Some(new)) => new,
            Verdict::Applies(None) | Verdict::IsOld => {
                self.cache.revision_refused(Operation::Set);
                return Ok(false);
            }
        };
        let (cache, key, new) = (&self.cache, &*self.key, TtlUpdate::New(expiry));
        let res: Result<bool> = call!(cache.compare_and_set(key, self.expected(), value, new));
        match &res {
            // The lease was replaced, now or earlier.
            Ok(_) => self.is_lease = false,
            // The old value does not stay behind.
            Err(error) if error.kind() == ErrorKind::TooLarge => drop(self.delete_at(None).await),
            Err(_) => {}
        }
        res
    }

    /// Removes the entry, if the key was neither written nor deleted since the load began and has
    /// no newer revision.
    pub(in crate::cache) async fn delete_at(&mut self, revision: Option<u64>) -> Result<bool> {
        if self.judge(&Change::remove(revision)) == Verdict::IsOld {
            self.cache.revision_refused(Operation::Delete);
            return Ok(false);
        }
        let (cache, key) = (&self.cache, &*self.key);
        let res: Result<bool> = call!(cache.compare_and_delete(key, self.expected()));
        // If this failed, the lease ends by itself.
        self.is_lease = false;
        res
    }

    /// Decides on the change of the entry that the load replaces. A lease has no revision.
    fn judge(&self, change: &Change) -> Verdict {
        change.judge(&self.seen, self.entry.map_or(Ttl::Forever, |(_, left)| left))
    }

    /// Removes the lease of a load that stored nothing.
    pub(in crate::cache) async fn release(fence: Option<Box<Self>>) {
        if let Some(mut fence) = fence
            && fence.is_lease
        {
            let _: Result<bool> = Box::pin(fence.delete_at(None)).await;
        }
    }

    /// Removes the entries of keys of a batch that have no value.
    pub(super) async fn delete_all(keys: &[&str], fences: &mut HashMap<&str, Box<Self>>) {
        let mut fences: Vec<_> = keys.iter().filter_map(|it| fences.remove(*it)).collect();
        for chunk in fences.chunks_mut(AT_ONCE) {
            // If a delete fails, an old value lives on until its lifetime ends.
            let _: Vec<Result<bool>> = all(chunk.iter_mut().map(|it| it.delete_at(None))).await;
        }
    }

    /// Releases the fences of the keys of a batch for which nothing was stored.
    pub(super) async fn release_all(mut fences: impl Iterator<Item = Box<Self>>) {
        loop {
            let chunk: Vec<_> = fences.by_ref().take(AT_ONCE).collect();
            if chunk.is_empty() {
                return;
            }
            all(chunk.into_iter().map(|it| Self::release(Some(it)))).await;
        }
    }
}

/// The load was dropped. Its lease ends by itself, but other processes need not wait so long.
impl Drop for Fence {
    fn drop(&mut self) {
        if !mem::take(&mut self.is_lease) {
            return;
        }
        if let Some(store) = &self.cache.shared.sync {
            let _: Result<bool> = store.compare_and_delete(&self.key, self.expected());
            return;
        }
        let Ok(runtime) = runtime_of(&self.cache) else { return };
        let cache = self.cache.clone();
        let (key, lease) = (mem::take(&mut self.key), mem::take(&mut self.seen));
        drop(runtime.spawn(async move {
            let _: Result<bool> = call!(cache.compare_and_delete(&key, Expected::value(&lease)));
        }));
    }
}
