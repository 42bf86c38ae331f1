//! Moving an entry to another key: `rename`.

use cache_core::Result;

use crate::{entry_file::EntryFile, entry_path::EntryPath, probe::Part, shared::Shared};

/// Moves a live entry, with its expiry, to another key. Returns whether there was one.
pub(crate) fn rename(shared: &Shared, from: &str, to: &str) -> Result<bool> {
    let (source, target) = (EntryPath::of(from), EntryPath::of(to));
    let until = shared.deadline();
    shared.write_and_evict(&target, until, |directory| {
        // Always lock the folder with the lower number first, so that two moves do not deadlock.
        let source_is_low = source.folder() <= target.folder();
        let (low, high) = if source_is_low { (&source, &target) } else { (&target, &source) };
        let low_lock = directory.lock(low, until)?;
        let is_one_folder = source.folder() == target.folder();
        let high_lock = if is_one_folder { None } else { Some(directory.lock(high, until)?) };
        let high_lock = high_lock.as_ref().unwrap_or(&low_lock);
        let (at_source, at_target) =
            if source_is_low { (&low_lock, high_lock) } else { (high_lock, &low_lock) };
        let Some(file) = EntryFile::open(at_source, &source)? else { return Ok((false, 0)) };
        let found = file.live(from, Part::Value, shared.now())?;
        let Some(found) = found else { return Ok((false, 0)) };
        // Write first and remove second: a reader of both keys finds the entry under one of them.
        let new = shared.new_entry(to, &found.value, found.header.expires);
        EntryFile::open_or_create(at_target, &target)?.write(&new)?;
        file.remove()?;
        Ok((true, at_target.growth()))
    })
}
