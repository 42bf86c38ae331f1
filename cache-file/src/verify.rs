//! Comparing the counts with the files, before entries are evicted because of the counts.

use std::time::{Duration, Instant};

use crate::{counters::Count, directory::Directory};

/// The comparison of a store's counts with its files, as far as this process has got.
///
/// A process that runs for a moment cannot measure a large store. So it measures some folders,
/// and all of them only after a wrong count: the counts were damaged or copied from another store,
/// or files were deleted by hand.
#[derive(Debug, Default)]
pub(crate) struct Verification {
    /// The folders to measure, the next one last. `None` before the first call.
    folders: Option<Vec<u8>>,
    found_wrong: bool,
}

/// How long to measure folders while all counts are right. Enough for all of a small store.
const SAMPLE: Duration = Duration::from_millis(10);

impl Verification {
    /// Measures folders for `limit` at most; the next call continues. Returns whether the counts
    /// are verified.
    pub(crate) fn proceed(
        &mut self,
        directory: &Directory,
        began: Instant,
        limit: Duration,
    ) -> bool {
        let folders = self.folders.get_or_insert_with(|| in_order(directory));
        while let Some(folder) = folders.pop() {
            self.found_wrong |= !is_right(directory, folder);
            if began.elapsed() > if self.found_wrong { limit } else { SAMPLE.min(limit) } {
                break;
            }
        }
        if !self.found_wrong {
            folders.clear();
        }
        folders.is_empty()
    }

    /// Measures one more folder. If its count was wrong, starts again with all folders.
    pub(crate) fn add(&mut self, directory: &Directory, folder: u8) {
        if !is_right(directory, folder) {
            *self = Self { folders: None, found_wrong: true };
        }
    }

    /// Returns whether the counts are verified.
    pub(crate) fn is_done(&self) -> bool {
        self.folders.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Returns the folders with the first one last. Folders without a count come first, then those with
/// the highest counts, because a count that is too high evicts entries.
fn in_order(directory: &Directory) -> Vec<u8> {
    let count = |folder: u8| directory.counters.read(folder);
    let mut res: Vec<u8> = (0..=u8::MAX).collect();
    res.sort_by_cached_key(|it| count(*it).map_or(u64::MAX, |it| it.entries));
    let bytes = |it: &usize| count(res[*it]).map_or(u64::MAX, |it| it.bytes);
    if let Some(largest) = (0..res.len()).max_by_key(bytes) {
        let folder = res.remove(largest);
        res.push(folder);
    }
    res
}

/// Measures a folder, and returns whether its count was nearly right. A kill now and then makes it
/// slightly wrong.
fn is_right(directory: &Directory, folder: u8) -> bool {
    let before = directory.counters.read(folder);
    // A folder that cannot be measured keeps its count.
    let _ = directory.recount(folder);
    let after = directory.counters.read(folder);
    before.zip(after).is_some_and(|(before, after)| is_near(before, after))
}

fn is_near(one: Count, other: Count) -> bool {
    let is_near = |one: u64, other: u64| one.abs_diff(other) <= one.max(other) / 8;
    is_near(one.entries, other.entries) && is_near(one.bytes, other.bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tempfile::TempDir;

    use super::*;
    use crate::{counters::BLOCK, options::Plan};

    /// Returns a store of two files in each folder, with the right counts.
    fn counted() -> (TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan::of(place.path().join("cache"));
        let directory = Directory::open(&plan, true).unwrap().unwrap();
        directory.open_counters().unwrap();
        for folder in 0..=u8::MAX {
            fill(&plan.path, folder, 2);
            directory.counters.put(folder, count(2));
        }
        (place, directory)
    }

    fn fill(path: &Path, folder: u8, files: usize) {
        let folder = path.join(format!("{folder:02x}"));
        fs::create_dir_all(&folder).unwrap();
        (0..files).for_each(|n| fs::write(folder.join(format!("{n:030x}")), "x").unwrap());
    }

    fn count(entries: u64) -> Count {
        Count { entries, bytes: entries * BLOCK }
    }

    /// Returns the number of calls until the counts are verified. Each call measures one folder.
    fn calls(verification: &mut Verification, directory: &Directory) -> usize {
        let call = |_: &usize| !verification.proceed(directory, Instant::now(), Duration::ZERO);
        1 + (1..1000).take_while(call).count()
    }

    /// A process that writes once must not measure a large store.
    #[test]
    fn right_counts_are_verified_after_measuring_some_of_the_folders() {
        let (_place, directory) = counted();
        // Too low after a kill, which evicts nothing.
        directory.counters.put(200, count(1));
        let mut verification = Verification::default();
        assert!(!verification.is_done());
        assert_eq!(calls(&mut verification, &directory), 1);
        assert!(verification.is_done());
        assert_eq!(directory.counters.read(200), Some(count(1)), "the sweeper corrects this one");
    }

    #[test]
    fn all_folders_are_measured_in_several_calls_after_a_wrong_count() {
        let too_high = |it: &Directory| it.counters.put(200, count(20));
        let too_many_bytes = |it: &Directory| {
            it.counters.put(200, Count { entries: 2, bytes: 20 * BLOCK });
        };
        let unreadable = |it: &Directory| {
            let fd = it.counters.open(&it.root).unwrap();
            rustix::io::pwrite(fd, &[9], 200 * 16).unwrap();
        };
        for harm in [&too_high as &dyn Fn(&Directory), &too_many_bytes, &unreadable] {
            let (_place, directory) = counted();
            harm(&directory);
            directory.counters.put(7, count(1));
            assert_eq!(calls(&mut Verification::default(), &directory), 256);
            assert_eq!(directory.counters.total(), count(512));
        }
    }

    #[test]
    fn verification_starts_again_after_a_count_turns_out_wrong() {
        let (_place, directory) = counted();
        let mut verification = Verification::default();
        assert_eq!(calls(&mut verification, &directory), 1);
        verification.add(&directory, 3);
        assert!(verification.is_done());
        directory.counters.put(3, count(20));
        verification.add(&directory, 3);
        assert!(!verification.is_done());
        assert_eq!(calls(&mut verification, &directory), 256);
    }
}
