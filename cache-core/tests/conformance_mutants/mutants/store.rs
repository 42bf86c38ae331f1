//! A store that breaks one promise.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result, Ttl,
    store::{CounterInit, Entry, Expected, Expiry, Namespace, SetMode, Stamp, SyncBackend},
    testing::Model,
};

use super::{Bug, Calls, calls::Until};

/// The plain model with one [`Bug`].
#[derive(Debug)]
pub(crate) struct Mutant {
    pub(super) bug: Bug,
    pub(super) model: Model,
    /// What was written and not removed, whether expired or not.
    pub(super) ghosts: Mutex<HashMap<String, Bytes>>,
    pub(super) closed: AtomicBool,
    /// Names of keys that something has happened to.
    marked: Mutex<HashSet<String>>,
    pub(super) calls: Arc<Calls>,
}

pub(super) const MAX_LEN: usize = 1 << 20;
const DAY: Duration = Duration::from_secs(86_400);

impl Mutant {
    pub(crate) fn new(bug: Bug, model: Model) -> Self {
        let (ghosts, closed) = (Mutex::default(), AtomicBool::new(false));
        let model = model.with_max_value_len(MAX_LEN);
        let (marked, calls) = (Mutex::default(), Arc::default());
        Self { bug, model, ghosts, closed, marked, calls }
    }

    /// What must be around the store for its races to happen.
    pub(crate) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// How many entries there are, without those that have expired.
    pub(crate) fn entries(&self) -> usize {
        let keys: Vec<_> = self.ghosts.lock().unwrap().keys().cloned().collect();
        keys.iter().filter(|it| self.model.has(it).unwrap()).count()
    }

