//! Removal of many entries.

use crate::{key::Lookup, shard_guard::ShardGuard, shards::Shards};

/// Removes every entry whose key matches. Each entry is removed under its own lock, so no caller
/// waits for more than one removal.
pub(crate) fn remove_all(shards: &Shards, matches: impl Fn(&str) -> bool) {
    for (hash, entry) in shards.engine.iter() {
        let text = entry.key();
        if matches(text) {
            let lookup = Lookup { hash, text };
            ShardGuard::of_key(shards, &lookup).remove(&lookup);
        }
    }
}
