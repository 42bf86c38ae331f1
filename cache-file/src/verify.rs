//! Counting the folders before entries are evicted because of the counts.

use std::time::{Duration, Instant};

use crate::directory::Directory;

/// Which folders this process knows to have a count.
///
/// Only folders whose slot holds no count are measured here: a process that runs for a moment could
/// not measure a large store. The sweeper corrects counts that are wrong.
#[derive(Debug, Default)]
pub(crate) struct Verification {
    counted: usize,
}

impl Verification {
    /// Measures folders for `limit` at most; the next call continues. Returns whether all folders
    /// have a count.
    pub(crate) fn proceed(
        &mut self,
        directory: &Directory,
        began: Instant,
        limit: Duration,
    ) -> bool {
        while let Ok(folder) = u8::try_from(self.counted) {
            self.counted += 1;
            if directory.counters.read(folder).is_some() {
                continue;
            }
            // A folder that cannot be measured keeps its count.
            let _ = directory.recount(folder);
            if began.elapsed() > limit {
                break;
            }
        }
        self.is_done()
    }

    /// Returns whether all folders have a count.
    pub(crate) fn is_done(&self) -> bool {
        self.counted > usize::from(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        counters::{BLOCK, Count},
        options::Plan,
    };

    #[test]
    fn only_folders_without_a_count_are_measured() {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan::of(place.path().join("cache"));
        let directory = Directory::open(&plan, true).unwrap().unwrap();
        let fd = directory.counters.open(&directory.root).unwrap();
        let count = Count { entries: 100, bytes: 100 * BLOCK };
        (0..=u8::MAX).for_each(|it| directory.counters.put(it, count));
        let is_counted =
            || Verification::default().proceed(&directory, Instant::now(), Duration::ZERO);
        assert!(is_counted());
        assert_eq!(directory.counters.read(7), Some(count), "the sweeper corrects this one");
        rustix::io::pwrite(fd, &[1], 0).unwrap();
        assert!(!is_counted() && is_counted());
        assert_eq!(directory.counters.read(0), Some(Count::default()));
    }
}
