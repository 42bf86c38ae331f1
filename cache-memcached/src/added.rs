//! The short values that this process has added last, so that a comparison with one needs no read.
//!
//! A lease and a lock are short values that a caller adds, and then replaces or removes if they are
//! still stored.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cache_core::store::{Expected, Stamp};

use crate::moment::Moment;

/// Added values by their keys. Another process may have changed them since: a command about one
/// compares the CAS number.
#[derive(Debug, Default)]
pub(crate) struct RecentAdds(Mutex<HashMap<String, Added>>);

/// An added value. It does not print its bytes.
struct Added {
    value: Box<[u8]>,
    stamp: Stamp,
    moment: Moment,
}

/// The largest number of values.
const KEPT: usize = 4096;
/// The length of the longest value.
const LONGEST: usize = 64;

impl RecentAdds {
    /// Returns whether a value of this length is recorded.
    pub(crate) fn fits(value: &[u8]) -> bool {
        value.len() <= LONGEST
    }

    /// Records a value that was added.
    pub(crate) fn record(&self, key: &str, value: &[u8], stamp: Stamp, moment: Moment) {
        let mut all = self.lock();
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(key.to_owned(), Added { value: value.into(), stamp, moment });
    }

    /// Removes the value of this key, because it is about to change. Returns its CAS number and the
    /// moment of the write if it is the expected one.
    pub(crate) fn take(&self, key: &str, seen: &Expected<'_>) -> Option<(Stamp, Moment)> {
        let added = self.lock().remove(key)?;
        seen.is(&added.value, added.stamp).then_some((added.stamp, added.moment))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Added>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Added {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Added").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_value_is_known_once_and_only_if_it_is_the_expected_one() {
        let added = RecentAdds::default();
        let record = || added.record("k", b"lease", Stamp(7), Moment::default());
        let take = |seen: Expected<'_>| added.take("k", &seen).map(|(stamp, _)| stamp);
        assert_eq!(take(Expected::value(b"lease")), None);
        record();
        assert_eq!(take(Expected::value(b"lease")), Some(Stamp(7)));
        assert_eq!(take(Expected::value(b"lease")), None, "the value may have changed");
        for other in [Expected::value(b"other"), Expected::new(b"lease", Some(Stamp(8)))] {
            record();
            assert_eq!(take(other), None);
        }
    }

    #[test]
    fn number_and_length_of_values_are_limited() {
        let added = RecentAdds::default();
        for i in 0..=KEPT {
            added.record(&i.to_string(), b"lease", Stamp(1), Moment::default());
        }
        assert!(added.lock().len() <= KEPT);
        assert!(added.take(&KEPT.to_string(), &Expected::value(b"lease")).is_some());
        assert!(RecentAdds::fits(&[0; LONGEST]) && !RecentAdds::fits(&[0; LONGEST + 1]));
    }
}
