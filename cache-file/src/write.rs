//! Writing entries: `set`, `touch` and `compare_and_set`.

use std::time::Instant;

use bytes::Bytes;
use cache_core::{
    Result,
    store::{Expected, Expiry, SetMode, Stamp, TtlUpdate},
};

use crate::{
    entry_file::EntryFile,
    entry_path::EntryPath,
    expiry,
    header::Header,
    probe::{Part, Probe},
    shared::Shared,
};

/// Stores a value. Returns `false` if the mode does not allow it.
pub(crate) fn set(
    shared: &Shared,
    key: &str,
    value: &Bytes,
    expiry: Expiry,
    mode: SetMode,
    until: Instant,
) -> Result<bool> {
    let size = shared.check_size(value);
    let path = EntryPath::of(key);
    let is_allowed = shared.write_and_evict(&path, until, |directory| {
        let lock = directory.lock(&path, until)?;
        let file = if size.is_ok() && mode != SetMode::IfPresent {
            Some(EntryFile::open_or_create(&lock, &path)?)
        } else {
            EntryFile::open(&lock, &path)?
        };
        let is_live = match (&file, mode) {
            (_, SetMode::Always) => true,
            (Some(file), _) => file.live(key, Part::Head, shared.now())?.is_some(),
            (None, _) => false,
        };
        let is_allowed = mode == SetMode::Always || is_live == (mode == SetMode::IfPresent);
        let Some(mut file) = file.filter(|_| is_allowed) else { return Ok((is_allowed, 0)) };
        if size.is_err() {
            // The caller meant to replace the old value, so it must not stay.
            if !matches!(file.probe(Some(key), Part::Head)?, Probe::OtherKey) {
                file.remove()?;
            }
            return Ok((true, 0));
        }
        let expires = expiry::expires(expiry, &shared.clock);
        if let Err(error) = file.write(&shared.new_entry(key, value, expires)) {
            // The old value must not stay. The failed write may have deleted it already.
            let _ = file.remove();
            return Err(error);
        }
        Ok((true, lock.growth()))
    })?;
    // A write that the mode does not allow is not `TooLarge`.
    if is_allowed { size.map(|()| true) } else { Ok(false) }
}

/// Changes the expiry of a live entry. Returns whether there was one.
pub(crate) fn touch(shared: &Shared, key: &str, expiry: Expiry) -> Result<bool> {
    let (path, until) = (EntryPath::of(key), shared.deadline());
    shared.write(until, |directory| {
        let lock = directory.lock(&path, until)?;
        let Some(mut file) = EntryFile::open(&lock, &path)? else { return Ok(false) };
        let Some(found) = file.live(key, Part::Head, shared.now())? else { return Ok(false) };
        let expires = expiry::expires(expiry, &shared.clock);
        file.touch(key, &Header { expires, stamp: shared.stamp(), ..found.header })?;
        Ok(true)
    })
}

/// Replaces a live entry if it is still the one that the caller has seen. Returns whether it was.
pub(crate) fn compare_and_set(
    shared: &Shared,
    key: &str,
    seen: Expected<'_>,
    value: &Bytes,
    lifetime: TtlUpdate,
) -> Result<bool> {
    shared.check_size(value)?;
    let (path, until) = (EntryPath::of(key), shared.deadline());
    shared.write_and_evict(&path, until, |directory| {
        let lock = directory.lock(&path, until)?;
        let Some(mut file) = EntryFile::open(&lock, &path)? else { return Ok((false, 0)) };
        let found = file.live(key, Part::Value, shared.now())?;
        let same = found.filter(|it| seen.is(&it.value, Stamp(it.header.stamp)));
        let Some(found) = same else { return Ok((false, 0)) };
        let expires = match lifetime {
            TtlUpdate::Keep => found.header.expires,
            TtlUpdate::New(expiry) => expiry::expires(expiry, &shared.clock),
        };
        file.write(&shared.new_entry(key, value, expires))?;
        Ok((true, lock.growth()))
    })
}
