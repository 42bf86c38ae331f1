//! Removing all entries, or those of a namespace: folder by folder, in small batches.

use std::time::Duration;

use cache_core::Result;

use crate::{
    entry_file::EntryFile, entry_path::EntryPath, error::StepError, folder_lock::FolderLock,
    shared::Shared,
};

/// Removes the entries whose key meets the condition. Entries that are written meanwhile may stay.
pub(crate) fn clear(shared: &Shared, condition: impl Fn(&str) -> bool) -> Result<()> {
    for_each(shared, |lock, path| {
        let Some(file) = EntryFile::open(lock, path)? else { return Ok(()) };
        let key = file.key()?;
        if key.is_some_and(|key| condition(&key)) { file.remove() } else { Ok(()) }
    })
}

/// Removes the files of all entries. Foreign files stay.
pub(crate) fn clear_store(shared: &Shared) -> Result<()> {
    for_each(shared, |lock, path| EntryFile::open(lock, path)?.map_or(Ok(()), EntryFile::remove))
}

/// The number of entries before other writers get the lock.
const BATCH: usize = 32;

/// Runs a step for each entry. After an error it continues, and returns the first one at the end.
fn for_each(
    shared: &Shared,
    step: impl Fn(&FolderLock<'_>, &EntryPath) -> Result<(), StepError>,
) -> Result<()> {
    let mut res = Ok(());
    for number in 0..=u8::MAX {
        let done = shared.read(shared.deadline(), |directory| {
            let Some(folder) = directory.folder(number, false)? else { return Ok(()) };
            directory.open_counters()?;
            let mut res = Ok(());
            for paths in folder.paths()?.chunks(BATCH) {
                // Each batch has the whole deadline to wait for the lock.
                let lock = directory.lock_folder(folder, shared.deadline())?;
                for path in paths {
                    match step(&lock, path) {
                        Err(StepError::Deleted) => return Err(StepError::Deleted),
                        done => res = res.and(done),
                    }
                }
            }
            res
        });
        res = res.and(done.map(drop));
    }
    // A spare file may still hold an entry that was to be removed.
    let swept = shared
        .read(shared.deadline(), |directory| Ok(directory.sweep_spare_files(Duration::ZERO)?));
    res.and(swept.map(drop))
}
