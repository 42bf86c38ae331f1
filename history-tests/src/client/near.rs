//! Values for a near tier: each process reads them much more often than they are written.

use super::Client;
use crate::record::Call;

/// The time after which the next keys are used, in milliseconds.
const PERIOD: u64 = 8000;

impl Client {
    /// Writes or reads one of a few keys, so that reads and writes meet, or one of many, which are
    /// written so rarely that an old value which stays near is read for seconds. The reads follow
    /// each other without a pause.
    pub(super) async fn near(&mut self) -> bool {
        let cache = self.shared.plain.clone();
        let is_hot = self.random.percent(50);
        if self.random.percent(if is_hot { 30 } else { 10 }) {
            let key = self.near_key(is_hot);
            let write = self.near_write();
            return self.call_entry(&cache, &key, write).await;
        }
        if self.random.percent(8) {
            let keys = self.keys("near-hot", 4, PERIOD);
            return self.entry_batch(&cache, &keys).await;
        }
        for _ in 0..self.random.between(1, 12) {
            let key = self.near_key(is_hot);
            if !self.call_entry(&cache, &key, Call::Get).await {
                return false;
            }
        }
        true
    }

    fn near_key(&mut self, is_hot: bool) -> String {
        if is_hot { self.key("near-hot", 4, PERIOD) } else { self.key("near-quiet", 24, PERIOD) }
    }

    fn near_write(&mut self) -> Call {
        let id = self.shared.recorder.unique();
        match self.random.below(100) {
            0..60 => Call::Set(id, None),
            60..72 => Call::Delete,
            72..90 => Call::Add(id, None),
            90..97 => Call::Replace(id, None),
            _ => Call::Pop,
        }
    }
}
