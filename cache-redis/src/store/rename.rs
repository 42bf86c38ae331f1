//! Moves an entry between two servers of a Cluster. Redis has no command for this.

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

use super::{
    Redis,
    commands::{ENTRY_COMMANDS, encode_entry, encode_set},
};
use crate::{
    encoder::{Commands, Encoder},
    error::needs_memory,
    reply,
    route::ReadTarget,
};

/// The pause between two attempts while another caller moves the same entry.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the lock outlives the longest call, so that it does not expire during a move.
const GRACE: Duration = Duration::from_secs(1);

/// A lock that this call holds.
struct MoveLock {
    key: String,
    token: String,
    /// The owner must not do anything after this time, because the lock expires soon after.
    until: Duration,
}

impl Redis {
    /// Writes `to`, then compares and deletes `from`. A crash in between leaves both entries.
    ///
    /// A lock ensures that only one of several callers moves an entry. The other callers then find
    /// no entry to move. The lock is a key of the same namespace, which no caller can use because
    /// it contains a control character, and which [`clear`](cache_core::store::Backend::clear)
    /// removes.
    ///
    /// A task of its own does the move. Therefore, a caller that drops the future half way leaves
    /// neither two entries nor a lock that blocks other callers.
    pub(super) async fn move_between_servers(&self, from: &str, to: &str) -> Result<bool> {
        let (store, from, to) = (self.clone(), from.to_owned(), to.to_owned());
        let task = cache_core::store::current_runtime()?.spawn(async move {
            let lock = store.lock(&from).await?;
            let clock = store.common.clock();
            let left = lock.until.saturating_sub(clock.now());
            let Some(res) = within(clock, left, store.move_locked(&from, &to)).await else {
                // Keep the lock until it expires: the last command may still reach the server.
                return Err(timed_out(store.time_limit()));
            };
            // If this fails, the lock expires.
            let _ =
                store.compare_and_delete(&lock.key, Expected::value(lock.token.as_bytes())).await;
            res
        });
        task.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Backend, "the runtime was shut down during the rename"))
        })
    }

    async fn lock(&self, from: &str) -> Result<MoveLock> {
        let key = format!("{from}\u{1}move");
        let token = RandomState::new().hash_one(from).to_string();
        let (clock, time) = (self.common.clock(), self.time_limit());
        let expiry = Expiry::After(time.saturating_add(GRACE));
        let write = |out: &mut Encoder<'_>| {
            encode_set(out, &key, token.as_bytes(), expiry, SetMode::IfAbsent);
        };
        let locked = within(clock, time, async {
            loop {
                let until = clock.now().saturating_add(time);
                if reply::done(&self.execute(&key, ReadTarget::Leader, &write).await?)? {
                    return Ok(until);
                }
                clock.sleep(PAUSE).await;
            }
        });
        let until = locked.await.unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::TimedOut,
                format!("another caller has been renaming the entry for longer than {time:?}"),
            ))
        })?;
        Ok(MoveLock { key, token, until })
    }

    /// The longest time of a call that has to connect first.
    fn time_limit(&self) -> Duration {
        self.common.nodes.longest_call()
    }

    async fn move_locked(&self, from: &str, to: &str) -> Result<bool> {
        let mut written: Option<Bytes> = None;
        loop {
            let read = |out: &mut Encoder<'_>| encode_entry(out, from);
            let read = Commands::transaction(ENTRY_COMMANDS, &read);
            let seen = self.pool()?.execute(from, ReadTarget::Leader, &read).await;
            let mut seen = seen.and_then(reply::entry);
            if needs_memory(&seen) {
                seen = self.entry_without_memory(from).await;
            }
            let Some(seen) = seen? else {
                // Another caller deleted the entry, or renamed it within its server, which needs no
                // lock.
                if let Some(value) = written {
                    self.compare_and_delete(to, Expected::value(&value)).await?;
                }
                return Ok(false);
            };
            let expiry = match seen.ttl {
                Ttl::Forever => Expiry::Never,
                Ttl::Remaining(left) => Expiry::After(left.max(Duration::from_millis(1))),
            };
            let write = |out: &mut Encoder<'_>| {
                encode_set(out, to, &seen.value, expiry, SetMode::Always);
            };
            reply::done(&self.write(to, &write).await?)?;
            if self.compare_and_delete(from, Expected::entry(&seen)).await? {
                return Ok(true);
            }
            // The entry changed between the read and the deletion: move the new value.
            written = Some(seen.value);
        }
    }
}

fn timed_out(time: Duration) -> Error {
    let what =
        format!("the rename did not finish within {time:?}; the entry may exist under both keys");
    Error::new(ErrorKind::TimedOut, what)
}
