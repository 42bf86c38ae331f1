use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::outcome::Staleness;
use crate::error::Error;

/// The last failed load of each key, as long as it has an effect.
#[derive(Default)]
pub(crate) struct Failures {
    by_key: Mutex<ByKey>,
    /// Read first: usually no load has failed, and no lock is needed.
    len: AtomicUsize,
}

#[derive(Default)]
struct ByKey {
    map: HashMap<Box<str>, Failure>,
    /// Until then, a full map is not searched for failures that have ended.
    full_until: Duration,
}

struct Failure {
    /// `None` if another process loads.
    error: Option<Error>,
    /// Until then no refresh begins.
    backoff_until: Duration,
    /// Until then callers without a stale value get the error.
    error_until: Duration,
}

/// The failures of more keys are not remembered: they only save loads.
const MAX_KEYS: usize = 10_000;

impl Failures {
    /// Remembers a failed load: no refresh begins for `backoff`, and callers get the error for
    /// `error_ttl`.
    pub(crate) fn add(
        &self,
        key: &str,
        error: &Error,
        now: Duration,
        backoff: Duration,
        error_ttl: Duration,
    ) {
        let failure = Failure {
            error: Some(error.clone()),
            backoff_until: now.saturating_add(backoff),
            error_until: now.saturating_add(error_ttl),
        };
        self.insert(key, failure, now);
    }

    /// Remembers that another process loads: no refresh begins for `time`.
    pub(crate) fn wait(&self, key: &str, now: Duration, time: Duration) {
        let backoff_until = now.saturating_add(time);
        self.insert(key, Failure { error: None, backoff_until, error_until: now }, now);
    }

    fn insert(&self, key: &str, failure: Failure, now: Duration) {
        if failure.until() <= now {
            return;
        }
        let mut by_key = self.lock();
        // Each failed load of an outage comes here: it must not search a full map for ended ones.
        if by_key.map.len() >= MAX_KEYS && now >= by_key.full_until {
            by_key.map.retain(|_, it| now < it.until());
            by_key.full_until = by_key.map.values().map(Failure::until).min().unwrap_or_default();
        }
        if by_key.map.len() < MAX_KEYS {
            by_key.map.insert(key.into(), failure);
        }
        self.len.store(by_key.map.len(), Relaxed);
    }

    /// Forgets the failure of a key, which was loaded.
    pub(crate) fn remove(&self, key: &str) {
        if self.len.load(Relaxed) > 0 {
            let mut by_key = self.lock();
            by_key.map.remove(key);
            self.len.store(by_key.map.len(), Relaxed);
        }
    }

    /// Returns the reason why no refresh of the key begins yet.
    pub(crate) fn in_backoff(&self, key: &str, now: Duration) -> Option<Staleness> {
        self.find(key, |it| {
            let why = || it.error.clone().map_or(Staleness::Refreshing, Staleness::LoadFailed);
            (now < it.backoff_until).then(why)
        })
    }

    /// Returns the error that callers get instead of another load.
    pub(crate) fn remembered(&self, key: &str, now: Duration) -> Option<Error> {
        self.find(key, |it| it.error.clone().filter(|_| now < it.error_until))
    }

    fn find<T>(&self, key: &str, effect: impl Fn(&Failure) -> Option<T>) -> Option<T> {
        if self.len.load(Relaxed) == 0 {
            return None;
        }
        self.lock().map.get(key).and_then(effect)
    }

    fn lock(&self) -> MutexGuard<'_, ByKey> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    /// Returns when it has no effect any more.
    fn until(&self) -> Duration {
        self.backoff_until.max(self.error_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn failure_ends_with_its_times_and_with_a_load() {
        let failures = Failures::default();
        let error = Error::new(ErrorKind::Loader, "odd");
        failures.add("k", &error, SECOND, 2 * SECOND, SECOND);
        assert!(failures.in_backoff("k", SECOND).is_some());
        assert!(failures.remembered("k", SECOND).is_some());
        assert!(failures.in_backoff("other", SECOND).is_none());
        assert!(failures.remembered("k", 2 * SECOND).is_none());
        assert!(failures.in_backoff("k", 2 * SECOND).is_some());
        failures.remove("k");
        assert!(failures.in_backoff("k", 2 * SECOND).is_none());
        failures.add("k", &error, SECOND, Duration::ZERO, Duration::ZERO);
        assert_eq!(failures.len.load(Relaxed), 0, "without effect");
    }

    #[test]
    fn failures_are_bounded_and_ended_ones_make_room() {
        let failures = Failures::default();
        let error = Error::new(ErrorKind::Loader, "odd");
        for n in 0..=MAX_KEYS {
            failures.add(&n.to_string(), &error, SECOND, SECOND, SECOND);
        }
        assert_eq!(failures.lock().map.len(), MAX_KEYS);
        failures.add("later", &error, 2 * SECOND, SECOND, SECOND);
        assert_eq!(failures.lock().map.len(), 1);
    }
}
