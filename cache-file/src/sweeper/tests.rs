//! Rounds of the sweeper, without the pauses between them.

use std::{fs, path::PathBuf};

use cache_core::testing::FakeClock;
use tempfile::TempDir;

use super::*;
use crate::{
    counters::{BLOCK, Count},
    entry_file::{EntryFile, NewEntry},
    entry_path::EntryPath,
};

/// A store without its own sweeper, and the work of one. Deleted at the end of the test.
struct Place {
    outer: TempDir,
    path: PathBuf,
    handle: Arc<DirectoryHandle>,
    work: Work,
}

impl Place {
    fn new(clock: &Clock) -> Self {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("cache");
        let plan = Plan { max_entries: 1_000_000, ..Plan::of(path.clone()) };
        let handle = Arc::new(DirectoryHandle::new(plan.clone()));
        let work = Work::new(&handle, &plan, clock);
        Self { outer, path, handle, work }
    }

    fn directory(&self) -> Arc<Directory> {
        let directory = self.handle.open(true).unwrap().unwrap();
        directory.open_counters().unwrap();
        directory
    }

    fn write(&self, key: u64, expires: u64) {
        let (directory, value) = (self.directory(), "1".into());
        let (key, until) = (key.to_string(), Instant::now() + Duration::from_secs(20));
        let path = EntryPath::of(&key);
        let lock = directory.lock(&path, until).unwrap();
        let new = NewEntry { key: &key, value: &value, expires, stamp: 1 };
        EntryFile::open_or_create(&lock, &path).unwrap().write(&new).unwrap();
    }

    /// Returns the number of entries by their files.
    fn files(&self) -> u64 {
        let folders =
            (0..=u8::MAX).filter_map(|it| fs::read_dir(self.path.join(format!("{it:02x}"))).ok());
        folders.map(|it| it.count() as u64).sum()
    }

    /// Runs rounds until the condition holds.
    fn run_until(&mut self, condition: impl Fn(&Self) -> bool, rounds: usize) {
        for _ in 0..rounds {
            self.work.run_round().unwrap();
            if condition(self) {
                return;
            }
        }
        panic!("not after {rounds} rounds");
    }
}

/// One round counts at least one folder, so this many count all.
const ALL: usize = 256;

/// Otherwise this process would continue in the moved folder, and others in a new one.
#[test]
fn directory_is_closed_after_a_folder_was_moved_away() {
    let mut place = Place::new(&Clock::system());
    let create = |place: &Place| place.directory().folder(7, true).unwrap().is_some();
    assert!(create(&place));
    place.work.next_folder = 7;
    place.work.run_round().unwrap();
    assert!(place.handle.get().is_some(), "nothing was moved");
    fs::rename(place.path.join("07"), place.outer.path().join("moved")).unwrap();
    place.work.next_folder = 7;
    place.work.run_round().unwrap();
    assert!(place.handle.get().is_none());
    assert!(create(&place));
    assert!(place.path.join("07").is_dir());
}

#[test]
fn each_entry_is_read_once_where_none_has_expired() {
    for count in [1, 2, 3, 5, 40] {
        let place = Place::new(&Clock::system());
        (0..count).for_each(|n| place.write(n, 0));
        let until = Instant::now() + Duration::from_secs(20);
        let read = remove_expired(&place.work.evictor, &place.directory(), until);
        // A sample that ends in the last folder continues in the first one.
        assert!((count..count + 16).contains(&read), "{read} of {count}");
    }
}

#[test]
fn few_expired_entries_among_many_are_removed() {
    let time = FakeClock::new();
    let mut place = Place::new(&time.clock());
    let expires = crate::expiry::now(&time.clock()) + 1000;
    (0..2000).for_each(|n| place.write(n, if n % 100 == 0 { expires } else { 0 }));
    time.advance(Duration::from_secs(2));
    place.run_until(|it| it.files() == 1980, 1000);
}

/// A kill between a file and its count, in folders that have a file or two.
#[test]
fn expired_entries_that_are_not_counted_are_removed() {
    let time = FakeClock::new();
    let mut place = Place::new(&time.clock());
    let expires = crate::expiry::now(&time.clock()) + 1000;
    (0..100).for_each(|n| place.write(n, expires));
    let directory = place.directory();
    let one = Count { entries: 1, bytes: BLOCK };
    for folder in 0..=u8::MAX {
        let is_empty = directory.counters.read(folder) == Some(Count::default());
        directory.counters.put(folder, if is_empty { one } else { Count::default() });
    }
    time.advance(Duration::from_secs(2));
    let is_empty = |it: &Place| it.files() == 0 && directory.counters.total() == Count::default();
    place.run_until(is_empty, 1000);
}

/// A kill between a large value and its count, or between its removal and its count.
#[test]
fn wrong_counts_of_bytes_are_corrected() {
    let mut place = Place::new(&Clock::system());
    (0..300).for_each(|n| place.write(n, 0));
    let directory = place.directory();
    let counts = || (0..=u8::MAX).map(|it| directory.counters.read(it)).collect::<Vec<_>>();
    let right = counts();
    for (folder, count) in (0..=u8::MAX).zip(&right) {
        let entries = count.unwrap().entries;
        // Not so many that entries are evicted.
        directory.counters.put(folder, Count { entries, bytes: entries * 64 * BLOCK });
    }
    place.run_until(|_| counts() == right, ALL);
}

/// Files were deleted by hand, a process was killed before it counted a file, or the file of counts
/// was damaged.
#[test]
fn wrong_and_damaged_counts_of_entries_are_corrected() {
    let mut place = Place::new(&Clock::system());
    (0..300).for_each(|n| place.write(n, 0));
    let directory = place.directory();
    let counts = || (0..=u8::MAX).map(|it| directory.counters.read(it)).collect::<Vec<_>>();
    let right = counts();
    let fd = directory.counters.open(&directory.root).unwrap();
    for folder in 0..=u8::MAX {
        let (entries, bytes) = (u64::from(folder % 3), u64::from(folder % 3) * BLOCK);
        directory.counters.put(folder, Count { entries, bytes });
        if folder % 4 == 0 {
            let damage = 50_u64.to_le_bytes();
            rustix::io::pwrite(fd, &damage, u64::from(folder) * 16).unwrap();
        }
    }
    assert_ne!(counts(), right);
    place.run_until(|_| counts() == right, ALL);
}
