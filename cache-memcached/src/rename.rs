//! Renames an entry. memcached has no command for this, and the new key may be on another server.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Result, store::Expiry};
use cache_net::within;

use crate::{
    command::{self, Mode},
    key::{Key, KeyNames},
    lifetime, outcome,
    pool::{Common, KeyLocation},
    snapshot,
    store::{Memcached, delete_if_unchanged},
    tries::Tries,
};

/// The pause between two attempts while another caller moves the same entry.
const PAUSE: Duration = Duration::from_millis(10);
/// How long the lock outlives the longest call, so that it does not expire during a move.
const GRACE: Duration = Duration::from_secs(1);

impl Memcached {
    /// Writes `to`, then compares and deletes `from`. A crash in between leaves both entries.
    ///
    /// A lock ensures that only one of several callers moves an entry. The other callers then find
    /// no entry to move.
    ///
    /// A task of its own does the move. Therefore, a caller that drops the future half way leaves
    /// neither two entries nor a lock that blocks other callers.
    pub(crate) async fn move_entry(&self, from: &str, to: &str) -> Result<bool> {
        let (source, target) = (self.locate(from)?.into_owned(), self.locate(to)?.into_owned());
        let common = Arc::clone(&self.common);
        let task = cache_core::store::current_runtime()?.spawn(async move {
            let lock = lock(&common, &source).await?;
            let left = lock.until.saturating_sub(common.clock.now());
            let moved = move_locked(&common, &source, &target);
            let Some(res) = within(&common.clock, left, moved).await else {
                // Keep the lock until it expires: the last command may still reach the server.
                return Err(timed_out(time_limit(&common)));
            };
            // If this fails, the lock expires.
            let _ = remove(&source, KeyNames::move_lock, lock.token.as_bytes()).await;
            res
        });
        task.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Backend, "the runtime was shut down during the rename"))
        })
    }
}

/// A lock that this call holds.
struct MoveLock {
    token: String,
    /// The owner must not do anything after this time, because the lock expires soon after.
    until: Duration,
}

/// The longest time of a call that has to connect first.
fn time_limit(common: &Common) -> Duration {
    common.plan.deadline.saturating_add(common.plan.connect_deadline)
}

async fn lock(common: &Common, source: &KeyLocation<'_>) -> Result<MoveLock> {
    let time = time_limit(common);
    let token = RandomState::new().hash_one(source.key()).to_string();
    let life = lifetime::seconds(Expiry::After(time.saturating_add(GRACE)), &common.clock);
    let locked = within(&common.clock, time, async {
        loop {
            let until = common.clock.now().saturating_add(time);
            let write = |names: KeyNames| {
                let key = names.move_lock(source.key());
                command::set(key, token.as_bytes(), Mode::IfAbsent, life)
            };
            let (reply, _) = source.send_named(write).await?;
            if outcome::done(&reply, source.address())? {
                return Ok(until);
            }
            common.clock.sleep(PAUSE).await;
        }
    });
    let until = locked.await.unwrap_or_else(|| {
        Err(Error::new(
            ErrorKind::TimedOut,
            format!("another caller has been renaming the entry for longer than {time:?}"),
        )
        .ignored_by_breaker())
    })?;
    Ok(MoveLock { token, until })
}

async fn move_locked(
    common: &Common,
    source: &KeyLocation<'_>,
    target: &KeyLocation<'_>,
) -> Result<bool> {
    let mut written: Option<Bytes> = None;
    let mut tries = Tries::new(common);
    loop {
        let Some((seen, end)) = snapshot::read_with_end(common, source).await? else {
            // Another caller deleted the entry.
            if let Some(value) = written {
                remove(target, KeyNames::entry, &value).await?;
            }
            return Ok(false);
        };
        let seconds = match seen.clock {
            Some(here) if end > 0 && !Arc::ptr_eq(&source.member, &target.member) => {
                lifetime::on_other_server(end, here, snapshot::read_clock(common, target).await?)
            }
            _ => end,
        };
        let value = seen.entry.value;
        target.is_done(|key| command::set(key, &value, Mode::Always, seconds)).await?;
        let deleted = delete_if_unchanged(source, &seen.moment, seen.entry.stamp).await?;
        if tries.is_over(deleted).await? {
            return Ok(true);
        }
        // The entry may have changed between the read and the deletion: move the new value.
        written = Some(value);
    }
}

/// Removes the value that this call wrote under this key, unless it has changed.
async fn remove(
    location: &KeyLocation<'_>,
    name: fn(KeyNames, &str) -> Key<'_>,
    written: &[u8],
) -> Result<()> {
    loop {
        let read = |names| command::get_entry(name(names, location.key()));
        let (reply, moment) = location.send_named(read).await?;
        let found = outcome::entry(reply, location.address())?;
        let Some(found) = found.filter(|it| it.value == written) else { return Ok(()) };
        let key = name(moment.names, location.key());
        let delete = command::delete(key).if_unchanged(found.stamp);
        // Otherwise the command was not sent, because a connection started or ended.
        if location.send_if_same(&moment, &delete).await?.is_some() {
            return Ok(());
        }
    }
}

fn timed_out(time: Duration) -> Error {
    let what =
        format!("the rename did not finish within {time:?}; the entry may exist under both keys");
    Error::new(ErrorKind::TimedOut, what)
}
