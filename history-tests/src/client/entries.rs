//! Calls on entries: `add`, `set`, `replace`, `touch`, `get`, `has_key`, `pop` and `delete`.

use std::time::Duration;

use cache_core::{Cache, Timeout};
use tokio::time::sleep;

use super::{Client, LONG, is_well};
use crate::record::{Call, Reply};

impl Client {
    /// Makes a call on an entry that does not expire.
    pub(super) async fn entry(&mut self) -> bool {
        // Most keys are short-lived, so that a search for an order is short. On the others, calls
        // before, during and after a fault meet.
        let (name, slots, period) =
            if self.random.percent(70) { ("entry", 2, 700) } else { ("entry-long", 1, 4000) };
        let keys = self.keys(name, slots, period);
        let cache = self.shared.plain.clone();
        let [key] = &keys[..] else { return self.entry_batch(&cache, &keys).await };
        let call = self.entry_call(None);
        let writes = matches!(call, Call::Add(..) | Call::Set(..) | Call::Replace(..));
        let well = self.call_entry(&cache, key, call).await;
        if writes && !well && self.random.percent(60) {
            self.undo(&cache, key).await;
        }
        well
    }

    /// Deletes the key of a write that failed, and reads it for a while: the write must not arrive
    /// later.
    async fn undo(&mut self, cache: &Cache, key: &str) {
        // Until the connection is given up, the delete would follow the write on it.
        let mut pause = 100;
        for _ in 0..50 {
            // sleeps: the store fails, and recovers by itself
            sleep(Duration::from_millis(pause)).await;
            if self.call_entry(cache, key, Call::Delete).await {
                break;
            }
            pause = 20;
        }
        for _ in 0..20 {
            self.call_entry(cache, key, Call::Get).await;
            // sleeps: the network may still hold the write
            sleep(Duration::from_millis(40)).await;
        }
    }

    /// Makes a call on an entry that expires soon.
    pub(super) async fn short_entry(&mut self) -> bool {
        let lifetime = self.shared.plan.lifetime;
        // So many keys that some are not written for a lifetime.
        let key = self.key("short", lifetime / 16, lifetime * 8);
        let call = match self.entry_call(Some(lifetime)) {
            // So that most entries reach their end.
            Call::Pop | Call::Delete => Call::Get,
            it => it,
        };
        let cache = self.shared.plain.clone();
        self.call_entry(&cache, &key, call).await
    }

    pub(super) fn entry_call(&mut self, lifetime: Option<u64>) -> Call {
        let id = self.shared.recorder.unique();
        match self.random.below(100) {
            0..25 => Call::Add(id, lifetime),
            25..33 => Call::Set(id, lifetime),
            33..38 => Call::Replace(id, lifetime),
            38..46 => Call::Touch(lifetime),
            46..62 => Call::Get,
            62..68 => Call::Has,
            68..84 => Call::Pop,
            _ => Call::Delete,
        }
    }

    pub(super) async fn call_entry(&mut self, cache: &Cache, key: &str, call: Call) -> bool {
        let run = make(cache, key, call.clone());
        is_well(&self.record(key, call, run).await.1)
    }
}

async fn make(cache: &Cache, key: &str, call: Call) -> cache_core::Result<Reply> {
    let timeout = |it: Option<u64>| it.map_or(LONG, |it| Timeout::After(Duration::from_millis(it)));
    let value = |id: u64| (key, id);
    Ok(match call {
        Call::Add(id, it) => Reply::Is(cache.add(key, &value(id), timeout(it)).await?),
        Call::Replace(id, it) => Reply::Is(cache.replace(key, &value(id), timeout(it)).await?),
        Call::Set(id, it) => {
            cache.set(key, &value(id), timeout(it)).await?;
            Reply::Done
        }
        Call::Touch(it) => Reply::Is(cache.touch(key, timeout(it)).await?),
        Call::Has => Reply::Is(cache.has_key(key).await?),
        Call::Pop => of_key(key, cache.pop::<(String, u64)>(key).await?),
        Call::Delete => Reply::Is(cache.delete(key).await?),
        _ => of_key(key, cache.get::<(String, u64)>(key).await?),
    })
}

/// Returns the number in a value that names its key.
pub(super) fn of_key(key: &str, value: Option<(String, u64)>) -> Reply {
    match value {
        Some((other, id)) if other != key => Reply::Foreign(format!("value {id} of {other}")),
        it => Reply::Value(it.map(|it| it.1)),
    }
}
