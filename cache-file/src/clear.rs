//! Emptying the store, or a namespace of it: folder by folder, in small pieces.

use std::{sync::Arc, time::Duration};

use cache_core::Result;

use crate::{
    entry_path::EntryPath, error::StepError, folder::FolderLock, recycler::Recycler, shared::Shared,
};

/// Removes the entries whose key is wanted. What is written meanwhile may stay.
pub(crate) fn clear(shared: &Arc<Shared>, wanted: impl Fn(&str) -> bool) -> Result<()> {
    each(shared, |locked, name| {
        let Some(entry) = locked.entry_file(name)? else { return Ok(()) };
        let key = entry.key()?;
        if key.is_some_and(|key| wanted(&key)) { entry.remove() } else { Ok(()) }
    })
}

/// Removes every file that is one of ours by its name.
pub(crate) fn clear_all(shared: &Arc<Shared>) -> Result<()> {
    each(shared, |locked, name| match locked.entry_file(name)? {
        Some(entry) => entry.remove(),
        None => Ok(()),
    })
}

/// How many entries are looked at before others get the lock.
const PIECE: usize = 32;

fn each(
    shared: &Arc<Shared>,
    step: impl Fn(&FolderLock<'_>, &EntryPath) -> Result<(), StepError>,
) -> Result<()> {
    let mut res = Ok(());
    for number in 0..=u8::MAX {
        let done = shared.read(shared.until(), |directory| {
            let Some(folder) = directory.folder(number, false)? else { return Ok(()) };
            directory.counters.open(directory)?;
            let mut res = Ok(());
            for names in folder.names()?.chunks(PIECE) {
                // As long as anybody may hold it, however often.
                let locked = folder.lock(directory, shared.until())?;
                for name in names {
                    match step(&locked, name) {
                        Err(StepError::Deleted) => return Err(StepError::Deleted),
                        // What cannot be removed does not keep the rest.
                        done => res = res.and(done),
                    }
                }
            }
            res
        });
        res = res.and(done.map(drop));
    }
    // In what waits for an entry there may be one that was wanted.
    let swept =
        shared.read(shared.until(), |directory| Ok(Recycler::sweep(directory, Duration::ZERO)?));
    res.and(swept.map(drop))
}
