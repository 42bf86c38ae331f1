//! The store: dispatches the operations, and reads entries.

use std::{fmt, thread, time::Instant};

use bytes::Bytes;
use cache_core::{
    Clock, ErrorKind, Result, Ttl,
    store::{
        Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, NowaitReads, PerProcess,
        SetMode, Stamp, StoreId, SyncBackend, TtlUpdate, WouldBlock,
    },
};

use crate::{
    check, clear, counter,
    directory::Directory,
    entry_file::EntryFile,
    entry_path::EntryPath,
    error::{self, StepError},
    expiry,
    header::Header,
    options::{NAME, Plan},
    probe::{Found, Part, Probe},
    remove, rename,
    shared::Shared,
    write,
};

/// A store in a directory.
pub(crate) struct File {
    plan: Plan,
    clock: Clock,
    /// A child of `fork` gets its own: a lock on an inherited descriptor is the parent's, too.
    shared: PerProcess<Shared>,
}

/// How often a reader without a lock reads an entry that is being written.
const ATTEMPTS: usize = 4;

impl File {
    pub(crate) fn new(plan: Plan, clock: Clock) -> Self {
        Self { plan, clock, shared: PerProcess::new() }
    }

    pub(crate) fn shared(&self) -> &Shared {
        self.shared.get_or_init(|| Shared::new(self.plan.clone(), self.clock.clone()))
    }

    fn value(&self, key: &str, until: Instant) -> Result<Option<Bytes>> {
        Ok(self.find(key, Part::Value, until)?.map(|it| it.value))
    }

    fn entry(&self, key: &str, until: Instant) -> Result<Option<Entry>> {
        Ok(self.find(key, Part::Value, until)?.map(|it| self.to_entry(it)))
    }

    fn to_entry(&self, found: Found) -> Entry {
        let ttl = expiry::remaining(found.header.expires, &self.clock);
        Entry::new(found.value, ttl, Stamp(found.header.stamp))
    }

    /// Returns the header of a live entry. A damaged entry is absent here, without an error.
    fn head(&self, key: &str) -> Result<Option<Header>> {
        match self.find(key, Part::Head, self.shared().deadline()) {
            Err(error) if error.kind() == ErrorKind::Codec => Ok(None),
            found => Ok(found?.map(|it| it.header)),
        }
    }

    fn find(&self, key: &str, part: Part, until: Instant) -> Result<Option<Found>> {
        let shared = self.shared();
        let found = shared.read(until, |directory| find(shared, directory, key, part, until))?;
        Ok(found.flatten())
    }

    /// Finds the live entry of a key without waiting for anything.
    fn find_nowait(
        &self,
        key: &str,
        part: Part,
        max_len: usize,
    ) -> Result<Option<Found>, WouldBlock> {
        let shared = self.shared.get().ok_or(WouldBlock)?;
        let path = EntryPath::of(key);
        let read = |directory: &Directory| {
            let folder = directory.open_folder(path.folder()).ok_or(WouldBlock)?;
            directory.nowait.read(folder, &path, key, part, max_len)
        };
        let found = shared.directory.try_with(read).ok_or(WouldBlock)??;
        Ok(found.filter(|it| it.header.is_live(shared.now())))
    }
}

