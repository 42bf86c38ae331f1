//! Moving an entry between two servers of a Cluster, which no command does.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result, Ttl,
    store::{Backend as _, Expected, Expiry, SetMode},
};
use cache_net::within;

use super::{Redis, entry, set};
use crate::{reply, route::ReadTarget};

/// How often it is tried while somebody else moves the same entry.
const PAUSE: Duration = Duration::from_millis(10);
/// How much longer than a call may take the mark of a mover stays who has died.
const GRACE: Duration = Duration::from_secs(1);

/// A mark that is set.
struct MoveLock {
    key: String,
    token: String,
    /// When its owner may do nothing any more: others may have the next one soon.
    until: Duration,
}

impl Redis {
    /// `to` is written, then `from` compared and deleted. A crash in between leaves both.
    ///
    /// One who moves an entry marks it, so that of several only one writes; the others find nothing to move. The mark is a key of the
    /// same namespace that no caller can name, because of the sign in it, and that [`clear`](cache_core::store::Backend::clear) removes.
    ///
    /// It is done by a task of its own: a caller who is dropped half way leaves neither two entries nor a mark, which would keep
    /// the others waiting.
    pub(super) async fn move_between_servers(&self, from: &str, to: &str) -> Result<bool> {
        let (store, from, to) = (self.clone(), from.to_owned(), to.to_owned());
        let task = cache_core::store::current_runtime()?.spawn(async move {
            let lock = store.lock(&from).await?;
            let clock = &store.pools.common().connector.clock;
            let left = lock.until.saturating_sub(clock.now());
            let Some(res) = within(clock, left, store.move_locked(&from, &to)).await else {
                // The mark stays for as long as what was sent last may still arrive.
                return Err(timed_out(store.time_limit()));
            };
            // If this fails, it goes by itself.
            let _ =
                store.compare_and_delete(&lock.key, Expected::value(lock.token.as_bytes())).await;
            res
        });
        task.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Backend, "the runtime ended while the entry was moved"))
        })
    }

    async fn lock(&self, from: &str) -> Result<MoveLock> {
        let key = format!("{from}\u{1}move");
        let token = RandomState::new().hash_one(from).to_string();
        let (clock, time) = (&self.pools.common().connector.clock, self.time_limit());
        let write = set(
            &key,
            &token.clone().into(),
            Expiry::After(time.saturating_add(GRACE)),
            SetMode::IfAbsent,
        );
        let locked = within(clock, time, async {
            loop {
                let until = clock.now().saturating_add(time);
                if reply::done(
                    &self.pools.here()?.execute(&key, ReadTarget::Leader, &write).await?,
                )? {
                    return Ok(until);
                }
                clock.sleep(PAUSE).await;
            }
        });
        let until = locked.await.unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::TimedOut,
                format!("somebody else moves the entry, for longer than {time:?}"),
            ))
        })?;
        Ok(MoveLock { key, token, until })
    }

    /// As long as a call with one more connection may take.
    fn time_limit(&self) -> Duration {
        let common = self.pools.common();
        common.deadline.saturating_add(common.connector.time)
    }

    async fn move_locked(&self, from: &str, to: &str) -> Result<bool> {
        let mut written: Option<Bytes> = None;
        loop {
            let seen = self.execute(from, ReadTarget::Leader, entry(from)).await?;
            let Some(seen) = reply::entry(seen)? else {
                // Somebody took it, or moved it within its server, for which no mark is needed.
                if let Some(value) = written {
                    self.compare_and_delete(to, Expected::value(&value)).await?;
                }
                return Ok(false);
            };
            let expiry = match seen.ttl {
                Ttl::Forever => Expiry::Never,
                Ttl::Remaining(left) => Expiry::After(left.max(Duration::from_millis(1))),
            };
            let write = set(to, &seen.value, expiry, SetMode::Always);
            reply::done(&self.execute(to, ReadTarget::Leader, write).await?)?;
            if self.compare_and_delete(from, Expected::entry(&seen)).await? {
                return Ok(true);
            }
            // It was written meanwhile: that is what is moved.
            written = Some(seen.value);
        }
    }
}

fn timed_out(time: Duration) -> Error {
    let what = format!("the entry was not moved within {time:?}; it may be in both places");
    Error::new(ErrorKind::TimedOut, what)
}
