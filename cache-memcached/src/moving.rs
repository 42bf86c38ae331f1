//! Moving an entry to another key, which no command does and which may be another server's.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use cache_core::{Error, ErrorKind, Expiry, Result, TimeLimit};
use tokio::runtime::Handle;

use crate::{
    command, lifetime,
    pool::Place,
    server::Member,
    store::{Memcached, ask, entry},
    transport::Transport as _,
};

/// How often it is tried while somebody else moves the same entry.
const PAUSE: Duration = Duration::from_millis(10);
/// How much longer than a call may take the mark of a mover stays who has died.
const GRACE: Duration = Duration::from_secs(1);

/// A mark that is set, and removed when this is dropped.
struct Mark {
    member: Arc<Member>,
    runtime: Handle,
    key: String,
    token: String,
}

impl Memcached {
    /// `to` is written, then `from` compared and deleted. A crash in between leaves both.
    ///
    /// One who moves an entry marks it, so that of several only one writes; the others find nothing to move.
    pub(crate) async fn move_entry(&self, from: &str, to: &str) -> Result<bool> {
        let source = self.place(from).await?;
        let target = self.place(to).await?;
        let plan = &self.common.plan;
        let time = plan.deadline + plan.connect_deadline;
        let runtime = cache_core::current_runtime()?;
        let (key, token) = (source.mark(from), RandomState::new().hash_one(from).to_string());
        let life = self.seconds(Expiry::After(time + GRACE));
        let limit = TimeLimit::new(time, self.common.clock.clone());
        let marked = limit.run(async {
            while !ask(&source, command::set(key.as_str(), token.as_bytes(), life).flag("ME"))
                .await?
            {
                self.common.clock.sleep(PAUSE).await;
            }
            Ok(())
        });
        marked.await.unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::TimedOut,
                format!("somebody else moves the entry, for longer than {time:?}"),
            ))
        })?;
        let mark = Mark { member: Arc::clone(&source.member), runtime, key, token };
        let res = self.move_marked(&source, &target).await;
        mark.remove().await;
        res
    }

    async fn move_marked(&self, source: &Place, target: &Place) -> Result<bool> {
        loop {
            let Some(seen) = entry(source).await? else { return Ok(false) };
            let seconds = lifetime::rest(seen.ttl, &self.common.clock);
            ask(target, command::set(target.key(), seen.value, seconds)).await?;
            if ask(source, command::if_still(command::delete(source.key()), seen.stamp)).await? {
                return Ok(true);
            }
            // It was written meanwhile: that is what is moved.
        }
    }
}

impl Mark {
    async fn remove(mut self) {
        let (key, token) = (std::mem::take(&mut self.key), std::mem::take(&mut self.token));
        // If this fails, it goes by itself.
        let _ = unmark(&self.member, &key, token.as_bytes()).await;
    }
}

impl Drop for Mark {
    /// The mover was dropped: others need not wait until the mark goes by itself.
    fn drop(&mut self) {
        if self.key.is_empty() {
            return;
        }
        let mark = Self {
            member: Arc::clone(&self.member),
            runtime: self.runtime.clone(),
            key: std::mem::take(&mut self.key),
            token: std::mem::take(&mut self.token),
        };
        // That of its connections, whoever drops it.
        self.runtime.spawn(mark.remove());
    }
}

/// Removes the mark if it is still one's own.
async fn unmark(member: &Member, mark: &str, token: &[u8]) -> Result<()> {
    let answer = member.ask(command::get_entry(mark)).await?;
    if let Some(found) = command::entry(answer, member.address())?
        && found.value == token
    {
        member.ask(command::if_still(command::delete(mark), found.stamp)).await?;
    }
    Ok(())
}
