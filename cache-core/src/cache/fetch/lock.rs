//! The lock under which one process at a time refreshes a key.

use std::time::Duration;

use super::request::{Mode, Request};
use crate::{
    cache::{Cache, Lock},
    key::KeyHead,
    value::Form,
};

/// How long a process waits before it tries again to lock a key that another process has locked.
const AGAIN: Duration = Duration::from_millis(500);

impl<V: Form> Cache<V> {
    /// Takes the lock of a refresh, if the fetch wants one. Returns `Err` if another process has
    /// the lock. If the store fails, the refresh goes on without a lock.
    ///
    /// The lock ends by itself after the longest time of a load.
    pub(super) async fn lock_refresh(&self, request: &Request) -> Result<Option<Lock>, ()> {
        let is_refresh = request.old.is_some() && request.mode == Mode::Usual;
        if !request.policy.refresh_lock || !is_refresh {
            return Ok(None);
        }
        let key = KeyHead::lock(&self.shared.namespace, &request.key);
        match self.take_lock(&key, request.lasts()).await {
            Ok(Some(lock)) => Ok(Some(lock)),
            Ok(None) => {
                let now = self.shared.clock.coarse();
                self.shared.fetch.failures.wait(&request.key, now, AGAIN);
                Err(())
            }
            Err(_) => Ok(None),
        }
    }
}
