//! The store: every operation as one step under the lock of a folder, and reads without one.

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;
use cache_core::{
    Clock, ErrorKind, Result, Ttl,
    store::{
        Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, PerProcess, SetMode, Stamp,
        StoreId, SyncBackend, TtlUpdate, integer, payload_len,
    },
};

use crate::{
    DRIVER, clear,
    directory::Directory,
    entry_file::New,
    entry_path::EntryPath,
    error::{self, StepError},
    eviction, expiry,
    header::Header,
    location,
    options::Plan,
    probe::{Found, Part, Probe},
    shared::Shared,
};

/// A store in a directory.
pub(crate) struct File {
    plan: Plan,
    clock: Clock,
    shared: PerProcess<Arc<Shared>>,
}

impl File {
    pub(crate) fn new(plan: Plan, clock: Clock) -> Self {
        Self { plan, clock, shared: PerProcess::new() }
    }

    /// That of this process: a lock on an inherited descriptor would be the parent's, too.
    fn shared(&self) -> &Arc<Shared> {
        self.shared.get_or_init(|| Arc::new(Shared::new(self.plan.clone(), self.clock.clone())))
    }

    fn find(&self, key: &str, part: Part, until: Instant) -> Result<Option<Found>> {
        let found = self.shared().read(until, |it| self.shared().find(it, key, part, until))?;
        Ok(found.flatten())
    }

    fn value_until(&self, key: &str, until: Instant) -> Result<Option<Bytes>> {
        Ok(self.find(key, Part::Value, until)?.map(|it| it.value))
    }

    fn entry_until(&self, key: &str, until: Instant) -> Result<Option<Entry>> {
        let found = self.find(key, Part::Value, until)?;
        Ok(found.map(|it| Entry {
            value: it.value,
            ttl: expiry::remaining(it.header.expires, &self.shared().clock),
            stamp: Stamp(it.header.stamp),
        }))
    }

    /// As [`find`](Self::find) for those who only ask whether it is there: what is damaged is not.
    fn head(&self, key: &str) -> Result<Option<Header>> {
        match self.find(key, Part::Head, self.shared().until()) {
            Err(error) if error.kind() == ErrorKind::Codec => Ok(None),
            res => Ok(res?.map(|it| it.header)),
        }
    }

    /// Runs a step that may leave more than there was, and then makes room.
    fn grow<T>(
        &self,
        key: &str,
        until: Instant,
        step: impl Fn(&Directory) -> Result<(T, u64), StepError>,
    ) -> Result<T> {
        let (answer, grown) = self.shared().write(until, step)?;
        if grown > 0 {
            eviction::make_room(self.shared(), &EntryPath::of(key), grown);
        }
        Ok(answer)
    }

    fn check_size(&self, value: &Bytes) -> Result<()> {
        let max = self.shared().plan.max_value;
        let len = payload_len(value);
        if len as u64 <= max { Ok(()) } else { Err(error::too_large(len, max)) }
    }

    fn new_entry<'a>(&self, key: &'a str, value: &'a Bytes, expires: u64) -> New<'a> {
        New { key, value, expires, stamp: self.shared().stamp() }
    }

    fn set_until(
        &self,
        key: &str,
        value: &Bytes,
        expiry: Expiry,
        mode: SetMode,
        until: Instant,
    ) -> Result<bool> {
        let fits = self.check_size(value);
        let name = EntryPath::of(key);
        let allowed = self.grow(key, until, |directory| {
            let locked = Shared::lock(directory, &name, until)?;
            let found = if fits.is_ok() && mode != SetMode::IfPresent {
                Some(locked.entry_file_or_new(&name)?)
            } else {
                locked.entry_file(&name)?
            };
            let live = match (&found, mode) {
                (_, SetMode::Always) => true,
                (Some(entry), _) => entry.live(key, Part::Head, self.shared().now())?.is_some(),
                (None, _) => false,
            };
            let allowed = mode == SetMode::Always || live == (mode == SetMode::IfPresent);
            let Some(mut entry) = found.filter(|_| allowed) else { return Ok((allowed, 0)) };
            if fits.is_err() {
                // Better nothing than the old value, which the caller believes to be gone.
                if !matches!(entry.probe(Some(key), Part::Head)?, Probe::Other) {
                    entry.remove()?;
                }
                return Ok((true, 0));
            }
            let expires = expiry::expires(expiry, &self.shared().clock);
            if let Err(error) = entry.write(&self.new_entry(key, value, expires)) {
                // As above; it may be gone already.
                let _ = entry.remove();
                return Err(error);
            }
            Ok((true, locked.growth()))
        })?;
        // A write that was not allowed is not too large.
        if allowed { fits.map(|()| true) } else { Ok(false) }
    }

