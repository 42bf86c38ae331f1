//! Removal of many entries.

use crate::{shard_guard::ShardGuard, shards::Shards};

/// Removes every entry whose key matches. Each entry is removed under its own lock, so no caller
/// waits for more than one removal.
pub(crate) fn remove_all(shards: &Shards, matches: impl Fn(&str) -> bool) {
    for (key, _) in shards.engine.iter() {
        if matches(key.text()) {
            let lookup = shards.lookup(key.text());
            ShardGuard::of_key(shards, &lookup).remove(&lookup);
        }
    }
}
