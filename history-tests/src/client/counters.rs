//! Increments by `incr_or`, and by compare-and-set in `update`.

use anyhow::Result;

use super::{Client, LONG, is_well};
use crate::record::{Call, Reply};

/// The time after which the next counter is used, in milliseconds.
const PERIOD: u64 = 2000;

impl Client {
    /// Increments or reads a counter.
    pub(super) async fn counter(&mut self) -> bool {
        let key = self.key("counter", 2, PERIOD);
        if self.random.percent(20) {
            return self.count(&key).await;
        }
        let cache = self.shared.plain.clone();
        let run = async { number(Some(cache.incr_or(&key, 1, 0, LONG).await?)) };
        is_well(&self.record(&key, Call::Increment, run).await.1)
    }

    /// Increments a number by a read, a change and a compare-and-set.
    pub(super) async fn update(&mut self) -> bool {
        let key = self.key("update", 1, PERIOD);
        let cache = self.shared.plain.clone();
        let run = async {
            let add = |it: Option<i64>| Some(it.unwrap_or_default() + 1);
            number(cache.upsert(&key, LONG, add).await?)
        };
        is_well(&self.record(&key, Call::Increment, run).await.1)
    }

    /// Reads all counters of the plan.
    pub(crate) async fn count_all(mut self) -> Result<()> {
        for key in self.shared.plan.counters.clone() {
            self.count(&key).await;
        }
        Ok(())
    }

    async fn count(&mut self, key: &str) -> bool {
        let cache = self.shared.plain.clone();
        let run = async { number(cache.get::<i64>(key).await?) };
        is_well(&self.record(key, Call::Count, run).await.1)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the end of a call that can fail")]
fn number(it: Option<i64>) -> cache_core::Result<Reply> {
    Ok(match it.map(u64::try_from) {
        None => Reply::Value(None),
        Some(Ok(it)) => Reply::Value(Some(it)),
        Some(Err(_)) => Reply::Foreign(format!("{it:?}")),
    })
}
