//! The bugs of reads, of batches and of comparisons.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result, Ttl,
    store::{Entry, Expected, Expiry, Stamp, SyncBackend},
};

use super::{Bug, Mutant, calls::Until};

impl Mutant {
    /// Reads a value as the bug has it.
    pub(super) fn read(&self, key: &str) -> Result<Option<Bytes>> {
        if self.has_bug(Bug::CloseIsPermanent) && self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "closed"));
        }
        if self.has_bug(Bug::CloseDisturbs) && self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "closing"));
        }
        let found = self.model.get(key)?;
        match self.bug {
            Bug::PurgeDeletesBlindly if found.is_none() && self.last_written(key).is_some() => {
                self.calls.pause(Until::Written);
                self.model.delete(key)?;
            }
            Bug::ExpiredIsReturned if found.is_none() => return Ok(self.last_written(key)),
            Bug::EmptyIsAbsent => return Ok(found.filter(|it| !it.is_empty())),
            Bug::ReadsRenew if found.is_some() => {
                self.model.touch(key, Expiry::After(Duration::from_secs(600)))?;
            }
            _ => {}
        }
        Ok(found)
    }

    /// Reads an entry as the bug has it.
    pub(super) fn entry(&self, key: &str) -> Result<Option<Entry>> {
        let entry = match self.bug {
            Bug::EntryInTwoSteps => {
                let Some(value) = self.model.get(key)? else { return Ok(None) };
                self.calls.pause(Until::Written);
                self.model.get_entry(key)?.map(|it| Entry::new(value, it.ttl, it.stamp))
            }
            Bug::EntryIsForever => {
                self.model.get_entry(key)?.map(|it| Entry::new(it.value, Ttl::Forever, it.stamp))
            }
            Bug::EmptyIsAbsent => self.model.get_entry(key)?.filter(|it| !it.value.is_empty()),
            _ => self.model.get_entry(key)?,
        };
        if self.has_bug(Bug::StampsOfReads)
            && let Some(lifetime) = self.lifetime(key)?
        {
            self.model.touch(key, lifetime)?;
        }
        Ok(entry)
    }

    /// Runs a call for each item of a batch as the bug has it.
    pub(super) fn batch<T, I>(&self, items: &[I], one: impl Fn(&I) -> Result<T>) -> Vec<Result<T>> {
        match self.bug {
            Bug::BatchReversed => {
                let mut res: Vec<_> = items.iter().map(one).collect();
                res.reverse();
                res
            }
            Bug::BatchEndsAtAThousand => items.iter().take(1000).map(one).collect(),
            Bug::BatchRefusesEmpty if items.is_empty() => {
                vec![Err(Error::new(ErrorKind::Backend, "wrong number of arguments"))]
            }
            _ => items.iter().map(one).collect(),
        }
    }

    /// Returns whether the entry is the expected one, as the bug compares.
    pub(super) fn matches(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let Some(entry) = self.model.get_entry(key)? else { return Ok(false) };
        Ok(match self.bug {
            Bug::CompareIgnoresBytes => true,
            Bug::CompareIgnoresStamp => entry.value == seen.value,
            Bug::CompareByPrefix => entry.value.starts_with(seen.value),
            _ => seen.is(&entry.value, entry.stamp),
        })
    }

    /// Runs a comparison that expects the entry as it is now, so that it succeeds.
    pub(super) fn with_current<T>(
        &self,
        key: &str,
        run: impl Fn(Expected<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let entry = self.model.get_entry(key)?;
        entry.map(|it| run(Expected::new(&it.value, None::<Stamp>))).transpose()
    }
}
