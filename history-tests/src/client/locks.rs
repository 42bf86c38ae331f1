//! Locks: acquired, held for a while, sometimes for longer than the lease, and released.

use std::{sync::Mutex, time::Duration};

use tokio::time::sleep;

use super::{Client, is_well};
use crate::record::{Call, Reply};

/// The lease of a lock in milliseconds.
const LEASE: u64 = 250;

impl Client {
    /// Tries to acquire a lock, holds it, and releases it.
    pub(super) async fn lock(&mut self) -> bool {
        let name = format!("lock{}", self.random.below(2));
        let cache = self.shared.plain.clone();
        let held = Mutex::new(None);
        let run = async {
            let lock = cache.try_lock(&name, Duration::from_millis(LEASE)).await?;
            let acquired = lock.is_some();
            *held.lock().expect("not poisoned") = lock;
            Ok(Reply::Is(acquired))
        };
        let (id, reply) = self.record(&name, Call::Lock(LEASE), run).await;
        // A lock of a dropped call is released in the background.
        let Some(lock) = held.into_inner().expect("not poisoned").filter(|_| is_well(&reply))
        else {
            return is_well(&reply);
        };
        if self.random.percent(40) {
            let run = async {
                let number = lock.number().await?;
                Ok(Reply::Value(number.and_then(|it| u64::try_from(it).ok())))
            };
            self.record(&name, Call::Number(id), run).await;
        }
        let hold = if self.random.percent(8) { LEASE + 20 } else { self.random.below(8) };
        // sleeps: the owner of the lock works
        sleep(Duration::from_millis(hold)).await;
        let run = async { Ok(Reply::Is(lock.release().await?)) };
        is_well(&self.record(&name, Call::Release(id), run).await.1)
    }
}
