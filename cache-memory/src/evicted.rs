//! Entries that a write removed, kept until the locks are released.

use quick_cache::Lifecycle;

use crate::{entry::Entry, key::Key};

/// Collects the entries that a write removes: the old value of its key, and evicted entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectEvicted;

/// The entries that a write removed. They are dropped after the locks are released, so that no
/// caller waits while memory is freed. Before that, their records leave the expiry index.
#[derive(Debug, Default)]
pub(crate) struct Evicted {
    /// Most writes remove one entry or none; then `more` allocates nothing.
    first: Option<(Key, Entry)>,
    more: Vec<(Key, Entry)>,
}

impl Evicted {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Key, Entry)> {
        self.first.iter().chain(&self.more)
    }

    /// Takes out the last entry of this key.
    pub(crate) fn take(&mut self, key: &str) -> Option<(Key, Entry)> {
        match self.more.iter().rposition(|(it, _)| it.text() == key) {
            Some(at) => Some(self.more.swap_remove(at)),
            None => self.first.take_if(|(it, _)| it.text() == key),
        }
    }
}

impl Lifecycle<Key, Entry> for CollectEvicted {
    type RequestState = Evicted;

    fn on_evict(&self, evicted: &mut Evicted, key: Key, entry: Entry) {
        if evicted.first.is_none() {
            evicted.first = Some((key, entry));
        } else {
            evicted.more.push((key, entry));
        }
    }
}
