//! [`Mutant`] as a store, with the bugs of all other operations.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result, Ttl,
    store::{
        Capabilities, CounterInit, Entry, Expected, Expiry, Namespace, SetMode, StoreId,
        SyncBackend, TtlUpdate,
    },
};

use super::{Bug, Mutant, calls::Until, store::MAX_LEN};

impl SyncBackend for Mutant {
    fn name(&self) -> &'static str {
        if self.has_bug(Bug::NameIsEmpty) { "" } else { "mutant" }
    }
    fn id(&self) -> StoreId {
        if self.has_bug(Bug::IdChanges) { StoreId::unique() } else { self.model.id() }
    }
    fn capabilities(&self) -> Capabilities {
        let capabilities = self.model.capabilities();
        match self.bug {
            Bug::SharesNothing | Bug::Lasting => capabilities.shared().persistent(),
            Bug::WholeSeconds => capabilities.granularity(Duration::from_secs(2)),
            _ => capabilities,
        }
    }
    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.read(&self.key(key))
    }
    fn get_entry(&self, key: &str) -> Result<Option<Entry>> {
        self.entry(&self.key(key))
    }
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>>> {
        let mut res = self.batch(keys, |key| match self.bug {
            Bug::RenamedIsMissingInBatches if self.is_flagged(key) => Ok(None),
            _ => self.read(&self.key(key)),
        });
        if self.has_bug(Bug::BatchOfTooManyBytes) {
            let mut bytes = 0;
            for found in &mut res {
                bytes += found.as_ref().map_or(0, |it| it.as_ref().map_or(0, Bytes::len));
                if bytes > MAX_LEN {
                    *found = Ok(None);
                }
            }
        }
        if self.has_bug(Bug::BatchLeavesOutMisses) {
            res.retain(|it| !matches!(it, Ok(None)));
        }
        res
    }
    fn get_entries(&self, keys: &[&str]) -> Vec<Result<Option<Entry>>> {
        self.batch(keys, |key| self.entry(&self.key(key)))
    }
    fn set(&self, key: &str, value: Bytes, expiry: Expiry, mode: SetMode) -> Result<bool> {
        let key = self.key(key);
        let res = self.write(&key, self.value(value), self.expiry(expiry), mode);
        self.remember(&key);
        res
    }
    fn set_many(&self, items: &[(&str, Bytes)], expiry: Expiry) -> Vec<Result<()>> {
        let expiry = if self.has_bug(Bug::BatchLifetimeIsNever) { Expiry::Never } else { expiry };
        if self.has_bug(Bug::TooLargeFailsTheBatch) && items.iter().any(|it| it.1.len() > MAX_LEN) {
            return items.iter().map(|_| Err(Error::new(ErrorKind::TooLarge, ""))).collect();
        }
        self.batch(items, |(key, value)| {
            self.set(key, value.clone(), expiry, SetMode::Always).map(drop)
        })
    }
    fn has(&self, key: &str) -> Result<bool> {
        if self.has_bug(Bug::EmptyIsAbsent) {
            return Ok(self.get(key)?.is_some());
        }
        self.model.has(&self.key(key))
    }
    fn ttl(&self, key: &str) -> Result<Option<Ttl>> {
        let ttl = self.model.ttl(&self.key(key))?;
        Ok(match (self.bug, ttl) {
            (Bug::TtlOfAbsentIsForever, None) => Some(Ttl::Forever),
            (Bug::TtlOfNeverIsNone, Some(Ttl::Forever)) => None,
            (Bug::TtlIsConstant, Some(Ttl::Remaining(_))) => {
                Some(Ttl::Remaining(Duration::from_secs(600)))
            }
            _ => ttl,
        })
    }
    fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let (key, expiry) = (self.key(key), self.expiry(expiry));
        match self.bug {
            Bug::TouchRevives => self.revive(&key)?,
            Bug::TouchCreates => {
                self.model.set(&key, Bytes::new(), expiry, SetMode::IfAbsent).map(drop)?;
            }
            Bug::TouchEmpties if self.model.has(&key)? => {
                return self.model.set(&key, Bytes::new(), expiry, SetMode::Always);
            }
            Bug::TouchDoesNothing => return self.model.has(&key),
            Bug::TouchIsFalseForNever if self.model.ttl(&key)? == Some(Ttl::Forever) => {
                self.model.touch(&key, expiry)?;
                return Ok(expiry != Expiry::Never);
            }
            Bug::TouchWritesTheValue => {
                let Some(value) = self.model.get(&key)? else { return Ok(false) };
                self.calls.pause(Until::Written);
                return self.model.set(&key, value, expiry, SetMode::Always);
            }
            Bug::TouchRemovesForAMoment => {
                let Some(value) = self.model.take(&key)? else { return Ok(false) };
                self.calls.pause(Until::Read);
                return self.model.set(&key, value, expiry, SetMode::Always);
            }
            _ => {}
        }
        self.model.touch(&key, expiry)
    }
    fn delete(&self, key: &str) -> Result<bool> {
        let key = self.key(key);
        let expired = self.last_written(&key).is_some();
        self.forget(&key);
        match self.bug {
            Bug::AddBlockedByRemoved => {
                self.flag(&key);
                self.model.delete(&key)
            }
            Bug::DeleteIsAlwaysTrue => self.model.delete(&key).map(|_| true),
            Bug::ExpiredIsDeleted => self.model.delete(&key).map(|it| it || expired),
            Bug::DeleteInTwoSteps => {
                let live = self.model.has(&key)?;
                self.pause();
                self.model.delete(&key)?;
                Ok(live)
            }
            _ => self.model.delete(&key),
        }
    }
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<bool>> {
        if self.has_bug(Bug::BatchDeletesByPrefix) {
            let all: Vec<_> = self.written.lock().unwrap().keys().cloned().collect();
            for key in all.iter().filter(|it| keys.iter().any(|key| key.starts_with(it.as_str()))) {
                let _ = self.model.delete(key);
            }
            return keys.iter().map(|_| Ok(true)).collect();
        }
        self.batch(keys, |key| {
            self.delete(key).map(|it| it || self.has_bug(Bug::BatchDeleteCountsAll))
        })
    }
    fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let key = self.key(key);
        match self.bug {
            Bug::TakeInTwoSteps => {
                let value = self.model.get(&key)?;
                self.pause();
                self.model.delete(&key)?;
                Ok(value)
            }
            Bug::TakeKeepsTheEntry => self.model.get(&key),
            Bug::ExpiredIsTaken => {
                let last_written = self.last_written(&key);
                self.forget(&key);
                self.model.delete(&key)?;
                Ok(last_written)
            }
            _ => {
                self.forget(&key);
                self.model.take(&key)
            }
        }
    }
    fn incr(&self, key: &str, delta: i64, create: Option<CounterInit>) -> Result<Option<i64>> {
        let key = self.key(key);
        let res = self.count(&key, delta, create);
        self.remember(&key);
        res
    }
    fn compare_and_delete(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let key = self.key(key);
        match self.bug {
            Bug::CompareIsAlwaysFalse => Ok(false),
            Bug::PurgeComparesNothing => {
                self.calls.pause(Until::Written); // meanwhile the entry changes
                self.model.delete(&key)
            }
            Bug::CompareIgnoresBytes | Bug::CompareIgnoresStamp | Bug::CompareByPrefix => {
                if !self.matches(&key, seen)? {
                    return Ok(false);
                }
                Ok(self
                    .with_current(&key, |it| self.model.compare_and_delete(&key, it))?
                    .unwrap_or_default())
            }
            Bug::CompareInTwoSteps => {
                let same = self.matches(&key, seen)?;
                self.pause();
                if same {
                    self.model.delete(&key)?;
                }
                Ok(same)
            }
            _ => self.model.compare_and_delete(&key, seen),
        }
    }
    fn compare_and_set(
        &self,
        key: &str,
        seen: Expected<'_>,
        value: Bytes,
        lifetime: TtlUpdate,
    ) -> Result<bool> {
        let (key, value) = (self.key(key), self.value(value));
        let lifetime = match lifetime {
            TtlUpdate::New(expiry) => TtlUpdate::New(self.expiry(expiry)),
            TtlUpdate::Keep => TtlUpdate::Keep,
        };
        match self.bug {
            Bug::CompareIgnoresBytes | Bug::CompareIgnoresStamp | Bug::CompareByPrefix => {
                if !self.matches(&key, seen)? {
                    return Ok(false);
                }
                let set = |it: Expected<'_>| {
                    self.model.compare_and_set(&key, it, value.clone(), lifetime)
                };
                Ok(self.with_current(&key, set)?.unwrap_or_default())
            }
            Bug::CompareInTwoSteps => {
                let same = self.matches(&key, seen)?;
                let expiry = self.lifetime(&key)?.unwrap_or(Expiry::Never);
                self.pause();
                Ok(same && self.model.set(&key, value, expiry, SetMode::Always)?)
            }
            Bug::CompareIsAlwaysFalse => Ok(false),
            Bug::CompareCreates if !self.model.has(&key)? => {
                self.model.set(&key, value, Expiry::Never, SetMode::Always)
            }
            Bug::CompareLosesLifetime => {
                self.model.compare_and_set(&key, seen, value, TtlUpdate::New(Expiry::Never))
            }
            Bug::CompareKeepsLifetime => {
                self.model.compare_and_set(&key, seen, value, TtlUpdate::Keep)
            }
            Bug::CompareTooLargeRemoves if value.len() > MAX_LEN => {
                self.model.delete(&key)?;
                Err(Error::new(ErrorKind::TooLarge, ""))
            }
            _ => self.model.compare_and_set(&key, seen, value, lifetime),
        }
    }
    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let (from, to) = (self.key(from), self.key(to));
        match self.bug {
            Bug::ExpiredIsRenamed => self.revive(&from)?,
            Bug::RenameBackFails if self.is_flagged(&to) => return Ok(false),
            Bug::RenameBackFails => self.flag(&from),
            Bug::RenamedIsMissingInBatches => self.flag(&to),
            Bug::RenameKeepsTarget if self.model.has(&to)? => return Ok(false),
            Bug::RenameOfAbsentRemovesTarget if !self.model.has(&from)? => {
                self.model.delete(&to)?;
            }
            Bug::RenameCopies | Bug::RenameInTwoSteps | Bug::RenameKeepsTargetOfALostRace => {
                let Some(value) = self.model.get(&from)? else { return Ok(false) };
                let expiry = self.lifetime(&from)?.unwrap_or(Expiry::Never);
                self.model.set(&to, value, expiry, SetMode::Always)?;
                if self.has_bug(Bug::RenameInTwoSteps) {
                    self.pause();
                    self.model.delete(&from)?;
                }
                if self.has_bug(Bug::RenameKeepsTargetOfALostRace) {
                    self.pause();
                    return self.model.delete(&from);
                }
                return Ok(true);
            }
            _ => {}
        }
        let res = self.model.rename(&from, &to)?;
        if res && self.has_bug(Bug::RenameLosesLifetime) {
            self.model.touch(&to, Expiry::Never)?;
        }
        self.forget(&from);
        self.remember(&to);
        Ok(res)
    }
    fn clear(&self, namespace: &Namespace) -> Result<()> {
        let mut keys: Vec<_> = self.written.lock().unwrap().keys().cloned().collect();
        keys.retain(|it| self.clears(namespace, it));
        if self.has_bug(Bug::ClearStopsAtAThousand) {
            keys.truncate(1000);
        }
        if self.has_bug(Bug::ClearOfEmptyFails) && keys.is_empty() {
            return Err(Error::new(ErrorKind::Backend, "DEL needs a key"));
        }
        for key in keys {
            if self.has_bug(Bug::ClearedKeysIgnoreWrites) {
                self.flag(&key);
            }
            self.forget(&key);
            self.model.delete(&key)?;
        }
        Ok(())
    }
    fn clear_store(&self) -> Result<()> {
        if self.has_bug(Bug::ClearStoreKeepsForeign) {
            return self.clear(&Namespace::new("")?);
        }
        self.written.lock().unwrap().clear();
        self.model.clear_store()
    }
    fn check(&self) -> Result<()> {
        match self.bug {
            Bug::CheckFails => Err(Error::new(ErrorKind::Unavailable, "not reachable")),
            _ => Ok(()),
        }
    }
    fn close(&self) -> Result<()> {
        if self.has_bug(Bug::CloseDisturbs) {
            self.closed.store(true, Ordering::SeqCst);
            self.calls.pause(Until::Read);
            self.closed.store(false, Ordering::SeqCst);
            return Ok(());
        }
        if self.closed.swap(true, Ordering::SeqCst) && self.has_bug(Bug::CloseOnce) {
            return Err(Error::new(ErrorKind::Backend, "closed twice"));
        }
        Ok(())
    }
}
