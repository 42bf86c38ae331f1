//! Reads and writes of entries that may have a grace or a revision, record that there is no value,
//! or be leases of fenced loads. A value past its timeout is missing, even if the store still has
//! it.

use std::collections::HashSet;

use bytes::Bytes;

use super::request::FoundEntry;
use crate::{
    cache::{Cache, call, call_leader, call_write, put_aside},
    error::{Error, ErrorKind, Result},
    fetch::{Policy, singleflight::WriteGuard},
    key::FullKey,
    layer::Operation,
    store::{CounterInit, Entry, Expected, SetMode, TtlUpdate},
    telemetry::stats::Outcome,
    timeout::{Expiry, Ttl},
    value::{
        Decode, Form,
        envelope::{self, Found, Terms},
    },
};

fn plain(stored: Bytes) -> (Found, Ttl) {
    (Found::Fresh(stored, Terms::default()), Ttl::Forever)
}

/// The result of a read of a fetch that found no fresh value.
pub(super) enum Missed {
    Nothing,
    Absent,
    Stale(Bytes),
    /// The store failed.
    Failed,
}

/// Reads.
impl<V: Form> Cache<V> {
    /// Reads a key for a fetch if the store never waits, and no key has a tombstone.
    #[inline]
    pub(super) fn find_at_once(&self, key: &str, policy: &Policy) -> Option<FoundEntry> {
        if self.shared.tombstones.len() > 0 {
            return None;
        }
        let store = self.shared.sync.as_deref()?;
        if !self.shared.fetch.asks_for_ttl(policy) {
            let found = store.get(key).map(|it| it.map(plain));
            return Some(found);
        }
        let found = store.get_entry(key);
        Some(found.map(|it| it.map(|it| (envelope::find(it.value, it.ttl), it.ttl))))
    }

    /// Reads a key for a fetch.
    pub(super) async fn find_for_fetch(&self, key: &str, policy: &Policy) -> FoundEntry {
        if !self.shared.fetch.asks_for_ttl(policy) {
            return self.read_leader(key).await.map(|it| it.map(plain));
        }
        let entry = self.read_entry(key, true).await?;
        Ok(entry.map(|it| (envelope::find(it.value, it.ttl), it.ttl)))
    }

    /// Returns the stored bytes of a fresh value.
    pub(in crate::cache) async fn read_fresh(
        &self,
        key: &str,
        leader: bool,
    ) -> Result<Option<Bytes>> {
        self.read_entry(key, leader).await.map(fresh)
    }

    /// Returns the stored bytes of a stale value.
    pub(in crate::cache) async fn read_stale(&self, key: &str) -> Option<Bytes> {
        let entry = self.read_entry(key, true).await.ok()??;
        match envelope::find(entry.value, entry.ttl) {
            Found::Stale(stored, _) => Some(stored),
            Found::Fresh(..) | Found::Absent | Found::Floor | Found::Lease(_) => None,
        }
    }

    /// Returns the stale value of a key whose load failed, or else the error.
    pub(in crate::cache) async fn stale_instead<T>(&self, key: &FullKey, error: Error) -> Result<T>
    where
        V: Decode<T>,
    {
        match self.read_stale(key).await {
            Some(stored) => match self.open(&stored) {
                Ok(value) => {
                    self.count(Operation::GetOrSet, Outcome::Stale);
                    Ok(value)
                }
                Err(_) => Err(error),
            },
            None => Err(error),
        }
    }

    /// Reads an entry, unless the key has a tombstone.
    pub(super) async fn read_entry(&self, key: &str, leader: bool) -> Result<Option<Entry>> {
        let had_tombstones = self.shared.tombstones.len() > 0;
        if had_tombstones {
            self.resolve_for_read(key).await?;
        }
        let entry: Result<Option<Entry>> =
            if leader { call_leader!(self.get_entry(key)) } else { call!(self.get_entry(key)) };
        if had_tombstones { self.heard(entry) } else { entry }
    }

