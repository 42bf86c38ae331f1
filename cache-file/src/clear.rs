//! Emptying the store, or a namespace of it: folder by folder, in small pieces.

use std::{sync::Arc, time::Duration};

use cache_core::Result;

use crate::{error::Fault, folder::Locked, inner::Inner, name::Name, spares::Spares};

/// Removes the entries whose key is wanted. What is written meanwhile may stay.
pub(crate) fn clear(inner: &Arc<Inner>, wanted: impl Fn(&str) -> bool) -> Result<()> {
    each(inner, |locked, name| {
        let Some(slot) = locked.slot(name)? else { return Ok(()) };
        let key = slot.key()?;
        if key.is_some_and(|key| wanted(&key)) { slot.remove() } else { Ok(()) }
    })
}

/// Removes every file that is one of ours by its name.
pub(crate) fn clear_all(inner: &Arc<Inner>) -> Result<()> {
    each(inner, |locked, name| match locked.slot(name)? {
        Some(slot) => slot.remove(),
        None => Ok(()),
    })
}

/// How many entries are looked at before others get the lock.
const PIECE: usize = 32;

fn each(inner: &Arc<Inner>, step: impl Fn(&Locked<'_>, &Name) -> Result<(), Fault>) -> Result<()> {
    let mut res = Ok(());
    for number in 0..=u8::MAX {
        let done = inner.read(inner.until(), |directory| {
            let Some(folder) = directory.folder(number, false)? else { return Ok(()) };
            directory.counters.open(directory)?;
            let mut res = Ok(());
            for names in folder.names()?.chunks(PIECE) {
                // As long as anybody may hold it, however often.
                let locked = folder.lock(directory, inner.until())?;
                for name in names {
                    match step(&locked, name) {
                        Err(Fault::Gone) => return Err(Fault::Gone),
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
        inner.read(inner.until(), |directory| Ok(Spares::sweep(directory, Duration::ZERO)?));
    res.and(swept.map(drop))
}
