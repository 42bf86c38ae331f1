//! A client: one call after the other, of all kinds, chosen by the seed.

mod counters;
mod entries;
mod groups;
mod locks;
mod near;
mod part;
mod revisions;
mod rooms;
mod values;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use cache_core::{ErrorKind, Timeout};
use tokio::time::{sleep, timeout};

use self::part::Part;
use crate::{
    clock::{self, MS},
    plan::{Plan, Shared},
    random::Random,
    record::{Call, DROPPED, Reply},
};

/// A lifetime that no run reaches.
const LONG: Timeout = Timeout::After(Duration::from_secs(3600));

/// A client of a worker.
pub(crate) struct Client {
    shared: Arc<Shared>,
    random: Random,
}

impl Client {
    pub(crate) fn new(shared: &Arc<Shared>, number: u32) -> Self {
        let stream = u64::from(shared.plan.process) << 16 | u64::from(number);
        Self { shared: Arc::clone(shared), random: Random::new(shared.plan.seed, stream) }
    }

    /// Calls until the end.
    pub(crate) async fn run(mut self) -> Result<()> {
        let (until, calls) = (self.shared.plan.until, self.shared.plan.calls);
        let mut made = 0;
        while clock::now() < until && made < calls {
            let is_usual = self.random.percent(75);
            let well = match self.next_part() {
                Part::Entries if is_usual => self.entry().await,
                Part::Entries => self.short_entry().await,
                Part::Rooms => self.room().await?,
                Part::Counters if is_usual => self.counter().await,
                Part::Counters => self.update().await,
                Part::Locks => self.lock().await,
                Part::Values if is_usual => self.value().await?,
                Part::Values => self.own_value().await?,
                Part::Groups if is_usual => self.tagged().await?,
                Part::Groups => self.space().await?,
                Part::Revisions => self.revised().await?,
                Part::Near => self.near().await,
            };
            made += 1;
            let usual = if self.shared.plan.has_near { 3 } else { 5 };
            let pause = if well { self.random.below(usual) } else { self.random.between(5, 25) };
            // sleeps: the processes take turns by chance, and a failing store needs time
            sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    fn next_part(&mut self) -> Part {
        let Plan { bug, has_near, .. } = self.shared.plan;
        Part::next(&mut self.random, bug, has_near)
    }

    /// Returns a key that all clients use at this time: one of `slots`, and another one after each
    /// `period` in milliseconds.
    fn key(&mut self, name: &str, slots: u64, period: u64) -> String {
        let epoch = (clock::now() - self.shared.plan.start) / (period * MS);
        format!("{name}{}.{epoch}", self.random.below(slots))
    }

    /// Returns a key of [`key`](Self::key), or all of them for a call with a batch.
    fn keys(&mut self, name: &str, slots: u64, period: u64) -> Vec<String> {
        let key = self.key(name, slots, period);
        let epoch = epoch_of(&key);
        if self.random.percent(15) {
            (0..slots).map(|it| format!("{name}{it}.{epoch}")).collect()
        } else {
            vec![key]
        }
    }

    /// Makes a call and records it. A few calls are dropped while they run. Returns the number of
    /// the call and its reply.
    async fn record(
        &mut self,
        key: &str,
        call: Call,
        run: impl Future<Output = cache_core::Result<Reply>>,
    ) -> (u64, Reply) {
        let id = self.shared.recorder.call(key, call);
        let reply = self.finish(id, run).await;
        (id, reply)
    }

    async fn finish(
        &mut self,
        id: u64,
        run: impl Future<Output = cache_core::Result<Reply>>,
    ) -> Reply {
        let reply = self.result(run).await.unwrap_or_else(|it| it);
        self.shared.recorder.reply(id, reply.clone());
        reply
    }

    /// Makes a call that concerns several keys, and records it as one for each. `run` returns a
    /// reply for each. Returns whether all succeeded.
    async fn record_all(
        &mut self,
        calls: &[(String, Call)],
        run: impl Future<Output = cache_core::Result<Vec<Reply>>>,
    ) -> bool {
        let ids = self.shared.recorder.calls(calls);
        self.finish_all(&ids, run).await
    }

    async fn finish_all(
        &mut self,
        ids: &[u64],
        run: impl Future<Output = cache_core::Result<Vec<Reply>>>,
    ) -> bool {
        let replies = self.result(run).await.unwrap_or_else(|it| vec![it; ids.len()]);
        for (id, reply) in ids.iter().zip(&replies) {
            self.shared.recorder.reply(*id, reply.clone());
        }
        replies.iter().all(is_well)
    }

    /// Makes a call, or drops it while it runs. Returns its result, or the reply of its failure.
    async fn result<T>(
        &mut self,
        run: impl Future<Output = cache_core::Result<T>>,
    ) -> Result<T, Reply> {
        let res = if self.random.percent(2) {
            let patience = Duration::from_micros(self.random.below(2000));
            match timeout(patience, run).await {
                Ok(it) => it,
                Err(_) => return Err(Reply::Failed(DROPPED.into())),
            }
        } else {
            run.await
        };
        res.map_err(|error| match error.kind() {
            ErrorKind::Codec => Reply::Foreign(error.to_string()),
            kind => Reply::Failed(format!("{kind:?}: {}", error.message())),
        })
    }
}

/// Returns the end of a key, which tells when the key is used.
fn epoch_of(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |it| it.1)
}

/// Returns whether a call succeeded.
fn is_well(reply: &Reply) -> bool {
    !matches!(reply, Reply::Failed(_))
}
