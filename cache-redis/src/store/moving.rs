//! Moving an entry between two servers of a Cluster, which no command does.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use cache_core::{Backend as _, Expiry, Result, Seen, SetMode, Ttl};

use super::{Redis, entry, set};
use crate::{reply, route::From};

/// How often it is tried while somebody else moves the same entry.
const PAUSE: Duration = Duration::from_millis(10);
/// How much longer than a call may take the mark of a mover stays who has died.
const GRACE: Duration = Duration::from_secs(1);

/// A mark that is set, and removed when this is dropped.
struct Mark {
    store: Redis,
    key: String,
    token: String,
}

impl Redis {
    /// `to` is written, then `from` compared and deleted. A crash in between leaves both.
    ///
    /// One who moves an entry marks it, so that of several only one writes; the others find nothing to move. The mark is a key of the
    /// same namespace that no caller can name, because of the sign in it, and that [`clear`](cache_core::Backend::clear) removes.
    pub(super) async fn move_between_servers(&self, from: &str, to: &str) -> Result<bool> {
        let mark = self.mark(from).await?;
        let res = self.move_marked(from, to).await;
        mark.remove().await;
        res
    }

    async fn mark(&self, from: &str) -> Result<Mark> {
        let key = format!("{from}\u{1}move");
        let token = RandomState::new().hash_one(from).to_string();
        let common = self.pools.common();
        let life = Expiry::After(common.deadline + common.connector.time + GRACE);
        let write = set(&key, &token.clone().into(), life, SetMode::IfAbsent);
        while !reply::done(&self.pools.here()?.ask(&key, From::Leader, &write).await?)? {
            common.connector.clock.sleep(PAUSE).await;
        }
        Ok(Mark { store: self.clone(), key, token })
    }

    async fn move_marked(&self, from: &str, to: &str) -> Result<bool> {
        loop {
            let seen = self.ask(from, From::Leader, entry(from)).await?;
            let Some(seen) = reply::entry(seen)? else { return Ok(false) };
            let expiry = match seen.ttl {
                Ttl::Forever => Expiry::Never,
                Ttl::Remaining(left) => Expiry::After(left.max(Duration::from_millis(1))),
            };
            let write = set(to, &seen.value, expiry, SetMode::Always);
            reply::done(&self.ask(to, From::Leader, write).await?)?;
            if self.compare_and_delete(from, Seen::entry(&seen)).await? {
                return Ok(true);
            }
            // It was written meanwhile: that is what is moved.
        }
    }
}

impl Mark {
    async fn remove(mut self) {
        let (store, key, token) =
            (self.store.clone(), std::mem::take(&mut self.key), std::mem::take(&mut self.token));
        // If this fails, it goes by itself.
        let _ = store.compare_and_delete(&key, Seen::value(token.as_bytes())).await;
    }
}

impl Drop for Mark {
    /// The mover was dropped: others need not wait until the mark goes by itself.
    fn drop(&mut self) {
        if self.key.is_empty() {
            return;
        }
        if let Ok(runtime) = cache_core::current_runtime() {
            let mark = Self {
                store: self.store.clone(),
                key: std::mem::take(&mut self.key),
                token: std::mem::take(&mut self.token),
            };
            runtime.spawn(mark.remove());
        }
    }
}
