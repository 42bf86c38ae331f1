//! A client: one call after the other, of all kinds, chosen by the seed.

mod counters;
mod entries;
mod locks;
mod values;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use cache_core::{ErrorKind, Timeout};
use tokio::time::{sleep, timeout};

use crate::{
    clock::{self, MS},
    plan::Shared,
    random::Random,
    record::{Call, Reply},
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
            let well = match self.random.below(100) {
                0..30 => self.entry().await,
                30..40 => self.short_entry().await,
                40..52 => self.counter().await,
                52..58 => self.update().await,
                58..68 => self.lock().await,
                68..94 => self.value().await?,
                _ => self.own_value().await?,
            };
            made += 1;
            let pause = if well { self.random.below(5) } else { self.random.between(5, 25) };
            // sleeps: the processes take turns by chance, and a failing store needs time
            sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    /// Returns a key that all clients use at this time: one of `slots`, and another one after each
    /// `period` in milliseconds.
    fn key(&mut self, name: &str, slots: u64, period: u64) -> String {
        let epoch = (clock::now() - self.shared.plan.start) / (period * MS);
        format!("{name}{}.{epoch}", self.random.below(slots))
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
        let res = if self.random.percent(2) {
            let patience = Duration::from_micros(self.random.below(2000));
            match timeout(patience, run).await {
                Ok(it) => it,
                Err(_) => return self.reply(id, Reply::Failed("dropped".into())),
            }
        } else {
            run.await
        };
        let reply = match res {
            Ok(it) => it,
            Err(error) if error.kind() == ErrorKind::Codec => Reply::Foreign(error.to_string()),
            Err(error) => Reply::Failed(format!("{:?}: {}", error.kind(), error.message())),
        };
        self.reply(id, reply)
    }

    fn reply(&self, id: u64, reply: Reply) -> Reply {
        self.shared.recorder.reply(id, reply.clone());
        reply
    }
}

/// Returns whether a call succeeded.
fn is_well(reply: &Reply) -> bool {
    !matches!(reply, Reply::Failed(_))
}
