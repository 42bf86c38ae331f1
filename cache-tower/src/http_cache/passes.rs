//! Remembers requests whose responses were not stored, so that the next ones do not wait for each
//! other in vain.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cache_core::Clock;

use super::freshness::Asked;

/// After this time, one request is tried again.
const LASTS: Duration = Duration::from_secs(10);
/// More are not remembered: their requests wait for each other.
const MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Passes {
    until: Mutex<HashMap<(String, bool), Duration>>,
}

impl Passes {
    pub(super) fn add(&self, key: &str, asked: Asked, clock: &Clock) {
        let (now, mut until) = (clock.now(), self.lock());
        if until.len() >= MAX {
            until.retain(|_, it| *it > now);
        }
        if until.len() < MAX {
            until.insert((key.to_owned(), asked.has_credentials()), now + LASTS);
        }
    }

    pub(super) fn remove(&self, key: &str, asked: Asked) {
        let mut until = self.lock();
        if !until.is_empty() {
            until.remove(&(key.to_owned(), asked.has_credentials()));
        }
    }

    pub(super) fn has(&self, key: &str, asked: Asked, clock: &Clock) -> bool {
        let mut until = self.lock();
        if until.is_empty() {
            return false;
        }
        let key = (key.to_owned(), asked.has_credentials());
        let res = until.get(&key).is_some_and(|it| *it > clock.now());
        if !res {
            until.remove(&key);
        }
        res
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, bool), Duration>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
