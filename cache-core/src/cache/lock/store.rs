//! The calls of the store that a lock makes.

use std::time::Duration;

use bytes::Bytes;

use super::Lock;
use crate::{
    cache::{Cache, call, call_leader},
    error::Result,
    key::FullKey,
    store::{CounterInit, Expected, SetMode, TtlUpdate},
    timeout::Expiry,
    value::Form,
};

/// How long the count of a lock is kept, from its first number. A count that was lost begins again
/// at the time of the wall clock, which is larger.
const NUMBERS_LAST: Duration = Duration::from_secs(24 * 3600);

impl<V: Form> Cache<V> {
    /// Writes the lock if it is absent. Returns `None` if it has an owner.
    pub(in crate::cache) async fn take_lock(
        &self,
        key: &FullKey,
        lease: Duration,
    ) -> Result<Option<Lock>> {
        // Created first: if this future is dropped, or if the store does not answer, the lock may
        // have been written, and dropping the value releases it.
        let lock = Lock::new(self.in_form(), *key, lease);
        let (token, expiry) = (lock.token(), Expiry::After(lease));
        let res: Result<bool> = call!(self.set(key, token, expiry, SetMode::IfAbsent));
        if res? {
            return Ok(Some(lock));
        }
        lock.end();
        Ok(None)
    }

    pub(super) async fn extend_lock(
        &self,
        key: &str,
        token: &Bytes,
        lease: Duration,
    ) -> Result<bool> {
        let (seen, lifetime) = (Expected::value(token), TtlUpdate::New(Expiry::After(lease)));
        call!(self.compare_and_set(key, seen, token.clone(), lifetime))
    }

    pub(super) async fn release_lock(&self, key: &str, token: &Bytes) -> Result<bool> {
        call!(self.compare_and_delete(key, Expected::value(token)))
    }

    pub(super) async fn has_lock(&self, key: &str, token: &Bytes) -> Result<bool> {
        let stored: Result<Option<Bytes>> = call_leader!(self.get(key));
        stored.map(|it| it.as_ref() == Some(token))
    }

    /// Adds one to the number of a lock.
    pub(super) async fn count_lock(&self, key: &str) -> Result<i64> {
        let since_1970 = self.shared.clock.wall().duration_since(std::time::UNIX_EPOCH);
        let micros = since_1970.unwrap_or_default().as_micros();
        let initial = i64::try_from(micros).unwrap_or_default();
        let create = CounterInit::new(initial, Expiry::After(NUMBERS_LAST));
        let number: Result<Option<i64>> = call!(self.incr(key, 1, Some(create)));
        // A missing counter was created.
        number.map(Option::unwrap_or_default)
    }
}
