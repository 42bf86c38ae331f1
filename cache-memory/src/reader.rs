//! Reads: they take no lock.

#![expect(
    clippy::inline_always,
    reason = "a hit stays where the engine has put it: each move of it costs 5 ns"
)]

use crate::{entry::Entry, key::Lookup, shard_guard::ShardGuard, shards::Shards};

/// Returns the live entry of a key. Removes an expired one, unless a writer holds the shard.
#[inline(always)]
pub(crate) fn get(shards: &Shards, lookup: &Lookup<'_>) -> Option<Entry> {
    let mut found = shards.engine.get(&lookup.hash);
    if !found.as_ref().is_some_and(|it| is_live(shards, lookup, it)) {
        found = None;
    }
    found
}

/// Returns whether the engine's entry is that of the key, and has not expired. Removes an expired
/// one.
#[inline(always)]
fn is_live(shards: &Shards, lookup: &Lookup<'_>, entry: &Entry) -> bool {
    if !entry.is_of(lookup.text) {
        return false;
    }
    let has_passed = entry.deadline().has_passed(|| shards.now());
    if has_passed {
        remove_expired(shards, lookup);
    }
    !has_passed
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