    /// Returns the remaining lifetime of a fresh value.
    pub(in crate::cache) async fn fresh_ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let entry: Result<Option<Entry>> = call!(self.get_entry(key));
        let entry = match entry {
            // A value of another program has no grace.
            Err(error) if error.kind().is_unreadable() => return call!(self.ttl(key)),
            res => res?,
        };
        Ok(entry.and_then(|it| match (envelope::find(it.value, it.ttl), it.ttl) {
            (Found::Fresh(_, terms), Ttl::Remaining(left)) => {
                Some(Ttl::Remaining(left.saturating_sub(terms.grace)))
            }
            (Found::Fresh(..), Ttl::Forever) => Some(Ttl::Forever),
            (Found::Stale(..) | Found::Absent | Found::Floor | Found::Lease(_), _) => None,
        }))
    }

    /// Notes the longest lifetime that a fetch may store.
    pub(in crate::cache) fn note_policy(&self, policy: &Policy) {
        let shared = &*self.shared;
        if let Some(expiry) = policy.longest(shared.timeout, &shared.clock) {
            shared.tombstones.note_lifetime(expiry);
        }
    }

    /// Returns whether a fresh value is to be loaded again.
    pub(super) fn is_due(&self, policy: &Policy, terms: &Terms, left: Ttl) -> bool {
        policy.is_due(terms, left, self.shared.timeout, &self.shared.clock)
    }

    /// Counts a read of a fetch that found no fresh value.
    ///
    /// # Errors
    /// That of the read, if it is not hidden.
    pub(super) fn missed(
        &self,
        key: &FullKey,
        takes_absent: bool,
        found: FoundEntry,
    ) -> Result<Missed> {
        let operation = Operation::Fetch;
        match found {
            Ok(Some((Found::Absent, _))) if takes_absent => {
                self.count(operation, Outcome::Absent);
                Ok(Missed::Absent)
            }
            // Counted when it is served.
            Ok(Some((Found::Stale(stored, _), _))) => Ok(Missed::Stale(stored)),
            Ok(_) => {
                self.count(operation, Outcome::Miss);
                Ok(Missed::Nothing)
            }
            Err(error) if error.kind().is_unreadable() => {
                self.count(operation, Outcome::Miss);
                self.count_undecodable(operation, key, "a value", &error.message());
                Ok(Missed::Nothing)
            }
            Err(error) => {
                let error = self.fail(operation, Some(key), error);
                if self.hides(&error) { Ok(Missed::Failed) } else { Err(error) }
            }
        }
    }
}

/// Writes. Each one reads the entry first, and changes it only if it is still the one that was
/// read.
impl<V: Form> Cache<V> {
    /// Gives a fresh value a new lifetime, with its grace.
    pub(in crate::cache) async fn touch_entry(&self, key: &str, expiry: Expiry) -> Result<bool> {
        loop {
            let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
            let entry = match entry {
                // A value of another program has no grace.
                Err(error) if error.kind().is_unreadable() => {
                    return call!(self.touch(key, expiry));
                }
                res => res?,
            };
            let touched = entry.as_ref().map(|it| envelope::touched(&it.value, it.ttl, expiry));
            let (Some(entry), Some(Some((stored, whole)))) = (entry, touched) else {
                return Ok(false);
            };
            let (stored, whole) = match stored {
                Some(stored) => (stored, whole),
                // A plain `touch` could prolong a lease or a floor that has replaced this value.
                None if self.shared.fetch.has_marks() => (entry.value.clone(), expiry),
                None => return call!(self.touch(key, expiry)),
            };
            self.shared.tombstones.note_lifetime(whole);
            let seen = Expected::entry(&entry);
            let res: Result<bool> =
                call!(self.compare_and_set(key, seen, stored, TtlUpdate::New(whole)));
            if res? {
                return Ok(true);
            }
        }
    }

    /// Stores a value if the key has no fresh one.
    pub(in crate::cache) async fn add_entry(
        &self,
        key: &str,
        value: &Bytes,
        expiry: Option<Expiry>,
    ) -> Result<bool> {
        let writing = self.before_write(key).await;
        loop {
            let added: Result<bool> = match expiry {
                Some(expiry) => {
                    call_write!(self, writing, set(key, value.clone(), expiry, SetMode::IfAbsent))
                }
                None => Ok(false),
            };
            if added? {
                return Ok(true);
            }
            let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
            let entry = match (entry, expiry) {
                (Err(error), _) if error.kind().is_unreadable() => return Ok(false),
                (Ok(None), None) => return Ok(true),
                // It expired after the first step.
                (Ok(None), Some(_)) => continue,
                (res, _) => res?,
            };
            let Some(entry) = entry else { continue };
            if is_fresh(&entry) {
                return Ok(false);
            }
            let Some(expiry) = expiry else { return Ok(true) };
            let (seen, new) = (Expected::entry(&entry), TtlUpdate::New(expiry));
            let res: Result<bool> =
                call_write!(self, writing, compare_and_set(key, seen, value.clone(), new));
            if res? {
                return Ok(true);
            }
        }
    }

    /// Replaces or, without a lifetime, removes a fresh value.
    pub(in crate::cache) async fn replace_entry(
        &self,
        key: &str,
        value: &Bytes,
        expiry: Option<Expiry>,
    ) -> Result<bool> {
        let writing = self.before_write(key).await;
        loop {
            let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
            let entry = match (entry, expiry) {
                // A value of another program, which is not compared.
                (Err(error), Some(expiry)) if error.kind().is_unreadable() => {
                    let mode = SetMode::IfPresent;
                    return call_write!(self, writing, set(key, value.clone(), expiry, mode));
                }
                (Err(error), None) if error.kind().is_unreadable() => {
                    return call_write!(self, writing, delete(key));
                }
                (res, _) => res?,
            };
            let Some(entry) = entry.filter(is_fresh) else { return Ok(false) };
            let seen = Expected::entry(&entry);
            let res: Result<bool> = match expiry {
                Some(expiry) => {
                    let new = TtlUpdate::New(expiry);
                    call_write!(self, writing, compare_and_set(key, seen, value.clone(), new))
                }
                None => call_write!(self, writing, compare_and_delete(key, seen)),
            };
            if res.as_ref().is_err_and(|it| it.kind() == ErrorKind::TooLarge) {
                // As `replace` promises: the old value does not stay behind.
                let _: Result<bool> = call!(self.compare_and_delete(key, Expected::entry(&entry)));
            }
            if res? {
                return Ok(true);
            }
        }
    }

