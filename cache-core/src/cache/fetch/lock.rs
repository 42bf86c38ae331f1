//! The lock under which one process at a time refreshes a key.

use std::time::Duration;

use bytes::Bytes;

use super::request::{Mode, Request};
use crate::{
    cache::{Cache, call},
    error::Result,
    key::{FullKey, KeyHead},
    runtime::jitter,
    store::{Expected, SetMode},
    timeout::Expiry,
};

/// The lock of a refresh. It ends by itself after the longest time of a load.
pub(super) struct RefreshLock {
    key: FullKey,
    token: Bytes,
}

/// How long a process waits before it tries again to lock a key that another process has locked.
const AGAIN: Duration = Duration::from_millis(500);

impl Cache {
    /// Takes the lock of a refresh, if the fetch wants one. Returns `Err` if another process has
    /// the lock. If the store fails, the refresh goes on without a lock.
    pub(super) async fn lock_refresh(&self, request: &Request) -> Result<Option<RefreshLock>, ()> {
        let is_refresh = request.old.is_some() && request.mode == Mode::Usual;
        if !request.policy.refresh_lock || !is_refresh {
            return Ok(None);
        }
        let key = KeyHead::lock(&self.shared.namespace, &request.key);
        // Only its owner knows the number.
        let token = Bytes::from(jitter(Duration::MAX / 2).as_nanos().to_string());
        let expiry = Expiry::After(request.lasts());
        let res: Result<bool> = call!(self.set(&key, token.clone(), expiry, SetMode::IfAbsent));
        match res {
            Ok(true) => Ok(Some(RefreshLock { key, token })),
            Ok(false) => {
                let now = self.shared.clock.coarse();
                self.shared.fetch.failures.wait(&request.key, now, AGAIN);
                Err(())
            }
            Err(_) => Ok(None),
        }
    }

    /// Ends the lock, unless it has expired.
    pub(super) async fn unlock_refresh(&self, lock: Option<RefreshLock>) {
        if let Some(RefreshLock { key, token }) = lock {
            let seen = Expected::value(&token);
            // If this fails, the lock ends by itself.
            let _: Result<bool> = call!(self.compare_and_delete(&key, seen));
        }
    }
}
