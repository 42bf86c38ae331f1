//! Entries that a write removed, kept until the locks are released.

use quick_cache::Lifecycle;

use crate::entry::Entry;

/// Collects the entries that a write removes: the old value of its key, and evicted entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectEvicted;

/// The entries that a write removed, with the hashes of their keys. They are dropped after the
/// locks are released, so that no caller waits while memory is freed. Before that, their records
/// leave the expiry index.
#[derive(Debug, Default)]
pub(crate) struct Evicted {
    /// Most writes remove one entry or none; then `more` allocates nothing.
    first: Option<(u64, Entry)>,
    more: Vec<(u64, Entry)>,
}

impl Evicted {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u64, Entry)> {
        self.first.iter().chain(&self.more)
    }

    /// Takes out the entry that is there.
    pub(crate) fn take(&mut self, address: *const u8) -> Option<Entry> {
        let taken = match self.more.iter().position(|(_, it)| it.address() == address) {
            Some(at) => Some(self.more.swap_remove(at)),
            None => self.first.take_if(|(_, it)| it.address() == address),
        };
        taken.map(|(_, entry)| entry)
    }
}

impl Lifecycle<u64, Entry> for CollectEvicted {
    type RequestState = Evicted;

    fn on_evict(&self, evicted: &mut Evicted, hash: u64, entry: Entry) {
        if evicted.first.is_none() {
            evicted.first = Some((hash, entry));
        } else {
            evicted.more.push((hash, entry));
        }
    }
}
