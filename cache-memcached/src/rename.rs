//! Moving an entry to another key, which no command does and which may be another server's.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{
    Error, ErrorKind, Result,
    store::{Expiry, SharedDeadline},
};
use memcache::exp::MetaCommand;

use crate::{
    command,
    generation::KeyNames,
    lifetime,
    pool::{Common, KeyLocation},
    snapshot,
    store::{Memcached, delete_if_unchanged},
    tries::Tries,
};

/// How often it is tried while somebody else moves the same entry.
const PAUSE: Duration = Duration::from_millis(10);
/// How much longer than a call may take the mark of a mover stays who has died.
const GRACE: Duration = Duration::from_secs(1);

impl Memcached {
    /// `to` is written, then `from` compared and deleted. A crash in between leaves both.
    ///
    /// One who moves an entry marks it, so that of several only one writes; the others find nothing to move.
    ///
    /// It is done by a task of its own: a caller who is dropped half way leaves neither two entries nor a mark, which would keep
    /// the others waiting.
    pub(crate) async fn move_entry(&self, from: &str, to: &str) -> Result<bool> {
        let (source, target) = (self.locate(from)?.in_task(), self.locate(to)?.in_task());
        let common = Arc::clone(&self.common);
        let task = cache_core::store::current_runtime()?.spawn(async move {
            let lock = lock(&common, &source).await?;
            let left = lock.until.saturating_sub(common.clock.now());
            let moved = SharedDeadline::new(left, common.clock.clone());
            let Some(res) = moved.run(move_locked(&common, &source, &target)).await else {
                // The mark stays for as long as what was sent last may still arrive.
                return Err(timed_out(time_limit(&common)));
            };
            // If this fails, it goes by itself.
            let _ = remove(&source, KeyNames::move_lock, lock.token.as_bytes()).await;
            res
        });
        task.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Backend, "the runtime ended while the entry was moved"))
        })
    }
}

/// A mark that is set.
struct MoveLock {
    token: String,
    /// When its owner may do nothing any more: others may have the next one soon.
    until: Duration,
}

/// As long as a call with one more connection may take.
fn time_limit(common: &Common) -> Duration {
    common.plan.deadline.saturating_add(common.plan.connect_deadline)
}

async fn lock(common: &Common, source: &KeyLocation) -> Result<MoveLock> {
    let time = time_limit(common);
    let token = RandomState::new().hash_one(source.key()).to_string();
    let life = lifetime::seconds(Expiry::After(time.saturating_add(GRACE)), &common.clock);
    let locked = SharedDeadline::new(time, common.clock.clone());
    let locked = locked.run(async {
        loop {
            let until = common.clock.now().saturating_add(time);
            let write = |names: &KeyNames| {
                let key = names.move_lock(source.key());
                vec![command::set(key, token.as_bytes(), life).flag("ME")]
            };
            if is_done(source, write).await? {
                return Ok(until);
            }
            common.clock.sleep(PAUSE).await;
        }
    });
    let until = locked.await.unwrap_or_else(|| {
        Err(Error::new(
            ErrorKind::TimedOut,
            format!("another caller moves the entry, for longer than {time:?}"),
        )
        .ignored_by_breaker())
    })?;
    Ok(MoveLock { token, until })
}

async fn move_locked(common: &Common, source: &KeyLocation, target: &KeyLocation) -> Result<bool> {
    let mut written: Option<Bytes> = None;
    let mut tries = Tries::new(common);
    loop {
        let Some((seen, end)) = snapshot::read_with_end(common, source).await? else {
            // Another caller took it meanwhile.
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
        target.is_done(|key| command::set(key, value.as_ref(), seconds)).await?;
        if delete_if_unchanged(source, &seen.moment, seen.entry.stamp).await? {
            return Ok(true);
        }
        // It was written meanwhile: that is what is moved.
        written = Some(value);
        tries.again().await?;
    }
}

/// Removes what one has written under this name, if it is still there.
async fn remove(
    location: &KeyLocation,
    name: fn(&KeyNames, &str) -> String,
    written: &[u8],
) -> Result<()> {
    loop {
        let read = |names: &KeyNames| vec![command::get_entry(name(names, location.key()))];
        let (mut answers, moment) = location.ask_at(read).await?;
        let found = answers.pop().map(|it| command::entry(it, location.address())).transpose()?;
        let Some(found) = found.flatten().filter(|it| it.value == written) else { return Ok(()) };
        let key = name(&moment.names, location.key());
        let delete = command::if_unchanged(command::delete(key), found.stamp);
        // Otherwise it was not sent, because a connection has ended or begun.
        if location.ask_if_same(&moment, delete).await?.is_some() {
            return Ok(());
        }
    }
}

async fn is_done(
    location: &KeyLocation,
    command: impl Fn(&KeyNames) -> Vec<MetaCommand> + Send + Sync,
) -> Result<bool> {
    let answer = location.ask_all(command).await?.pop();
    answer.map_or(Ok(false), |it| command::done(&it, location.address()))
}

fn timed_out(time: Duration) -> Error {
    let what = format!("the entry was not moved within {time:?}; it may be in both places");
    Error::new(ErrorKind::TimedOut, what)
}
