//! Removing one entry: `delete`, `take` and `compare_and_delete`.

use std::time::Instant;

use bytes::Bytes;
use cache_core::{
    ErrorKind, Result,
    store::{Expected, Stamp},
};
use rustix::fs::OFlags;

use crate::{
    entry_file::EntryFile,
    entry_path::EntryPath,
    error,
    probe::{Found, Part, Probe},
    shared::Shared,
};

/// Removes an entry. Returns whether it was live.
pub(crate) fn delete(shared: &Shared, key: &str, until: Instant) -> Result<bool> {
    Ok(remove_if(shared, key, Part::Head, until, |_| true)?.is_some())
}

/// Removes a live entry and returns its value.
pub(crate) fn take(shared: &Shared, key: &str) -> Result<Option<Bytes>> {
    let taken = remove_if(shared, key, Part::Value, shared.deadline(), |_| true)?;
    Ok(taken.map(|it| it.value))
}

/// Removes a live entry if it is still the one that the caller has seen. Returns whether it was.
pub(crate) fn compare_and_delete(shared: &Shared, key: &str, seen: Expected<'_>) -> Result<bool> {
    let is_same = |it: &Found| seen.is(&it.value, Stamp(it.header.stamp));
    match remove_if(shared, key, Part::Value, shared.deadline(), is_same) {
        // A damaged entry is not the one that the caller has seen.
        Err(error) if error.kind() == ErrorKind::Codec => Ok(false),
        removed => Ok(removed?.is_some()),
    }
}

/// Removes the live entry of a key if the condition holds, and returns it. An expired or damaged
/// entry is removed in any case.
fn remove_if(
    shared: &Shared,
    key: &str,
    part: Part,
    until: Instant,
    condition: impl Fn(&Found) -> bool,
) -> Result<Option<Found>> {
    let path = EntryPath::of(key);
    let removed = shared.read(until, |directory| {
        let Some(folder) = directory.folder(path.folder(), false)? else { return Ok(None) };
        // Deleting an absent key must not wait for a lock.
        if folder.open(&path, OFlags::RDONLY)?.is_none() {
            return Ok(None);
        }
        directory.open_counters()?;
        let lock = directory.lock_folder(folder, until)?;
        let Some(file) = EntryFile::open(&lock, &path)? else { return Ok(None) };
        match file.probe(Some(key), part)? {
            Probe::OtherKey => Ok(None),
            Probe::Found(it) if it.header.is_live(shared.now()) => {
                if !condition(&it) {
                    return Ok(None);
                }
                file.recycle()?;
                Ok(Some(it))
            }
            Probe::Newer if part == Part::Value => Err(error::newer(path).into()),
            Probe::Damaged if part == Part::Value => {
                file.remove()?;
                Err(error::damaged(path).into())
            }
            _ => file.remove().map(|()| None),
        }
    })?;
    Ok(removed.flatten())
}
