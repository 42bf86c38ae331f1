//! What a write drove out, kept until the locks are released.

use quick_cache::Lifecycle;

use crate::{entry::Entry, key::Key};

/// Collects what a write drove out: the old value of its key, and what had to make room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectEvicted;

/// What one write drove out. Dropped after the locks, so that nobody waits while memory is freed; and read before, as
/// the sweeper's records of these entries must go too.
#[derive(Debug, Default)]
pub(crate) struct Evicted {
    /// Mostly there is one or none, and then nothing is allocated.
    first: Option<(Key, Entry)>,
    more: Vec<(Key, Entry)>,
}

impl Evicted {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Key, Entry)> {
        self.first.iter().chain(&self.more)
    }

    /// Takes out the last entry of that key.
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
