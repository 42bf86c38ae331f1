//! Reads: they take no lock.

use crate::{entry::Entry, key::Lookup, shard_guard::ShardGuard, shards::Shards};

/// Returns the live entry of a key. Removes an expired one, unless a writer holds the shard.
pub(crate) fn get(shards: &Shards, lookup: &Lookup<'_>) -> Option<Entry> {
    let entry = shards.engine.get(&lookup.hash).filter(|it| it.is_of(lookup.text))?;
    if !entry.deadline().has_passed(|| shards.now()) {
        return Some(entry);
    }
    remove_expired(shards, lookup);
    None
}

/// Does not wait for a writer, which may remove the expired entry, too.
#[cold]
fn remove_expired(shards: &Shards, lookup: &Lookup<'_>) {
    if let Some(mut guard) = ShardGuard::try_lock(shards, shards.shard_of(lookup)) {
        guard.remove_if(lookup, |_| false);
    }
}

#[cfg(test)]
mod tests {
    use cache_core::Clock;

    use super::*;
    use crate::limits::Limits;

    #[test]
    fn reader_does_not_wait_for_a_writer() {
        let shards = Shards::new(Limits::DEFAULT, Clock::system());
        let lookup = shards.lookup("k");
        let mut guard = ShardGuard::of_key(&shards, &lookup);
        guard.put(&lookup, Entry::new("k", b"1"));
        assert!(get(&shards, &lookup).is_some());
        drop(guard);
    }
}
