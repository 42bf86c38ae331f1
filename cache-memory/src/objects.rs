//! Decoded values beside the bytes of entries.

use bytes::Bytes;
use cache_core::store::{Kept, Object, Objects};

use crate::{Memory, entry::Entry, reader, shard_guard::ShardGuard};

impl Objects for Memory {
    fn read(&self, key: &str, read: &mut dyn FnMut(&Kept<'_>)) {
        let Some(entry) = reader::get(&self.0, &self.0.lookup(key)) else { return };
        if let Some(object) = entry.object() {
            read(&Kept::new(object, entry.value(), &|| self.remaining(entry.deadline())));
        }
    }

    fn keep(&self, key: &str, make: &mut dyn FnMut(Bytes) -> Option<Object>) {
        let lookup = self.0.lookup(key);
        let found = reader::get(&self.0, &lookup).filter(|it| it.object().is_none());
        let Some(entry) = found else { return };
        let Some(object) = make(Entry::clone(&entry).into_value()) else { return };
        // A read does not wait for a writer. The next read can keep its object.
        if let Some(mut guard) = ShardGuard::try_lock(&self.0, self.0.shard_of(&lookup)) {
            guard.keep(&lookup, entry, object);
        }
    }
}
