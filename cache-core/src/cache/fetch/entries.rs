//! Reads and writes of entries that may have a grace, a revision or tags, record that there is no
//! value, or be leases of fenced loads. A value past its timeout and one with an invalid tag are
//! missing, even if the store still has them.

use bytes::Bytes;

use super::request::FoundEntry;
use crate::{
    cache::{Cache, call, call_leader, call_write, put_aside},
    error::{Error, ErrorKind, Result},
    fetch::Policy,
    key::FullKey,
    layer::Operation,
    memo::Recalled,
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
    /// Reads a key for a fetch if the store never waits or the key is near, and no key has a
    /// tombstone.
    #[inline]
    pub(super) fn find_at_once(&self, key: &str, policy: &Policy) -> Option<FoundEntry> {
        if self.shared.tombstones.len() > 0 {
            return None;
        }
        if let Some(in_memory) = &self.shared.in_memory {
            let entry = in_memory.entry(key)?;
            if !self.shared.fetch.has_entries && !self.shared.fetch.asks_for_ttl(policy) {
                return Some(Ok(Some(plain(entry.value))));
            }
            let found = self.verified_at_once(entry.value, entry.ttl)?;
            return Some(Ok(Some((found, entry.ttl))));
        }
        let store = self.shared.sync.as_deref()?;
        if !self.shared.fetch.has_entries && !self.shared.fetch.asks_for_ttl(policy) {
            let found = store.get(key).map(|it| it.map(plain));
            return Some(found);
        }
        match store.get_entry(key) {
            Ok(Some(it)) => {
                let found = self.verified_at_once(it.value, it.ttl)?;
                Some(Ok(Some((found, it.ttl))))
            }
            Ok(None) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        }
    }

    /// Reads a key for a fetch.
    pub(super) async fn find_for_fetch(&self, key: &str, policy: &Policy) -> FoundEntry {
        if !self.shared.fetch.asks_for_ttl(policy) {
            return self.read_first(key).await.map(|it| it.map(plain));
        }
        // Only values: a miss may hide a stale value or a remembered absence.
        if let Some(Recalled(Some(stored))) = self.recall(key, true) {
            return Ok(Some(plain(stored)));
        }
        let moment = self.is_memoized().then(|| self.moment(key));
        // A near tier reads where the store writes, as well.
        let leader = self.shared.in_memory.is_none();
        let Some(entry) = self.read_entry(key, leader).await? else { return Ok(None) };
        let found = self.verified(entry.value, entry.ttl).await?;
        if let (Some(moment), Found::Fresh(stored, _)) = (moment, &found) {
            self.remember(key, true, moment, Some(stored));
        }
        Ok(Some((found, entry.ttl)))
    }

    /// Returns the stored bytes of a fresh value.
    pub(in crate::cache) async fn read_fresh(
        &self,
        key: &str,
        leader: bool,
    ) -> Result<Option<Bytes>> {
        if !self.shared.fetch.reads_ttl {
            let Some(stored) = self.read_bytes(key, leader).await? else { return Ok(None) };
            match self.verified(stored, Ttl::Forever).await? {
                // Another cache wrote a value with a grace, which may be past its timeout.
                found if found.has_grace() => {}
                Found::Fresh(stored, _) => return Ok(Some(stored)),
                _ => return Ok(None),
            }
        }
        let entry = self.read_entry(key, leader).await?;
        self.fresh(entry).await
    }

    /// Reads the stored bytes of a key, unless it has a tombstone.
    async fn read_bytes(&self, key: &str, leader: bool) -> Result<Option<Bytes>> {
        let had_tombstones = self.shared.tombstones.len() > 0;
        if had_tombstones {
            self.resolve_for_read(key).await?;
        }
        let stored: Result<Option<Bytes>> =
            if leader { call_leader!(self.get(key)) } else { call!(self.get(key)) };
        if had_tombstones { self.heard(stored) } else { stored }
    }

    /// Returns the stored bytes of a stale value.
    pub(in crate::cache) async fn read_stale(&self, key: &str) -> Option<Bytes> {
        let entry = self.read_entry(key, true).await.ok()??;
        match self.verified(entry.value, entry.ttl).await.ok()? {
            Found::Stale(stored, _) => Some(stored),
            _ => None,
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
        let Some(entry) = entry else { return Ok(None) };
        Ok(match (self.verified(entry.value, entry.ttl).await?, entry.ttl) {
            (Found::Fresh(_, terms), Ttl::Remaining(left)) => {
                Some(Ttl::Remaining(left.saturating_sub(terms.grace)))
            }
            (Found::Fresh(..), Ttl::Forever) => Some(Ttl::Forever),
            _ => None,
        })
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
            let Some(entry) = entry else { return Ok(false) };
            let found = self.verified(entry.value.clone(), entry.ttl).await?;
            let Some((stored, whole)) = envelope::touched(&entry.value, found, expiry) else {
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
            if self.is_fresh(&entry).await? {
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
            let Some(entry) = entry else { return Ok(false) };
            if !self.is_fresh(&entry).await? {
                return Ok(false);
            }
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
            let Some(entry) = entry? else { return Ok(None) };
            let Some(value) = self.fresh(Some(entry.clone())).await? else { return Ok(None) };
            let seen = Expected::entry(&entry);
            let res: Result<bool> = call_write!(self, writing, compare_and_delete(key, seen));
            if res? {
                return Ok(Some(value));
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
                Ok(Some(entry)) => {
                    if self.is_fresh(&entry).await? {
                        return Err(error);
                    }
                    if create.is_none() {
                        return Ok(None);
                    }
                    let seen = Expected::entry(&entry);
                    let _: bool = call_write!(self, writing, compare_and_delete(key, seen))?;
                }
                Ok(None) => {}
                Err(_) => return Err(error),
            }
        }
    }

    /// Returns whether the key has a fresh value, for a move.
    pub(in crate::cache) async fn has_fresh(&self, key: &str) -> Result<bool> {
        let entry: Result<Option<Entry>> = call_leader!(self.get_entry(key));
        match entry {
            // The value of another program exists.
            Err(error) if error.kind().is_unreadable() => Ok(true),
            Ok(Some(entry)) => self.is_fresh(&entry).await,
            res => res.map(|_| false),
        }
    }
}
