//! Deletes what a failed write left behind before a call uses a key that has a tombstone.

use std::collections::HashMap;

use super::{Cache, batch::one_each, call, call_leader, put_aside};
use crate::{
    consistency::tombstones::{Lookup, Outrun, PendingDelete},
    error::{Error, ErrorKind, Result},
    runtime::{self, first},
    store::{Entry, Expected},
    telemetry::stats::Event,
    value::{Form, envelope},
};

/// The number of old entries that are deleted at the same time.
const AT_ONCE: usize = 16;

impl<V: Form> Cache<V> {
    /// Resolves the key before a read. An error means that the key still has its tombstone, which
    /// is a miss, or the error in strict mode.
    pub(super) async fn resolve_for_read(&self, key: &str) -> Result<()> {
        match self.shared.tombstones.claim(key, self.write_claim(1)) {
            Lookup::Absent | Lookup::Superseded => Ok(()),
            // The store may well answer, so a strict caller waits instead of a miss.
            Lookup::Busy if self.strict => self.resolve(key).await,
            // Readers would queue behind a slow store if they waited for the other caller.
            Lookup::Busy | Lookup::Full => Err(delete_pending()),
            Lookup::Claimed(pending) => Box::pin(self.resolve_one(pending)).await,
        }
    }

    /// [Resolves](Self::resolve_for_read) the key before a call that does not use the value, which
    /// leaves the delete to the background task. A strict caller waits for an answer.
    pub(super) async fn resolve_for_metadata(&self, key: &str) -> Result<()> {
        if self.strict || self.shared.tombstones.len() == 0 {
            return self.resolve_for_read(key).await;
        }
        self.store_may_answer();
        if self.shared.tombstones.contains(key) { Err(delete_pending()) } else { Ok(()) }
    }

    /// [Resolves](Self::resolve_for_read) many keys, with one read for all of them. Returns the
    /// errors by the positions of their keys.
    pub(super) async fn resolve_many_for_read(&self, keys: &[&str]) -> HashMap<usize, Error> {
        let mut busy = Vec::new();
        let mut pending = Vec::new();
        for (position, key) in keys.iter().enumerate() {
            match self.shared.tombstones.claim(key, self.write_claim(keys.len())) {
                Lookup::Absent | Lookup::Superseded => {}
                Lookup::Busy | Lookup::Full => busy.push(position),
                Lookup::Claimed(delete) => pending.push((position, delete)),
            }
        }
        let mut errors: HashMap<_, _> = self.run_deletes(pending, true).await.into_iter().collect();
        if self.strict && !busy.is_empty() {
            // All keys together wait as long as one key would.
            let mut resolved = 0;
            let all = async {
                for position in &busy {
                    self.resolve(keys[*position]).await?;
                    resolved += 1;
                }
                Ok::<_, Error>(())
            };
            // The others get the error below.
            let _ = first(all, self.write_patience()).await;
            busy.drain(..resolved);
        }
        errors.extend(busy.into_iter().map(|position| (position, delete_pending())));
        errors
    }

    /// Resolves the key before a call that depends on the entry and never fails open.
    pub(super) async fn resolve(&self, key: &str) -> Result<()> {
        if self.shared.tombstones.len() == 0 {
            return Ok(());
        }
        Box::pin(async {
            // The future of the caller that has the claim may never be polled again.
            let lookup = self.shared.tombstones.claim_in_turn(key, self.write_claim(1));
            match first(lookup, self.write_patience()).await {
                Some(Lookup::Claimed(pending)) => self.resolve_one(pending).await,
                Some(Lookup::Full) | None => Err(delete_pending()),
                Some(_) => Ok(()),
            }
        })
        .await
    }

    async fn resolve_one(&self, pending: PendingDelete<'_>) -> Result<()> {
        let mut errors = self.run_deletes(vec![((), pending)], true).await;
        errors.pop().map_or(Ok(()), |((), error)| Err(error))
    }

