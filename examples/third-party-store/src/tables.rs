//! What is in the file: the entries, and the order in which they end.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    Ttl,
    store::{Entry, Expected, Expiry, Namespace, Stamp},
};
use redb::{AccessGuard, ReadableTable, ReadableTableMetadata, Table, TableDefinition};

use crate::engine::Done;

pub(crate) type EntryKey = &'static str;
/// When it ends, and the bytes.
pub(crate) type EntryValue = (u64, &'static [u8]);

pub(crate) const ENTRIES: TableDefinition<'_, EntryKey, EntryValue> =
    TableDefinition::new("entries");
/// Every entry by its end: those that are due come first, and after them those that will be missed least.
pub(crate) const BY_END: TableDefinition<'_, (u64, EntryKey), ()> = TableDefinition::new("by_end");

/// The end of an entry that has none.
const NEVER: u64 = u64::MAX;

/// A live entry.
pub(crate) struct Stored {
    pub(crate) value: Bytes,
    pub(crate) ends: u64,
}

impl Stored {
    /// Its end: two entries of the same bytes and the same end are the same to everyone.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.ends)
    }

    pub(crate) fn is(&self, seen: Expected<'_>) -> bool {
        seen.is(&self.value, self.stamp())
    }
}

/// The entries of one moment. What has expired by then is not there.
pub(crate) struct View<T> {
    entries: T,
    now: u64,
}

impl<T: ReadableTable<EntryKey, EntryValue>> View<T> {
    pub(crate) fn new(entries: T, now: u64) -> Self {
        Self { entries, now }
    }

    pub(crate) fn get(&self, key: &str) -> Done<Option<Stored>> {
        self.find(key, |(ends, value)| Stored { value: Bytes::copy_from_slice(value), ends })
    }

    pub(crate) fn value(&self, key: &str) -> Done<Option<Bytes>> {
        self.find(key, |(_, value)| Bytes::copy_from_slice(value))
    }

    pub(crate) fn entry(&self, key: &str) -> Done<Option<Entry>> {
        let found = self.get(key)?;
        Ok(found.map(|it| Entry { ttl: self.ttl(it.ends), stamp: it.stamp(), value: it.value }))
    }

    /// When a live entry ends, without a copy of its value.
    pub(crate) fn ends(&self, key: &str) -> Done<Option<u64>> {
        self.find(key, |(ends, _)| ends)
    }

    pub(crate) fn ttl(&self, ends: u64) -> Ttl {
        match ends {
            NEVER => Ttl::Forever,
            _ => Ttl::Remaining(Duration::from_nanos(ends.saturating_sub(self.now))),
        }
    }

    /// The end of an entry that is written now. What no number can hold is never.
    pub(crate) fn end(&self, expiry: Expiry) -> u64 {
        match expiry {
            Expiry::Never => NEVER,
            Expiry::After(time) => {
                let nanos = u64::try_from(time.as_nanos()).unwrap_or(NEVER);
                self.now.saturating_add(nanos)
            }
        }
    }

    fn find<R>(&self, key: &str, see: impl FnOnce((u64, &[u8])) -> R) -> Done<Option<R>> {
        let found = self.entries.get(key)?;
        let found = found.as_ref().map(AccessGuard::value);
        Ok(found.filter(|(ends, _)| *ends > self.now).map(see))
    }
}

/// The entries while they are changed.
pub(crate) struct Change<'a> {
    pub(crate) view: View<Table<'a, EntryKey, EntryValue>>,
    by_end: Table<'a, (u64, EntryKey), ()>,
    max_entries: u64,
    changed: bool,
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        entries: Table<'a, EntryKey, EntryValue>,
        by_end: Table<'a, (u64, EntryKey), ()>,
        now: u64,
        max_entries: u64,
    ) -> Self {
        Self { view: View::new(entries, now), by_end, max_entries, changed: false }
    }

    /// Whether there is something to commit. The tables are closed by it, as redb wants before a commit.
    pub(crate) fn into_changed(self) -> bool {
        self.changed
    }

    pub(crate) fn put(&mut self, key: &str, value: &[u8], ends: u64) -> Done<()> {
        self.make_room(key)?;
        self.remove(key)?;
        self.view.entries.insert(key, (ends, value))?;
        self.by_end.insert((ends, key), ())?;
        self.changed = true;
        Ok(())
    }

    /// Removes an entry; whether it was live.
    pub(crate) fn remove(&mut self, key: &str) -> Done<bool> {
        let removed = self.view.entries.remove(key)?.map(|it| it.value().0);
        let Some(ends) = removed else { return Ok(false) };
        self.by_end.remove((ends, key))?;
        self.changed = true;
        Ok(ends > self.view.now)
    }

    // ANCHOR: clear
    pub(crate) fn clear(&mut self, namespace: &Namespace) -> Done<()> {
        // All its keys begin so, and `;` is the byte after `:`. What else begins so is not its own.
        let prefix = namespace.prefix();
        let (from, to) = (format!("{prefix}:"), format!("{prefix};"));
        let own = self
            .view
            .entries
            .extract_from_if(from.as_str()..to.as_str(), |key, _| namespace.contains(key))?;
        for removed in own {
            let (key, value) = removed?;
            self.by_end.remove((value.value().0, key.value()))?;
            self.changed = true;
        }
        Ok(())
    }
    // ANCHOR_END: clear

    pub(crate) fn clear_all(&mut self) -> Done<()> {
        self.view.entries.retain(|_, _| false)?;
        self.by_end.retain(|_, ()| false)?;
        self.changed = true;
        Ok(())
    }

    /// Each write removes a few of those that are due, so they cannot pile up; and if there is no room, the next ones.
    fn make_room(&mut self, key: &str) -> Done<()> {
        let is_new = self.view.entries.get(key)?.is_none();
        for _ in 0..4 {
            let first = self.by_end.first()?;
            let first = first.map(|(it, _)| (it.value().0, it.value().1.to_owned()));
            let Some((ends, first)) = first else { break };
            let full = is_new && self.view.entries.len()? >= self.max_entries;
            if ends > self.view.now && !full {
                break;
            }
            self.remove(&first)?;
        }
        Ok(())
    }
}
