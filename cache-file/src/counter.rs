//! Counters: `incr`.

use bytes::Bytes;
use cache_core::{
    Result,
    store::{CounterInit, integer},
};

use crate::{entry_file::EntryFile, entry_path::EntryPath, expiry, probe::Part, shared::Shared};

/// Adds to the integer of a live entry, or of the initial value that `create` gives. Returns the
/// sum; `None` if the entry is absent and `create` is `None`.
pub(crate) fn incr(
    shared: &Shared,
    key: &str,
    delta: i64,
    create: Option<CounterInit>,
) -> Result<Option<i64>> {
    let (path, until) = (EntryPath::of(key), shared.deadline());
    shared.write_and_evict(&path, until, |directory| {
        let lock = directory.lock(&path, until)?;
        let found = match EntryFile::open(&lock, &path)? {
            Some(file) => file.live(key, Part::Value, shared.now())?,
            None => None,
        };
        let (value, expires) = match (&found, create) {
            (Some(it), _) => (integer::parse(&it.value)?, it.header.expires),
            (None, Some(create)) => (create.initial, expiry::expires(create.expiry, &shared.clock)),
            (None, None) => return Ok((None, 0)),
        };
        let value = integer::add(value, delta)?;
        let text = Bytes::from(value.to_string());
        shared.check_size(&text)?;
        let mut file = EntryFile::open_or_create(&lock, &path)?;
        file.write(&shared.new_entry(key, &text, expires))?;
        Ok((Some(value), lock.growth()))
    })
}
