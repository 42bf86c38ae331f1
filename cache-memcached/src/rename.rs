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
    generation::Names,
    lifetime, look,
    pool::{Common, Place},
    store::{Memcached, delete_if_still},
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
        let (source, target) = (self.place(from)?.in_task(), self.place(to)?.in_task());
        let common = Arc::clone(&self.common);
        let task = cache_core::store::current_runtime()?.spawn(async move {
            let mark = mark(&common, &source).await?;
            let left = mark.until.saturating_sub(common.clock.now());
            let moved = SharedDeadline::new(left, common.clock.clone());
            let Some(res) = moved.run(move_marked(&common, &source, &target)).await else {
                // The mark stays for as long as what was sent last may still arrive.
                return Err(late(time_to_move(&common)));
            };
            // If this fails, it goes by itself.
            let _ = remove(&source, Names::mark, mark.token.as_bytes()).await;
            res
        });
        task.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Backend, "the runtime ended while the entry was moved"))
        })
    }
}

/// A mark that is set.
struct Mark {
    token: String,
    /// When its owner may do nothing any more: others may have the next one soon.
    until: Duration,
}

/// As long as a call with one more connection may take.
fn time_to_move(common: &Common) -> Duration {
    common.plan.deadline.saturating_add(common.plan.connect_deadline)
}

async fn mark(common: &Common, source: &Place) -> Result<Mark> {
    let time = time_to_move(common);
    let token = RandomState::new().hash_one(source.key()).to_string();
    let life = lifetime::seconds(Expiry::After(time.saturating_add(GRACE)), &common.clock);
    let marked = SharedDeadline::new(time, common.clock.clone());
    let marked = marked.run(async {
        loop {
            let until = common.clock.now().saturating_add(time);
            let write = |names: &Names| {
                let key = names.mark(source.key());
                vec![command::set(key, token.as_bytes(), life).flag("ME")]
            };
            if is_done(source, write).await? {
                return Ok(until);
            }
            common.clock.sleep(PAUSE).await;
        }
    });
    let until = marked.await.unwrap_or_else(|| {
        Err(Error::new(
            ErrorKind::TimedOut,
            format!("another caller moves the entry, for longer than {time:?}"),
        )
        .ignored_by_breaker())
    })?;
    Ok(Mark { token, until })
}

async fn move_marked(common: &Common, source: &Place, target: &Place) -> Result<bool> {
    let mut written: Option<Bytes> = None;
    let mut tries = Tries::new(common);
    loop {
        let Some((seen, end)) = look::at_entry_and_end(common, source).await? else {
            // Another caller took it meanwhile.
            if let Some(value) = written {
                remove(target, Names::entry, &value).await?;
            }
            return Ok(false);
        };
        let seconds = match seen.clock {
            Some(here) if end > 0 && !Arc::ptr_eq(&source.member, &target.member) => {
                lifetime::elsewhere(end, here, look::at_clock(common, target).await?)
            }
            _ => end,
        };
        let value = seen.entry.value;
        target.is_done(|key| command::set(key, value.as_ref(), seconds)).await?;
        if delete_if_still(source, &seen.moment, seen.entry.stamp).await? {
            return Ok(true);
        }
        // It was written meanwhile: that is what is moved.
        written = Some(value);
        tries.again().await?;
    }
}

/// Removes what one has written under this name, if it is still there.
async fn remove(place: &Place, name: fn(&Names, &str) -> String, written: &[u8]) -> Result<()> {
    loop {
        let read = |names: &Names| vec![command::get_entry(name(names, place.key()))];
        let (mut answers, moment) = place.ask_at(read).await?;
        let found = answers.pop().map(|it| command::entry(it, place.address())).transpose()?;
        let Some(found) = found.flatten().filter(|it| it.value == written) else { return Ok(()) };
        let key = name(&moment.names, place.key());
        let delete = command::if_still(command::delete(key), found.stamp);
        // Otherwise it was not sent, because a connection has ended or begun.
        if place.ask_if_same(&moment, delete).await?.is_some() {
            return Ok(());
        }
    }
}

async fn is_done(
    place: &Place,
    command: impl Fn(&Names) -> Vec<MetaCommand> + Send + Sync,
) -> Result<bool> {
    let answer = place.ask_all(command).await?.pop();
    answer.map_or(Ok(false), |it| command::done(&it, place.address()))
}

fn late(time: Duration) -> Error {
    let what = format!("the entry was not moved within {time:?}; it may be in both places");
    Error::new(ErrorKind::TimedOut, what)
}
