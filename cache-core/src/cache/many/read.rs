//! Reads the stored bytes of batches.

use bytes::Bytes;

use crate::{
    cache::{Cache, batch::one_each, call, call_leader},
    error::Result,
    store::Entry,
    timeout::Ttl,
    value::{
        Form,
        envelope::{self, Found},
    },
};

impl<V: Form> Cache<V> {
    /// Reads the stored bytes of each key that has no tombstone. `leader`, for loads: the answers
    /// must not be stale, and contain remembered absences.
    pub(in crate::cache) async fn read_many(
        &self,
        keys: &[&str],
        leader: bool,
    ) -> Vec<Result<Option<Bytes>>> {
        if self.is_memoized() {
            return Box::pin(self.memoized_many(keys, leader)).await;
        }
        self.read_many_stored(keys, leader).await
    }

    /// Reads the stored bytes of each key, whatever the scope of the caller remembers.
    pub(in crate::cache) async fn read_many_stored(
        &self,
        keys: &[&str],
        leader: bool,
    ) -> Vec<Result<Option<Bytes>>> {
        if keys.is_empty() {
            return Vec::new();
        }
        if self.shared.tombstones.len() > 0 {
            return Box::pin(self.read_many_resolved(keys, leader)).await;
        }
        let answers = self.get_stored(keys, leader).await;
        if answers.len() == keys.len() {
            return answers;
        }
        one_each(answers).take(keys.len()).collect()
    }

    /// Returns the stored bytes of keys, without what is past its timeout. `leader`, for loads,
    /// also returns remembered absences.
    async fn get_stored(&self, keys: &[&str], leader: bool) -> Vec<Result<Option<Bytes>>> {
        // A near tier reads where the store writes, as well.
        let at_leader = leader && self.shared.in_memory.is_none();
        if !self.shared.fetch.has_entries {
            return if at_leader {
                call_leader!(self.get_many(keys))
            } else {
                call!(self.get_many(keys))
            };
        }
        let mut found = None;
        if !self.shared.fetch.reads_ttl {
            let stored: Vec<Result<Option<Bytes>>> = if at_leader {
                call_leader!(self.get_many(keys))
            } else {
                call!(self.get_many(keys))
            };
            let stored = stored.into_iter().map(|it| it.map(|it| it.map(|it| (it, Ttl::Forever))));
            let verified = self.verified_many(stored.collect()).await;
            // Another cache wrote a value with a grace, which may be past its timeout.
            let has_grace = verified.iter().flatten().flatten().any(Found::has_grace);
            found = (!has_grace).then_some(verified);
        }
        let found = match found {
            Some(found) => found,
            None => self.get_entries_verified(keys, at_leader).await,
        };
        let value = |found| match found {
            Some(Found::Fresh(stored, _)) => Some(stored),
            Some(Found::Absent) if leader => Some(envelope::absent()),
            _ => None,
        };
        found.into_iter().map(|it| it.map(value)).collect()
    }

    async fn get_entries_verified(
        &self,
        keys: &[&str],
        leader: bool,
    ) -> Vec<Result<Option<Found>>> {
        let entries: Vec<Result<Option<Entry>>> = if leader {
            call_leader!(self.get_entries(keys))
        } else {
            call!(self.get_entries(keys))
        };
        let entries = entries.into_iter().map(|it| it.map(|it| it.map(|it| (it.value, it.ttl))));
        self.verified_many(entries.collect()).await
    }

    /// Runs [`read_many`](Self::read_many) when keys have tombstones.
    async fn read_many_resolved(&self, keys: &[&str], leader: bool) -> Vec<Result<Option<Bytes>>> {
        let mut errors = self.resolve_many_for_read(keys).await;
        let wanted = keys.iter().enumerate().filter(|(place, _)| !errors.contains_key(place));
        let wanted: Vec<&str> = wanted.map(|(_, key)| *key).collect();
        let answers: Vec<Result<Option<Bytes>>> =
            if wanted.is_empty() { Vec::new() } else { self.get_stored(&wanted, leader).await };
        let mut answers = one_each(answers);
        let answer = |place| errors.remove(&place).map(Err).or_else(|| answers.next());
        (0..keys.len()).filter_map(answer).collect()
    }
}
