//! Moving an entry to another key, which no command does and which may be another server's.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cache_core::{Error, ErrorKind, Expiry, Result, TimeLimit};

use crate::{
    command, lifetime,
    pool::{Common, Place},
    server::Member,
    store::{Memcached, ask, entry_to_compare},
    transport::Transport as _,
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
        let source = self.place(from).await?;
        let target = self.place(to).await?;
        let (common, from) = (Arc::clone(&self.common), from.to_owned());
        let task = cache_core::current_runtime()?.spawn(async move {
            let mark = mark(&common, &source, &from).await?;
            let left = mark.until.saturating_sub(common.clock.now());
            let moved = TimeLimit::new(left, common.clock.clone());
            let Some(res) = moved.run(move_marked(&common, &source, &target)).await else {
                // The mark stays for as long as what was sent last may still arrive.
                return Err(late(time_to_move(&common)));
            };
            // If this fails, it goes by itself.
            let _ = remove(&source.member, &mark.key, mark.token.as_bytes()).await;
            res
        });
        task.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Backend, "the runtime ended while the entry was moved"))
        })
    }
}

/// A mark that is set.
struct Mark {
    key: String,
    token: String,
    /// When its owner may do nothing any more: others may have the next one soon.
    until: Duration,
}

/// As long as a call with one more connection may take.
fn time_to_move(common: &Common) -> Duration {
    common.plan.deadline.saturating_add(common.plan.connect_deadline)
}

async fn mark(common: &Common, source: &Place, from: &str) -> Result<Mark> {
    let time = time_to_move(common);
    let (key, token) = (source.mark(from), RandomState::new().hash_one(from).to_string());
    let life = lifetime::seconds(Expiry::After(time.saturating_add(GRACE)), &common.clock);
    let marked = TimeLimit::new(time, common.clock.clone());
    let marked = marked.run(async {
        loop {
            let until = common.clock.now().saturating_add(time);
            let write = command::set(key.as_str(), token.as_bytes(), life).flag("ME");
            if ask(source, write).await? {
                return Ok(until);
            }
            common.clock.sleep(PAUSE).await;
        }
    });
    let until = marked.await.unwrap_or_else(|| {
        Err(Error::new(
            ErrorKind::TimedOut,
            format!("somebody else moves the entry, for longer than {time:?}"),
        ))
    })?;
    Ok(Mark { key, token, until })
}

async fn move_marked(common: &Common, source: &Place, target: &Place) -> Result<bool> {
    let mut written: Option<Bytes> = None;
    loop {
        let Some(seen) = entry_to_compare(source).await? else {
            // Somebody took it meanwhile.
            if let Some(value) = written {
                remove(&target.member, target.key(), &value).await?;
            }
            return Ok(false);
        };
        let seconds = lifetime::rest(seen.ttl, &common.clock);
        ask(target, command::set(target.key(), seen.value.clone(), seconds)).await?;
        if ask(source, command::if_still(command::delete(source.key()), seen.stamp)).await? {
            return Ok(true);
        }
        // It was written meanwhile: that is what is moved.
        written = Some(seen.value);
    }
}

/// Removes what one has written, if it is still there.
async fn remove(member: &Member, key: &str, written: &[u8]) -> Result<()> {
    let answer = member.ask(command::get_entry(key)).await?;
    if let Some(found) = command::entry(answer, member.address())?
        && found.value == written
    {
        member.ask(command::if_still(command::delete(key), found.stamp)).await?;
    }
    Ok(())
}

fn late(time: Duration) -> Error {
    let what = format!("the entry was not moved within {time:?}; it may be in both places");
    Error::new(ErrorKind::TimedOut, what)
}
