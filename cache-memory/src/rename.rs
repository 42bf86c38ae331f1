//! The move of an entry to another key, atomic for writers of both keys.

use cache_core::Result;

use crate::{entry::Entry, key::Lookup, shard_guard::ShardGuard, shards::Shards};

/// The writers' locks of the shards of two keys, which may be the same shard. While both are held,
/// no writer of either key runs between the two halves of a rename. Shards are locked in ascending
/// order, so two renames cannot deadlock.
struct ShardPair<'a> {
    shards: &'a Shards,
    low: ShardGuard<'a>,
    high: Option<(usize, ShardGuard<'a>)>,
}

/// Moves the live entry of `from`, with its lifetime, to `to`. Returns whether it existed.
pub(crate) fn rename(shards: &Shards, from: &str, to: &str) -> Result<bool> {
    let (source, target) = (shards.lookup(from), shards.lookup(to));
    let mut pair = ShardPair::lock(shards, &source, &target);
    let Some(entry) = pair.guard(&source).peek(&source, Entry::clone) else { return Ok(false) };
    shards.limits.check_size(to, entry.value())?;
    let renamed = Entry::new(to, entry.value()).expiring(entry.deadline());
    // Written before it is removed: a reader of both keys finds it under one of them.
    pair.guard(&target).put(&target, renamed);
    if from != to {
        pair.guard(&source).remove(&source);
    }
    Ok(true)
}

impl<'a> ShardPair<'a> {
    fn lock(shards: &'a Shards, one: &Lookup<'_>, other: &Lookup<'_>) -> Self {
        let (one, other) = (shards.shard_of(one), shards.shard_of(other));
        let (low, high) = (one.min(other), one.max(other));
        let low_guard = ShardGuard::lock(shards, low);
        let high = (high != low).then(|| (high, ShardGuard::lock(shards, high)));
        Self { shards, low: low_guard, high }
    }

    fn guard(&mut self, lookup: &Lookup<'_>) -> &mut ShardGuard<'a> {
        match &mut self.high {
            Some((shard, high)) if *shard == self.shards.shard_of(lookup) => high,
            _ => &mut self.low,
        }
    }
}