    /// Reads and removes a fresh value.
    pub(in crate::cache) async fn take_entry(&self, key: &str) -> Result<Option<Bytes>> {
        let writing = self.before_write(key).await;
        loop {
            let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
            let Some(entry) = entry?.filter(is_fresh) else { return Ok(None) };
            let seen = Expected::entry(&entry);
            let res: Result<bool> = call_write!(self, writing, compare_and_delete(key, seen));
            if res? {
                return Ok(fresh(Some(entry)));
            }
        }
    }

    /// Changes a counter. Only what is past its timeout makes room for a new counter: a fresh value
    /// of an entry is not an integer.
    pub(in crate::cache) async fn incr_entry(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let writing = self.before_write(key).await;
        loop {
            let res: Result<Option<i64>> = call_write!(self, writing, incr(key, delta, create));
            let error = match res {
                Err(error) if error.kind() == ErrorKind::NotAnInteger => error,
                res => return res,
            };
            let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
            match entry {
                Ok(Some(entry)) if !is_fresh(&entry) => {
                    if create.is_none() {
                        return Ok(None);
                    }
                    let seen = Expected::entry(&entry);
                    let _: bool = call_write!(self, writing, compare_and_delete(key, seen))?;
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return Err(error),
            }
        }
    }

    /// Removes a key. A lease or a floor is not a value that existed.
    pub(in crate::cache) async fn remove_value(
        &self,
        key: &str,
        writing: &WriteGuard<'_>,
    ) -> Result<bool> {
        if self.shared.repeats {
            // A `take` is never repeated, because its answer would be lost. So a lease or a floor is
            // found by a read, as in a batch.
            let marked = self.marked(&[key]).await;
            let res: Result<bool> = call_write!(self, writing, delete(key));
            return res.map(|it| it && !marked.contains(key));
        }
        let res: Result<Option<Bytes>> = call_write!(self, writing, take(key));
        match res {
            // The value of another program, which is not read.
            Err(error) if error.kind().is_unreadable() => call_write!(self, writing, delete(key)),
            res => res.map(|it| it.is_some_and(|it| !envelope::is_lease_or_floor(&it))),
        }
    }

    /// Returns the keys that hold a lease or a floor, before they are deleted.
    pub(in crate::cache) async fn marked<'a>(&self, keys: &[&'a str]) -> HashSet<&'a str> {
        if !self.shared.fetch.has_marks() {
            return HashSet::new();
        }
        let answers: Vec<Result<Option<Bytes>>> = call_leader!(self.get_many(keys));
        let is_mark = |it: &Result<Option<Bytes>>| matches!(it, Ok(Some(stored)) if envelope::is_lease_or_floor(stored));
        let keys = keys.iter().zip(answers).filter(|(_, answer)| is_mark(answer));
        keys.map(|(key, _)| *key).collect()
    }

    /// Returns whether the key has a fresh value, for a move.
    pub(in crate::cache) async fn has_fresh(&self, key: &str) -> Result<bool> {
        let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
        match entry {
            // The value of another program exists.
            Err(error) if error.kind().is_unreadable() => Ok(true),
            res => res.map(|it| it.as_ref().is_some_and(is_fresh)),
        }
    }
}

/// Returns the stored value of an entry whose timeout has not passed.
pub(in crate::cache) fn fresh(entry: Option<Entry>) -> Option<Bytes> {
    let entry = entry?;
    match envelope::find(entry.value, entry.ttl) {
        Found::Fresh(stored, _) => Some(stored),
        Found::Stale(..) | Found::Absent | Found::Floor | Found::Lease(_) => None,
    }
}

/// Returns the stored value of an entry whose timeout has not passed, or that there is no value.
pub(in crate::cache) fn fresh_or_absent(entry: Option<Entry>) -> Option<Bytes> {
    let entry = entry?;
    match envelope::find(entry.value, entry.ttl) {
        Found::Fresh(stored, _) => Some(stored),
        Found::Absent => Some(envelope::absent()),
        Found::Stale(..) | Found::Floor | Found::Lease(_) => None,
    }
}

fn is_fresh(entry: &Entry) -> bool {
    matches!(envelope::find(entry.value.clone(), entry.ttl), Found::Fresh(..))
}