    /// Removes the live entry if it is wanted, and what has expired or is damaged anyway; the live one that was removed.
    fn remove_if(
        &self,
        key: &str,
        part: Part,
        until: Instant,
        wanted: impl Fn(&Found) -> bool,
    ) -> Result<Option<Found>> {
        let name = EntryPath::of(key);
        let removed = self.shared().read(until, |directory| {
            let Some(folder) = directory.folder(name.folder(), false)? else { return Ok(None) };
            // Else each delete of what is not there would wait for a lock.
            if folder.open(&name, rustix::fs::OFlags::RDONLY)?.is_none() {
                return Ok(None);
            }
            directory.counters.open(directory)?;
            let locked = folder.lock(directory, until)?;
            let Some(entry) = locked.entry_file(&name)? else { return Ok(None) };
            match entry.probe(Some(key), part)? {
                Probe::Other => Ok(None),
                Probe::Found(it) if it.header.is_live(self.shared().now()) => {
                    if !wanted(&it) {
                        return Ok(None);
                    }
                    entry.retire()?;
                    Ok(Some(it))
                }
                Probe::Newer if part == Part::Value => Err(error::newer(name).into()),
                Probe::Damaged if part == Part::Value => {
                    entry.remove()?;
                    Err(error::damaged(name).into())
                }
                _ => entry.remove().map(|()| None),
            }
        })?;
        Ok(removed.flatten())
    }

    fn delete_until(&self, key: &str, until: Instant) -> Result<bool> {
        Ok(self.remove_if(key, Part::Head, until, |_| true)?.is_some())
    }
}

impl SyncBackend for File {
    fn name(&self) -> &'static str {
        DRIVER.name()
    }

    fn id(&self) -> StoreId {
        self.shared().id.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let max_value = usize::try_from(self.shared().plan.max_value).unwrap_or(usize::MAX);
        Capabilities::new().shared().persistent().max_value_len(max_value)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.value_until(key, self.shared().until())
    }

    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.entry_until(key, self.shared().until())
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let until = self.shared().until_of(keys.len());
        keys.iter().map(|key| self.value_until(key, until)).collect()
    }

    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        let until = self.shared().until_of(keys.len());
        keys.iter().map(|key| self.entry_until(key, until)).collect()
    }

    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        self.set_until(key, &value, expiry, mode, self.shared().until())
    }

    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let until = self.shared().until_of(items.len());
        let set = |(key, value): &(&str, Bytes)| {
            self.set_until(key, value, expiry, SetMode::Always, until).map(drop)
        };
        items.iter().map(set).collect()
    }

    fn has(&self, key: &str) -> Result<bool> {
        Ok(self.head(key)?.is_some())
    }

    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        Ok(self.head(key)?.map(|it| expiry::remaining(it.expires, &self.shared().clock)))
    }

    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let (name, until) = (EntryPath::of(key), self.shared().until());
        self.shared().write(until, |directory| {
            let locked = Shared::lock(directory, &name, until)?;
            let Some(mut entry) = locked.entry_file(&name)? else { return Ok(false) };
            let Some(found) = entry.live(key, Part::Head, self.shared().now())? else {
                return Ok(false);
            };
            let expires = expiry::expires(expiry, &self.shared().clock);
            entry.touch(key, &Header { expires, stamp: self.shared().stamp(), ..found.header })?;
            Ok(true)
        })
    }

    fn delete(&self, key: &str) -> Result<bool> {
        self.delete_until(key, self.shared().until())
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        let until = self.shared().until_of(keys.len());
        keys.iter().map(|key| self.delete_until(key, until)).collect()
    }

    fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let taken = self.remove_if(key, Part::Value, self.shared().until(), |_| true)?;
        Ok(taken.map(|it| it.value))
    }

    fn incr(&self, key: &str, delta: i64, create: Option<Create>) -> Result<Option<i64>> {
        let (name, until) = (EntryPath::of(key), self.shared().until());
        self.grow(key, until, |directory| {
            let locked = Shared::lock(directory, &name, until)?;
            let found = match locked.entry_file(&name)? {
                Some(entry) => entry.live(key, Part::Value, self.shared().now())?,
                None => None,
            };
            let (value, expires) = match (&found, create) {
                (Some(it), _) => (integer::parse(&it.value)?, it.header.expires),
                (None, Some(create)) => {
                    (create.initial, expiry::expires(create.expiry, &self.shared().clock))
                }
                (None, None) => return Ok((None, 0)),
            };
            let value = integer::add(value, delta)?;
            let text = Bytes::from(value.to_string());
            self.check_size(&text)?;
            locked.entry_file_or_new(&name)?.write(&self.new_entry(key, &text, expires))?;
            Ok((Some(value), locked.growth()))
        })
    }

    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let same = |it: &Found| seen.is(&it.value, Stamp(it.header.stamp));
        match self.remove_if(key, Part::Value, self.shared().until(), same) {
            // It is gone, and was not what was seen.
            Err(error) if error.kind() == ErrorKind::Codec => Ok(false),
            res => Ok(res?.is_some()),
        }
    }

    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        self.check_size(&value)?;
        let (name, until) = (EntryPath::of(key), self.shared().until());
        self.grow(key, until, |directory| {
            let locked = Shared::lock(directory, &name, until)?;
            let Some(mut entry) = locked.entry_file(&name)? else { return Ok((false, 0)) };
            let found = entry.live(key, Part::Value, self.shared().now())?;
            let same = found.filter(|it| seen.is(&it.value, Stamp(it.header.stamp)));
            let Some(found) = same else { return Ok((false, 0)) };
            let expires = match lifetime {
                Lifetime::Keep => found.header.expires,
                Lifetime::New(expiry) => expiry::expires(expiry, &self.shared().clock),
            };
            entry.write(&self.new_entry(key, &value, expires))?;
            Ok((true, locked.growth()))
        })
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let (source, target, until) =
            (EntryPath::of(from), EntryPath::of(to), self.shared().until());
        self.grow(to, until, |directory| {
            // In one order, so that two of these cannot wait for each other.
            let is_first = source.folder() <= target.folder();
            let (low, high) = if is_first { (&source, &target) } else { (&target, &source) };
            let low = Shared::lock(directory, low, until)?;
            let high = if source.folder() == target.folder() {
                None
            } else {
                Some(Shared::lock(directory, high, until)?)
            };
            let (first, last) = (&low, high.as_ref().unwrap_or(&low));
            let (at_source, at_target) = if is_first { (first, last) } else { (last, first) };
            let Some(entry) = at_source.entry_file(&source)? else { return Ok((false, 0)) };
            let found = entry.live(from, Part::Value, self.shared().now())?;
            let Some(found) = found else { return Ok((false, 0)) };
            // First in, then out: who looks for the entry in both places finds it in one.
            let new = self.new_entry(to, &found.value, found.header.expires);
            at_target.entry_file_or_new(&target)?.write(&new)?;
            entry.remove()?;
            Ok((true, at_target.growth()))
        })
    }

    fn clear(&self, namespace: &Namespace) -> Result<()> {
        clear::clear(self.shared(), |key| namespace.contains(key))
    }

    fn clear_store(&self) -> Result<()> {
        clear::clear_all(self.shared())
    }

    fn check(&self) -> Result<()> {
        let until = self.shared().until();
        self.shared().write(until, |directory| {
            let folder = directory.folder(0, true)?.ok_or(StepError::Deleted)?;
            // That it can be locked and written.
            let locked = folder.lock(directory, until)?;
            let count = match directory.counters.read(0) {
                Some(it) => it,
                None => folder.measure()?,
            };
            directory.counters.try_put(0, count)?;
            drop(locked);
            location::check(directory)?;
            Ok(())
        })?;
        location::warn_of_web_root(&self.shared().plan.path);
        Ok(())
    }

    fn close(&self) -> Result<()> {
        self.shared().close();
        Ok(())
    }
}

