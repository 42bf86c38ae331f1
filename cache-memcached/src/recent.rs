//! The counters that this process has changed last, so that the next change needs no read.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cache_core::store::Stamp;

use crate::moment::Moment;

/// Counters by their keys, as this process has left them. Another process may have changed them
/// since: a change compares the CAS number.
#[derive(Debug, Default)]
pub(crate) struct RecentCounters(Mutex<HashMap<String, Recent>>);

/// A counter after a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownCounter {
    pub(crate) value: i64,
    pub(crate) stamp: Stamp,
    pub(crate) moment: Moment,
}

#[derive(Debug)]
enum Recent {
    Known(KnownCounter),
    /// Another process has changed the counter. After so many changes with a read, it is assumed to
    /// be known again.
    Contended(u32),
}

/// The largest number of counters.
const KEPT: usize = 4096;
/// How many changes of a contended counter begin with a read.
const READS: u32 = 16;

impl RecentCounters {
    /// Returns a counter if it is known.
    pub(crate) fn get(&self, key: &str) -> Option<KnownCounter> {
        match self.lock().get(key)? {
            Recent::Known(known) => Some(*known),
            Recent::Contended(_) => None,
        }
    }

    /// Records the counter after a change.
    pub(crate) fn record(&self, key: &str, known: KnownCounter) {
        let mut all = self.lock();
        match all.get_mut(key) {
            Some(Recent::Contended(left)) if *left > 1 => *left -= 1,
            Some(recent) => *recent = Recent::Known(known),
            None => {
                if all.len() >= KEPT {
                    all.clear();
                }
                all.insert(key.to_owned(), Recent::Known(known));
            }
        }
    }

    /// Records that another process has changed a counter that was known.
    pub(crate) fn record_contended(&self, key: &str) {
        self.lock().insert(key.to_owned(), Recent::Contended(READS));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Recent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contended_counter_is_known_again_after_some_changes() {
        let recent = RecentCounters::default();
        let known = |value| KnownCounter { value, stamp: Stamp(1), moment: Moment::default() };
        let value = || recent.get("n").map(|it| it.value);
        assert_eq!(value(), None);
        recent.record("n", known(1));
        recent.record("n", known(2));
        assert_eq!(value(), Some(2));
        recent.record_contended("n");
        for i in 1..READS.into() {
            recent.record("n", known(i));
            assert_eq!(value(), None);
        }
        recent.record("n", known(100));
        assert_eq!(value(), Some(100));
    }

    #[test]
    fn number_of_counters_is_limited() {
        let recent = RecentCounters::default();
        for i in 0..=KEPT {
            let known = KnownCounter { value: 1, stamp: Stamp(1), moment: Moment::default() };
            recent.record(&i.to_string(), known);
        }
        assert!(recent.lock().len() <= KEPT);
        assert!(recent.get(&KEPT.to_string()).is_some());
    }
}
