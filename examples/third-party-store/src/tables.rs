//! The tables of the file: the entries, and an index by expiry.

use std::time::Duration;

use bytes::Bytes;
use cache_core::{
    Ttl,
    store::{Entry, Expected, Expiry, Namespace, Stamp},
};
use redb::{AccessGuard, ReadableTable, ReadableTableMetadata, Table, TableDefinition};

/// The result of an operation on the tables.
pub(crate) type TableResult<T> = Result<T, redb::Error>;
pub(crate) type EntryKey = &'static str;
/// The expiry in nanoseconds of the wall clock, and the bytes.
pub(crate) type EntryValue = (u64, &'static [u8]);

pub(crate) const ENTRIES: TableDefinition<'_, EntryKey, EntryValue> =
    TableDefinition::new("entries");
/// Every entry by its expiry: expired entries first, then those that expire next.
pub(crate) const BY_EXPIRY: TableDefinition<'_, (u64, EntryKey), ()> =
    TableDefinition::new("by_expiry");

/// The expiry of an entry that never expires.
const NEVER: u64 = u64::MAX;

/// A live entry.
pub(crate) struct Stored {
    pub(crate) value: Bytes,
    pub(crate) expires: u64,
}

impl Stored {
    /// The expiry: no caller can distinguish two entries with the same bytes and the same expiry.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.expires)
    }

    pub(crate) fn is(&self, seen: Expected<'_>) -> bool {
        seen.is(&self.value, self.stamp())
    }
}

/// The entries of one moment, without expired ones.
pub(crate) struct View<T> {
    entries: T,
    now: u64,
}

impl<T: ReadableTable<EntryKey, EntryValue>> View<T> {
    pub(crate) fn new(entries: T, now: u64) -> Self {
        Self { entries, now }
    }

    pub(crate) fn get(&self, key: &str) -> TableResult<Option<Stored>> {
        self.find(key, |(expires, value)| Stored { value: Bytes::copy_from_slice(value), expires })
    }

    pub(crate) fn value(&self, key: &str) -> TableResult<Option<Bytes>> {
        self.find(key, |(_, value)| Bytes::copy_from_slice(value))
    }

    pub(crate) fn entry(&self, key: &str) -> TableResult<Option<Entry>> {
        let found = self.get(key)?;
        Ok(found.map(|it| Entry::new(it.value.clone(), self.ttl(it.expires), it.stamp())))
    }

    /// Returns the expiry of a live entry, without a copy of its value.
    pub(crate) fn expires(&self, key: &str) -> TableResult<Option<u64>> {
        self.find(key, |(expires, _)| expires)
    }

    pub(crate) fn ttl(&self, expires: u64) -> Ttl {
        match expires {
            NEVER => Ttl::Forever,
            _ => Ttl::Remaining(Duration::from_nanos(expires.saturating_sub(self.now))),
        }
    }

    /// Returns the expiry of an entry that is written now. A time that is too large for the number
    /// is never.
    pub(crate) fn expires_at(&self, expiry: Expiry) -> u64 {
        match expiry {
            Expiry::Never => NEVER,
            Expiry::After(time) => {
                let nanos = u64::try_from(time.as_nanos()).unwrap_or(NEVER);
                self.now.saturating_add(nanos)
            }
        }
    }

    fn find<R>(&self, key: &str, read: impl FnOnce((u64, &[u8])) -> R) -> TableResult<Option<R>> {
        let found = self.entries.get(key)?;
        let found = found.as_ref().map(AccessGuard::value);
        Ok(found.filter(|(expires, _)| *expires > self.now).map(read))
    }
}

/// A transaction that changes the entries.
pub(crate) struct Change<'a> {
    pub(crate) view: View<Table<'a, EntryKey, EntryValue>>,
    by_expiry: Table<'a, (u64, EntryKey), ()>,
    max_entries: u64,
    changed: bool,
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        entries: Table<'a, EntryKey, EntryValue>,
        by_expiry: Table<'a, (u64, EntryKey), ()>,
        now: u64,
        max_entries: u64,
    ) -> Self {
        Self { view: View::new(entries, now), by_expiry, max_entries, changed: false }
    }

    /// Closes the tables, as redb requires before a commit. Returns whether there is something to
    /// commit.
    pub(crate) fn into_changed(self) -> bool {
        self.changed
    }

    pub(crate) fn put(&mut self, key: &str, value: &[u8], expires: u64) -> TableResult<()> {
        self.make_room(key)?;
        self.remove(key)?;
        self.view.entries.insert(key, (expires, value))?;
        self.by_expiry.insert((expires, key), ())?;
        self.changed = true;
        Ok(())
    }

    /// Removes an entry. Returns whether it was live.
    pub(crate) fn remove(&mut self, key: &str) -> TableResult<bool> {
        let removed = self.view.entries.remove(key)?.map(|it| it.value().0);
        let Some(expires) = removed else { return Ok(false) };
        self.by_expiry.remove((expires, key))?;
        self.changed = true;
        Ok(expires > self.view.now)
    }

    // ANCHOR: clear
    pub(crate) fn clear(&mut self, namespace: &Namespace) -> TableResult<()> {
        // All keys of the namespace are in this range, since `;` is the byte after `:`. Some keys
        // in it belong to others.
        let prefix = namespace.prefix();
        let (from, to) = (format!("{prefix}:"), format!("{prefix};"));
        let own = self
            .view
            .entries
            .extract_from_if(from.as_str()..to.as_str(), |key, _| namespace.contains(key))?;
        for removed in own {
            let (key, value) = removed?;
            self.by_expiry.remove((value.value().0, key.value()))?;
            self.changed = true;
        }
        Ok(())
    }
    // ANCHOR_END: clear

    pub(crate) fn clear_all(&mut self) -> TableResult<()> {
        self.view.entries.retain(|_, _| false)?;
        self.by_expiry.retain(|_, ()| false)?;
        self.changed = true;
        Ok(())
    }

    /// Removes a few expired entries, so that they do not accumulate, and if the store is full, the
    /// entries that expire next.
    fn make_room(&mut self, key: &str) -> TableResult<()> {
        let is_new = self.view.entries.get(key)?.is_none();
        for _ in 0..4 {
            let first = self.by_expiry.first()?;
            let first = first.map(|(it, _)| (it.value().0, it.value().1.to_owned()));
            let Some((expires, first)) = first else { break };
            let full = is_new && self.view.entries.len()? >= self.max_entries;
            if expires > self.view.now && !full {
                break;
            }
            self.remove(&first)?;
        }
        Ok(())
    }
}
