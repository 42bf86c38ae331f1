//! The bugs of `set`, `add`, `replace` and `incr`.

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result,
    store::{CounterInit, Expiry, SetMode, SyncBackend},
};

use super::{Bug, Mutant, calls::Until, store::MAX_LEN};

impl Mutant {
    /// Sets a value as the bug has it.
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
            (Bug::LimitIsSmaller, _) if value.len() == MAX_LEN => {
                return Err(Error::new(ErrorKind::TooLarge, ""));
            }
            (Bug::SetIsAdd, SetMode::Always) => {
                self.model.set(key, value, expiry, SetMode::IfAbsent)?;
                return Ok(true);
            }
            (Bug::AddIsForever, SetMode::IfAbsent) => {
                return self.model.set(key, value, Expiry::Never, mode);
            }
            (Bug::AddBlockedByRemoved, SetMode::IfAbsent) if self.is_flagged(key) => {
                return Ok(false);
            }
            (Bug::ClearedKeysIgnoreWrites, _) if self.is_flagged(key) => return Ok(true),
            (Bug::ExpiredBlocksSet, SetMode::Always)
                if !self.model.has(key)? && self.last_written(key).is_some() =>
            {
                self.forget(key);
                return Ok(true);
            }
            (Bug::AddBlockedByExpired, SetMode::IfAbsent) if self.last_written(key).is_some() => {
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

    /// Increments a counter as the bug has it.
    pub(super) fn count(
        &self,
        key: &str,
        delta: i64,
        create: Option<CounterInit>,
    ) -> Result<Option<i64>> {
        let create = create.map(|it| CounterInit::new(it.initial, self.expiry(it.expiry)));
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
            (Bug::IncrReturnsTheOldValue, Some(_), _) => {
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
                self.model.incr(key, delta, Some(CounterInit::new(create.initial, Expiry::Never)))
            }
            (Bug::IncrOrExpiresLater, None, Some(create)) => {
                let sum = self.model.incr(
                    key,
                    delta,
                    Some(CounterInit::new(create.initial, Expiry::Never)),
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
}