impl SyncBackend for File {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> StoreId {
        self.shared().id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let max_value = usize::try_from(self.plan.max_value).unwrap_or(usize::MAX);
        Capabilities::new().shared().persistent().max_value_len(max_value)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.value(key, self.shared().deadline())
    }

    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.entry(key, self.shared().deadline())
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let until = self.shared().batch_deadline(keys.len());
        keys.iter().map(|key| self.value(key, until)).collect()
    }

    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let until = self.shared().batch_deadline(keys.len());
        keys.iter().map(|key| self.entry(key, until)).collect()
    }

    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let until = self.shared().deadline();
        write::set(self.shared(), key, &value, expiry, mode, until)
    }

    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let until = self.shared().batch_deadline(items.len());
        let set = |(key, value): &(&str, Bytes)| {
            write::set(self.shared(), key, value, expiry, SetMode::Always, until).map(drop)
        };
        items.iter().map(set).collect()
    }

    fn has(&self, key: &str) -> Result<bool> {
        Ok(self.head(key)?.is_some())
    }

    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        Ok(self.head(key)?.map(|it| expiry::remaining(it.expires, &self.clock)))
    }

    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        write::touch(self.shared(), key, expiry)
    }

    fn delete(&self, key: &str) -> Result<bool> {
        remove::delete(self.shared(), key, self.shared().deadline())
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let until = self.shared().batch_deadline(keys.len());
        keys.iter().map(|key| remove::delete(self.shared(), key, until)).collect()
    }

    fn take(&self, key: &str) -> Result<Option<Bytes>> {
        remove::take(self.shared(), key)
    }

    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>> {
        counter::incr(self.shared(), key, delta, create)
    }

    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        remove::compare_and_delete(self.shared(), key, seen)
    }

    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        write::compare_and_set(self.shared(), key, seen, &value, lifetime)
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        rename::rename(self.shared(), from, to)
    }

    fn clear(&self, namespace: &Namespace) -> Result<()> {
        clear::clear(self.shared(), |key| namespace.contains(key))
    }

    fn clear_store(&self) -> Result<()> {
        clear::clear_store(self.shared())
    }

    fn check(&self) -> Result<()> {
        check::check(self.shared())
    }

    fn close(&self) -> Result<()> {
        self.shared().close();
        Ok(())
    }
}

impl NowaitReads for File {
    fn get_entry_nowait(&self, key: &str, max_len: usize) -> Result<Option<Entry>, WouldBlock> {
        Ok(self.find_nowait(key, Part::Value, max_len)?.map(|it| self.to_entry(it)))
    }

    fn ttl_nowait(&self, key: &str) -> Result<Option<Ttl>, WouldBlock> {
        let found = self.find_nowait(key, Part::Head, 0)?;
        Ok(found.map(|it| expiry::remaining(it.header.expires, &self.clock)))
    }
}

/// Finds the live entry of a key without a lock, and tries again if a writer interferes.
///
/// An entry that is damaged or incomplete even under the lock stays so: it is removed there, where
/// no other writer can have replaced it.
fn find(
    shared: &Shared,
    directory: &Directory,
    key: &str,
    part: Part,
    until: Instant,
) -> Result<Option<Found>, StepError> {
    let path = EntryPath::of(key);
    let Some(folder) = directory.folder(path.folder(), false)? else { return Ok(None) };
    let live = |found: Found| found.header.is_live(shared.now()).then_some(found);
    for _ in 0..ATTEMPTS {
        match folder.probe(&path, key, part)? {
            Probe::Found(found) => {
                directory.nowait.learn(folder, &path);
                return Ok(live(found));
            }
            Probe::Absent | Probe::OtherKey => return Ok(None),
            Probe::Newer => return Err(error::newer(path).into()),
            Probe::Incomplete | Probe::Damaged => thread::yield_now(),
        }
    }
    // The removal is counted if the counters can be opened.
    let _ = directory.open_counters();
    let lock = directory.lock_folder(folder, until)?;
    let found = folder.probe(&path, key, part)?;
    if matches!(found, Probe::Incomplete | Probe::Damaged) {
        // If the file cannot be removed, on a read-only disk for example, it is still a miss.
        let file = EntryFile::open(&lock, &path);
        let _ = file.and_then(|it| it.map_or(Ok(()), EntryFile::remove));
    }
    match found {
        Probe::Found(found) => Ok(live(found)),
        Probe::Damaged => Err(error::damaged(path).into()),
        Probe::Absent | Probe::Incomplete | Probe::OtherKey | Probe::Newer => Ok(None),
    }
}

/// Closes the directory. Otherwise the sweeper, if it is at work, would be the last to use it.
impl Drop for File {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.get() {
            shared.close();
        }
    }
}

/// Hides the path, which is a setting.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared().fmt(f)
    }
}