    /// Runs pending deletes. Returns the errors of those that failed.
    ///
    /// With `gives_up`, no further batch runs after one in which each delete failed: the others
    /// would most likely fail as well, each batch after a deadline.
    pub(super) async fn run_deletes<P>(
        &self,
        pending: Vec<(P, PendingDelete<'_>)>,
        gives_up: bool,
    ) -> Vec<(P, Error)> {
        let unread = pending.iter().filter(|(_, it)| it.seen().is_none());
        let unread: Vec<&str> = unread.map(|(_, it)| it.key()).collect();
        let entries = if unread.is_empty() { Vec::new() } else { self.read_entries(&unread).await };
        let mut entries = one_each(entries);
        let mut errors = Vec::new();
        let mut deletes = Vec::new();
        for (position, mut delete) in pending {
            let entry = match delete.seen() {
                Some(entry) => Ok(Some(entry.clone())),
                None => entries.next().unwrap_or(Ok(None)),
            };
            match entry {
                // A floor keeps old values out.
                Ok(Some(entry)) if envelope::is_floor(&entry.value) => self.deleted(delete),
                Ok(Some(entry)) if delete.seen().is_some() => {
                    deletes.push((position, delete, entry));
                }
                // The read may have returned the entry that replaced the old one.
                Ok(Some(entry)) => match delete.outrun() {
                    Outrun::Superseded => self.deleted(delete),
                    Outrun::Perhaps => errors.push((position, delete_pending())),
                    Outrun::No => {
                        delete.saw(entry.clone());
                        deletes.push((position, delete, entry));
                    }
                },
                // A cache writes bytes, so another program wrote an entry that is not bytes.
                Err(error) if !error.kind().is_unreadable() => errors.push((position, error)),
                Err(_) | Ok(None) => self.deleted(delete),
            }
        }
        let mut deletes = deletes.into_iter();
        loop {
            let batch: Vec<_> = deletes.by_ref().take(AT_ONCE).collect();
            if batch.is_empty() {
                return errors;
            }
            let mut futures = Vec::with_capacity(batch.len());
            for (_, delete, entry) in &batch {
                futures.push(self.delete_entry(delete, entry));
            }
            let answers = runtime::all(futures.into_iter()).await;
            let is_last = gives_up && answers.iter().all(Result::is_err);
            let mut last = None;
            for ((position, delete, _), answer) in batch.into_iter().zip(answers) {
                match answer {
                    Ok(()) => self.deleted(delete),
                    Err(error) => {
                        last = Some(error.clone());
                        errors.push((position, error));
                    }
                }
            }
            if let (true, Some(error)) = (is_last, last) {
                errors.extend(deletes.map(|(position, ..)| (position, error.clone())));
                return errors;
            }
        }
    }

    /// Counts a delete that is complete, and removes its tombstone.
    fn deleted(&self, pending: PendingDelete<'_>) {
        self.shared.counters.event(Event::MarkSettled);
        pending.succeed();
    }

    async fn read_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        if let [key] = keys {
            let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
            return vec![entry];
        }
        call_leader!(self.get_entries(keys))
    }

    /// Deletes the entry of the first read, and nothing that was written since.
    async fn delete_entry(&self, pending: &PendingDelete<'_>, entry: &Entry) -> Result<()> {
        let delete = async {
            let res: Result<bool> =
                call!(self.compare_and_delete(pending.key(), Expected::entry(entry)));
            res
        };
        pending.run(delete).await.unwrap_or_else(|| Err(put_aside())).map(drop)
    }

    /// Adds a tombstone for a key whose write or delete failed open.
    pub(super) fn add_tombstone(&self, key: &str) {
        // The failed write itself may still arrive, and a coarse store adds to each lifetime.
        let granularity = self.shared.backend.capabilities().granularity;
        let margin = self.write_claim(1).saturating_add(granularity.saturating_mul(2));
        if !self.shared.tombstones.add(key, margin) {
            self.shared.counters.event(Event::MarkLost);
        }
        self.shared.observer.delete_is_pending(key);
        self.shared.observer.tombstones(self.shared.tombstones.len());
        self.resolve_in_background();
    }
}

#[cold]
fn delete_pending() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "pending delete: an earlier write of this key failed, and the old entry is not deleted yet",
    )
    .ignored_by_breaker()
}