/// The sweeper may be at work, and would else be the last to have the directory.
impl Drop for File {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.get() {
            shared.close();
        }
    }
}

/// Without the path, which is a setting.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::recycler::FOLDER;

    /// The sweeper, which looks for it, then opens all anew: else files would go to wherever the folder is.
    #[test]
    fn a_folder_of_spare_files_that_is_moved_away_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan::of(place.path().join("cache"));
        let store = File::new(plan.clone(), Clock::system());
        store.set("k", "1".into(), Expiry::Never, SetMode::Always).unwrap();
        let directory = store.shared().open_directory().unwrap();
        assert!(directory.is_at(&plan.path), "there is none");
        assert!(store.delete("k").unwrap());
        assert!(directory.is_at(&plan.path), "there is one");
        fs::rename(plan.path.join(FOLDER), place.path().join("moved")).unwrap();
        assert!(!directory.is_at(&plan.path));
    }

    /// The program may end before the sweeper does.
    #[test]
    fn who_ends_well_leaves_no_spare_file_though_the_sweeper_is_at_work() {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan::of(place.path().join("cache"));
        let closed = |it: File| it.close().map(|()| it).ok();
        let dropped = |it: File| {
            drop(it);
            None
        };
        for end in [closed as fn(File) -> Option<File>, dropped] {
            let store = File::new(plan.clone(), Clock::system());
            store.set("k", "1".into(), Expiry::Never, SetMode::Always).unwrap();
            // As the sweeper has them.
            let at_work = (Arc::clone(store.shared()), store.shared().open_directory().unwrap());
            assert!(store.delete("k").unwrap());
            assert_eq!(fs::read_dir(plan.path.join(FOLDER)).unwrap().count(), 1);
            let _store = end(store);
            assert_eq!(fs::read_dir(plan.path.join(FOLDER)).unwrap().count(), 0);
            drop(at_work);
        }
    }
}
