//! Comparing the counts with the files, before entries are evicted because of the counts.

use std::time::{Duration, Instant};

use crate::{directory::Directory, sweeper};

/// What a process has compared of a store's counts.
///
/// A large store cannot be counted by a process that lives for a moment. So a part of the folders is counted first, and all
/// of them only after a count turned out wrong: the file was damaged or copied from another store, or entries were deleted by hand.
#[derive(Debug, Default)]
pub(crate) struct Verification {
    /// The folders that are to be counted, the next one last; `None` before the first.
    folders: Option<Vec<u8>>,
    found_wrong: bool,
}

/// How long folders are counted while all counts are right: all of a small store.
const SAMPLE: Duration = Duration::from_millis(10);

impl Verification {
    /// Counts folders for that time at most, and the next call goes on. Returns whether the counts may be relied on.
    pub(crate) fn proceed(
        &mut self,
        directory: &Directory,
        began: Instant,
        most: Duration,
    ) -> bool {
        let folders = self.folders.get_or_insert_with(|| in_order(directory));
        while let Some(folder) = folders.pop() {
            self.found_wrong |= !is_right(directory, folder);
            if began.elapsed() > if self.found_wrong { most } else { SAMPLE.min(most) } {
                break;
            }
        }
        if !self.found_wrong {
            folders.clear();
        }
        folders.is_empty()
    }

    /// Compares the count of a folder that was listed, and begins from the start if it was wrong. Only then the files are counted,
    /// which takes longer than to list them.
    pub(crate) fn listed(&mut self, directory: &Directory, folder: u8, names: usize) {
        let count = directory.counters.read(folder);
        let is_near = count.is_some_and(|it| is_near(it.entries, names as u64));
        if !is_near && !is_right(directory, folder) {
            *self = Self { folders: None, found_wrong: true };
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.folders.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Those with no readable count come first, then those with the highest: a count that is too high evicts.
fn in_order(directory: &Directory) -> Vec<u8> {
    let count = |folder: u8| directory.counters.read(folder);
    let mut res: Vec<u8> = (0..=u8::MAX).collect();
    res.sort_by_cached_key(|it| count(*it).map_or(u64::MAX, |it| it.entries));
    let largest = |it: &usize| count(res[*it]).map_or(u64::MAX, |it| it.bytes);
    if let Some(at) = (0..res.len()).max_by_key(largest) {
        let folder = res.remove(at);
        res.push(folder);
    }
    res
}

/// Counts a folder. A kill now and then leaves a count that is nearly right.
fn is_right(directory: &Directory, folder: u8) -> bool {
    let before = directory.counters.read(folder);
    // What cannot be counted stays as it is.
    let _ = sweeper::count(directory, folder);
    let after = directory.counters.read(folder);
    before.zip(after).is_some_and(|(before, after)| {
        is_near(before.entries, after.entries) && is_near(before.bytes, after.bytes)
    })
}

fn is_near(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= one.max(other) / 8
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        counters::{BLOCK, Count},
        options::Plan,
    };

    /// A store of two files in each folder, whose counts are right.
    fn counted() -> (TempDir, Directory) {
        let place = tempfile::tempdir().unwrap();
        let plan = Plan::of(place.path().join("cache"));
        let directory = Directory::open(&plan, true).unwrap().unwrap();
        directory.counters.open(&directory).unwrap();
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

    /// How many calls it takes with time for one folder each.
    fn calls(verification: &mut Verification, directory: &Directory) -> usize {
        let call = |_: &usize| !verification.proceed(directory, Instant::now(), Duration::ZERO);
        1 + (1..1000).take_while(call).count()
    }

    /// A process that writes once, in a store that is too large to be counted.
    #[test]
    fn right_counts_are_relied_on_after_a_part_of_them() {
        let (_place, directory) = counted();
        // Too low by a kill: this evicts nothing.
        directory.counters.put(200, count(1));
        let mut verification = Verification::default();
        assert!(!verification.is_done());
        assert_eq!(calls(&mut verification, &directory), 1);
        assert!(verification.is_done());
        assert_eq!(directory.counters.read(200), Some(count(1)), "the sweeper's to count");
    }

    #[test]
    fn after_a_wrong_count_all_folders_are_counted_in_pieces() {
        let too_high = |it: &Directory| it.counters.put(200, count(20));
        let too_many_bytes = |it: &Directory| {
            it.counters.put(200, Count { entries: 2, bytes: 20 * BLOCK });
        };
        let unreadable = |it: &Directory| {
            let fd = it.counters.open(it).unwrap();
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
    fn a_count_that_turns_out_wrong_later_begins_it_again() {
        let (_place, directory) = counted();
        let mut verification = Verification::default();
        assert_eq!(calls(&mut verification, &directory), 1);
        verification.listed(&directory, 3, 2);
        assert!(verification.is_done());
        directory.counters.put(3, count(20));
        verification.listed(&directory, 3, 2);
        assert!(!verification.is_done());
        assert_eq!(calls(&mut verification, &directory), 256);
    }
}