    pub(super) fn has_bug(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    /// Between two steps that should be one.
    pub(super) fn pause(&self) {
        self.calls.pause(Until::Another);
    }

    /// The key that is taken for this one.
    pub(super) fn key(&self, key: &str) -> String {
        match self.bug {
            Bug::KeysIgnoreCase => key.to_lowercase(),
            Bug::KeysAreCut => key.chars().take(200).collect(),
            Bug::KeysAreLatin => key.replace(|it: char| !it.is_ascii(), "?"),
            Bug::KeysArePaths => key.replace("//", "/").replace("/./", "/"),
            _ => key.to_owned(),
        }
    }

    pub(super) fn value(&self, value: Bytes) -> Bytes {
        let text = std::str::from_utf8(&value).ok();
        match self.bug {
            Bug::ValuesAreText => String::from_utf8_lossy(&value).into_owned().into(),
            Bug::ValuesEndAtZero => {
                let end = value.iter().position(|it| *it == 0).unwrap_or(value.len());
                value.slice(..end)
            }
            Bug::ValuesAreTrimmed => value.trim_ascii().to_vec().into(),
            Bug::ValuesAreCut => value.slice(..value.len().min(u16::MAX.into())),
            Bug::NumbersAreNormalised => match text.and_then(|it| it.parse::<f64>().ok()) {
                Some(number) if number.is_finite() => number.to_string().into(),
                _ => value,
            },
            _ => value,
        }
    }

    pub(super) fn expiry(&self, expiry: Expiry) -> Expiry {
        match (self.bug, expiry) {
            (Bug::WholeSecondsRoundedDown, Expiry::After(it)) => {
                Expiry::After(Duration::from_secs(it.as_secs()))
            }
            (Bug::WholeSeconds, Expiry::After(it)) => {
                Expiry::After(Duration::from_secs(it.as_secs().saturating_add(2)))
            }
            (Bug::AMillisecondEarly, Expiry::After(it)) => {
                Expiry::After(it.saturating_sub(Duration::from_millis(1)))
            }
            (Bug::ASecondLate, Expiry::After(it)) => {
                Expiry::After(it.saturating_add(Duration::from_secs(1)))
            }
            (Bug::ThirtyDaysAreADate, Expiry::After(it)) if it > DAY * 30 => {
                Expiry::After(Duration::ZERO)
            }
            (Bug::LongLifetimesWrap, Expiry::After(it)) => {
                let millis = it.as_millis() & u128::from(u32::MAX);
                Expiry::After(Duration::from_millis(millis.try_into().unwrap_or_default()))
            }
            (Bug::NeverIsAYear, Expiry::Never) => Expiry::After(DAY * 365),
            _ => expiry,
        }
    }

    pub(super) fn mark(&self, key: &str) {
        self.marked.lock().unwrap().insert(key.to_owned());
    }

    pub(super) fn is_marked(&self, key: &str) -> bool {
        self.marked.lock().unwrap().contains(key)
    }

    pub(super) fn ghost(&self, key: &str) -> Option<Bytes> {
        self.ghosts.lock().unwrap().get(key).cloned()
    }

    /// Remembers what is under a key now.
    pub(super) fn note(&self, key: &str) {
        if let Ok(Some(value)) = self.model.get(key) {
            self.ghosts.lock().unwrap().insert(key.to_owned(), value);
        }
    }

    pub(super) fn forget(&self, key: &str) {
        self.ghosts.lock().unwrap().remove(key);
    }

    pub(super) fn revive(&self, key: &str) -> Result<()> {
        if let Some(ghost) = self.ghost(key) {
            self.model.set(key, ghost, Expiry::Never, SetMode::IfAbsent)?;
        }
        Ok(())
    }

    pub(super) fn lifetime(&self, key: &str) -> Result<Option<Expiry>> {
        Ok(self.model.ttl(key)?.map(|it| match it {
            Ttl::Forever => Expiry::Never,
            Ttl::Remaining(it) => Expiry::After(it),
        }))
    }

    pub(super) fn write(
        &self,
        key: &str,
        value: Bytes,
        expiry: Expiry,
        mode: SetMode,
    ) -> Result<bool> {
        let too_large = value.len() > MAX_LEN;
        match (self.bug, mode) {
            (Bug::TooLargeLeavesOld, _) if too_large => {
                return Err(Error::new(ErrorKind::TooLarge, ""));
            }
            (Bug::TooLargeIsStored, _) if too_large => {
                return self.model.set(key, value.slice(..MAX_LEN), expiry, mode);
            }
            (Bug::TooLargeRemovesWhatAddLeaves, SetMode::IfAbsent) if too_large => {
                self.model.delete(key)?;
            }
            (Bug::AddInTwoSteps, SetMode::IfAbsent) => {
                if self.model.has(key)? {
                    return Ok(false);
                }
                self.pause();
                return self.model.set(key, value, expiry, SetMode::Always);
            }
            (Bug::KeysAreShort, _) if key.len() > 200 => {
                return Err(Error::new(ErrorKind::InvalidKey, "too long for this store"));
            }
            (Bug::LimitIsLess, _) if value.len() == MAX_LEN => {
                return Err(Error::new(ErrorKind::TooLarge, ""));
            }
            (Bug::SetIsAdd, SetMode::Always) => {
                self.model.set(key, value, expiry, SetMode::IfAbsent)?;
                return Ok(true);
            }
            (Bug::AddIsForever, SetMode::IfAbsent) => {
                return self.model.set(key, value, Expiry::Never, mode);
            }
            (Bug::AddBlockedByRemoved, SetMode::IfAbsent) if self.is_marked(key) => {
                return Ok(false);
            }
            (Bug::ClearedStaysCleared, _) if self.is_marked(key) => return Ok(true),
            (Bug::ExpiredIsInTheWay, SetMode::Always)
                if !self.model.has(key)? && self.ghost(key).is_some() =>
            {
                self.forget(key);
                return Ok(true);
            }
            (Bug::AddBlockedByExpired, SetMode::IfAbsent) if self.ghost(key).is_some() => {
                return Ok(false);
            }
            (Bug::AddOverwrites, SetMode::IfAbsent) => {
                let absent = !self.model.has(key)?;
                self.model.set(key, value, expiry, SetMode::Always)?;
                return Ok(absent);
            }
            (Bug::ReplaceCreates, SetMode::IfPresent) => {
                return self.model.set(key, value, expiry, SetMode::Always);
            }
            (Bug::ReplaceInTwoSteps, SetMode::IfPresent) => {
                if !self.model.has(key)? {
                    return Ok(false);
                }
                self.calls.pause(Until::Written);
                return self.model.set(key, value, expiry, SetMode::Always);
            }
            (Bug::ExpiredIsReplaced, SetMode::IfPresent) => self.revive(key)?,
            (Bug::SetKeepsLifetime, SetMode::Always)
            | (Bug::ReplaceKeepsLifetime, SetMode::IfPresent) => {
                let expiry = self.lifetime(key)?.unwrap_or(expiry);
                return self.model.set(key, value, expiry, mode);
            }
            (Bug::SetSwapsHalves, SetMode::Always) if value.len() > 100 => {
                if let Some(old) = self.model.get(key)?.filter(|it| it.len() == value.len()) {
                    let half = value.len() / 2;
                    let torn = [&value[..half], &old[half..]].concat();
                    self.model.set(key, torn.into(), expiry, mode)?;
                    self.calls.pause(Until::Read);
                }
            }
            _ => {}
        }
        self.model.set(key, value, expiry, mode)
    }

    pub(super) fn read(&self, key: &str) -> Result<Option<Bytes>> {
        if self.has_bug(Bug::CloseIsForGood) && self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "closed"));
        }
        if self.has_bug(Bug::CloseDisturbs) && self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "closing"));
        }
        let found = self.model.get(key)?;
        match self.bug {
            Bug::PurgeDeletesBlindly if found.is_none() && self.ghost(key).is_some() => {
                self.calls.pause(Until::Written);
                self.model.delete(key)?;
            }
            Bug::ExpiredIsThere if found.is_none() => return Ok(self.ghost(key)),
            Bug::EmptyIsAbsent => return Ok(found.filter(|it| !it.is_empty())),
            Bug::ReadsRenew if found.is_some() => {
                self.model.touch(key, Expiry::After(Duration::from_secs(600)))?;
            }
            _ => {}
        }
        Ok(found)
    }

    pub(super) fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let create = create.map(|it| CounterInit { expiry: self.expiry(it.expiry), ..it });
        let put = |value: i64, expiry: Expiry| {
            self.model
                .set(key, value.to_string().into(), expiry, SetMode::Always)
                .map(|_| Some(value))
        };
        let old = self.model.get(key)?;
        let text = old.as_deref().and_then(|it| std::str::from_utf8(it).ok());
        let keep = || Ok::<_, Error>(self.lifetime(key)?.unwrap_or(Expiry::Never));
        match (self.bug, text, create) {
            (Bug::IncrInTwoSteps, Some(old), _) => {
                let Ok(old) = old.parse::<i64>() else {
                    return self.model.incr(key, delta, create);
                };
                self.pause();
                put(old + delta, keep()?)
            }
            (Bug::IncrLosesLifetime, Some(_), _) => {
                let sum = self.model.incr(key, delta, create)?;
                self.model.touch(key, Expiry::Never)?;
                Ok(sum)
            }
            (Bug::IncrAcceptsPlus, Some(old), _) if old.starts_with('+') => {
                put(old.parse::<i64>().unwrap_or_default() + delta, keep()?)
            }
            (Bug::IncrTrims, Some(old), _) if old.trim() != old => {
                put(old.trim().parse::<i64>().unwrap_or_default(), keep()?)
            }
            (Bug::IncrSaturates, Some(old), _) => match old.parse::<i64>() {
                Ok(number) if number.to_string() == old => {
                    put(number.saturating_add(delta), keep()?)
                }
                _ => self.model.incr(key, delta, create),
            },
            (Bug::IncrStopsAtZero, Some(_), _) => match self.model.incr(key, delta, create)? {
                Some(..0) => put(0, keep()?),
                sum => Ok(sum),
            },
            (Bug::IncrMakesTextZero, Some(old), _) if old.parse::<i64>().is_err() => {
                put(delta, keep()?)
            }
            (Bug::IncrAnswersTheOld, Some(_), _) => {
                Ok(self.model.incr(key, delta, create)?.map(|it| it.wrapping_sub(delta)))
            }
            (Bug::IncrPads, Some(old), _) => {
                let (len, expiry) = (old.len(), keep()?);
                let sum = self.model.incr(key, delta, create)?;
                let padded = sum.map(|it| format!("{it:<len$}")).unwrap_or_default();
                self.model.set(key, padded.into(), expiry, SetMode::Always)?;
                Ok(sum)
            }
            (Bug::IncrOrSaturates, None, Some(create)) => {
                put(create.initial.saturating_add(delta), create.expiry)
            }
            (Bug::IncrCreates, None, None) => put(delta, Expiry::Never),
            (Bug::IncrWithFloats, Some(_), _) => match self.model.incr(key, delta, create)? {
                #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
                Some(sum) => put(sum as f64 as i64, keep()?),
                None => Ok(None),
            },
            (Bug::IncrOrIsImmortal, None, Some(create)) => {
                self.model.incr(key, delta, Some(CounterInit { expiry: Expiry::Never, ..create }))
            }
            (Bug::IncrOrExpiresLater, None, Some(create)) => {
                let sum = self.model.incr(
                    key,
                    delta,
                    Some(CounterInit { expiry: Expiry::Never, ..create }),
                )?;
                self.calls.pause(Until::Read);
                self.model.touch(key, create.expiry)?;
                Ok(sum)
            }
            (Bug::IncrOrRenewsLifetime, Some(_), Some(create)) => {
                let sum = self.model.incr(key, delta, None)?;
                self.model.touch(key, create.expiry)?;
                Ok(sum)
            }
            (Bug::ExpiredIsCounted, None, _) if old.is_none() => {
                self.revive(key)?;
                self.model.incr(key, delta, create)
            }
            _ => self.model.incr(key, delta, create),
        }
    }

    pub(super) fn entry(&self, key: &str) -> Result<Option<Entry>> {
        let entry = match self.bug {
            Bug::EntryInTwoSteps => {
                let Some(value) = self.model.get(key)? else { return Ok(None) };
                self.calls.pause(Until::Written);
                self.model.get_entry(key)?.map(|it| Entry { value, ..it })
            }
            Bug::EntryIsForever => {
                self.model.get_entry(key)?.map(|it| Entry { ttl: Ttl::Forever, ..it })
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

    pub(super) fn batch<T, I>(&self, items: &[I], one: impl Fn(&I) -> Result<T>) -> Vec<Result<T>> {
        match self.bug {
            Bug::BatchReversed => {
                let mut res: Vec<_> = items.iter().map(one).collect();
                res.reverse();
                res
            }
            Bug::BatchEndsAtAThousand => items.iter().take(1000).map(one).collect(),
            Bug::BatchTakesNoEmptyOne if items.is_empty() => {
                vec![Err(Error::new(ErrorKind::Backend, "wrong number of arguments"))]
            }
            _ => items.iter().map(one).collect(),
        }
    }

    pub(super) fn looks_same(&self, key: &str, seen: Expected<'_>) -> Result<bool> {
        let Some(entry) = self.model.get_entry(key)? else { return Ok(false) };
        Ok(match self.bug {
            Bug::CompareIgnoresBytes => true,
            Bug::CompareIgnoresStamp => entry.value == seen.value,
            Bug::CompareByPrefix => entry.value.starts_with(seen.value),
            _ => seen.is(&entry.value, entry.stamp),
        })
    }

    /// What a wrong comparison is made of: the entry as it is now.
    pub(super) fn as_is<T>(
        &self,
        key: &str,
        run: impl Fn(Expected<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let entry = self.model.get_entry(key)?;
        entry.map(|it| run(Expected { value: &it.value, stamp: None::<Stamp> })).transpose()
    }

    pub(super) fn clears(&self, namespace: &Namespace, key: &str) -> bool {
        let prefix = namespace.prefix();
        let right = namespace.contains(key);
        match self.bug {
            Bug::ClearByPrefix => key.starts_with(prefix),
            Bug::ClearByGlob => match prefix.split_once('*') {
                Some((head, tail)) => {
                    key.strip_prefix(head).is_some_and(|it| it.contains(&format!("{tail}:")))
                }
                None => right,
            },
            Bug::ClearIgnoresCase => {
                Namespace::new(&prefix.to_lowercase()).unwrap().contains(&key.to_lowercase())
            }
            Bug::ClearOneVersion => key.starts_with(&format!("{prefix}:1:")),
            Bug::ClearSparesOurWords => {
                right
                    && !["tag", "lock", "lease"]
                        .iter()
                        .any(|it| key.starts_with(&format!("{prefix}:{it}:")))
            }
            Bug::ClearForgetsNever => {
                right && !matches!(self.model.ttl(key), Ok(Some(Ttl::Forever)))
            }
            Bug::ClearIsFlush => true,
            Bug::ClearTheEmptyPrefixIsFlush => right || prefix.is_empty(),
            _ => right,
        }
    }
}
