//! Keys whose rows are locked by other sessions.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Keys that were found locked a short time ago. Their writes run where they delay no other key.
#[derive(Debug, Default)]
pub(crate) struct LockedKeys {
    /// Hashes of keys, each with the time until which it is remembered.
    keys: Mutex<Vec<(u64, Duration)>>,
    is_any: AtomicBool,
}

/// If so many keys are locked, all of them probably are.
const MANY: usize = 8;

impl LockedKeys {
    /// Whether a write of this key will probably wait for a lock.
    pub(crate) fn has(&self, key: u64, now: impl FnOnce() -> Duration) -> bool {
        if !self.is_any.load(Ordering::Relaxed) {
            return false;
        }
        let now = now();
        let mut keys = self.lock();
        keys.retain(|(_, until)| *until > now);
        self.is_any.store(!keys.is_empty(), Ordering::Relaxed);
        keys.len() >= MANY || keys.iter().any(|(it, _)| *it == key)
    }

    /// Whether any locked key is remembered.
    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// Remembers a key until this time.
    pub(crate) fn add(&self, key: u64, until: Duration) {
        let mut keys = self.lock();
        keys.retain(|(it, _)| *it != key);
        if keys.len() < MANY {
            keys.push((key, until));
        }
        self.is_any.store(true, Ordering::Relaxed);
    }

    /// Forgets a key that was written without waiting.
    pub(crate) fn remove(&self, key: u64) {
        let mut keys = self.lock();
        keys.retain(|(it, _)| *it != key);
        self.is_any.store(!keys.is_empty(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Duration)>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_keys_expire_and_many_of_them_count_as_all() {
        let locked = LockedKeys::default();
        let at = Duration::from_secs;
        assert!(!locked.has(1, || at(0)));
        locked.add(1, at(10));
        assert!(locked.has(1, || at(9)) && !locked.has(2, || at(9)));
        assert!(!locked.has(1, || at(10)) && !locked.is_any());
        (0..20).for_each(|it| locked.add(it, at(30)));
        assert!(locked.has(99, || at(20)));
        locked.remove(0);
        assert!(locked.has(1, || at(20)) && !locked.has(99, || at(20)));
    }
}
