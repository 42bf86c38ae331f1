//! Tests of spare files, which take several modules.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache_core::{
    Clock,
    store::{Expiry, SetMode, SyncBackend as _},
};
use tempfile::TempDir;

use crate::{
    counters::{BLOCK, Count},
    directory::Directory,
    entry_file::{EntryFile, NewEntry},
    entry_path::EntryPath,
    error::StepError,
    folder_lock::FolderLock,
    options::Plan,
    probe::{Part, Probe},
    recycler::MAX_AGE,
    spare_folder::FOLDER,
    store::File,
};

/// The directory of a store with its folder of spare files. Deleted at the end of the test.
struct Place {
    outer: TempDir,
    spare: PathBuf,
    directory: Directory,
}

impl Place {
    fn new(max_bytes: u64) -> Self {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("cache");
        let spare = path.join(FOLDER);
        let plan = Plan { max_bytes, max_value: max_bytes / 4, ..Plan::of(path) };
        let directory = Directory::open(&plan, true).unwrap().unwrap();
        directory.open_counters().unwrap();
        Self { outer, spare, directory }
    }

    fn write(&self, key: &str, len: usize) {
        write(&self.directory, key, len).unwrap();
    }

    fn remove(&self, key: &str) {
        locked(&self.directory, key, |lock, path| {
            EntryFile::open(lock, path).unwrap().unwrap().recycle().unwrap();
        });
    }

    fn entries(&self) -> u64 {
        self.directory.counters.total().entries
    }
}

/// Writes an entry with a value of this length that does not expire.
fn write(directory: &Directory, key: &str, len: usize) -> Result<(), StepError> {
    let value = Bytes::from(vec![b'x'; len]);
    locked(directory, key, |lock, path| {
        let new = NewEntry { key, value: &value, expires: 0, stamp: 1 };
        EntryFile::open_or_create(lock, path)?.write(&new)
    })
}

/// Runs a step under the lock of a key's folder.
fn locked<T>(
    directory: &Directory,
    key: &str,
    step: impl FnOnce(&FolderLock<'_>, &EntryPath) -> T,
) -> T {
    let path = EntryPath::of(key);
    let lock = directory.lock(&path, Instant::now() + Duration::from_secs(20)).unwrap();
    step(&lock, &path)
}

/// Returns the number of files; 0 if the folder does not exist.
fn count(folder: &PathBuf) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn new_entry_takes_the_file_of_a_removed_one() {
    let place = Place::new(1 << 30);
    place.write("old", 9000);
    assert_eq!((count(&place.spare), place.entries()), (0, 1));
    place.remove("old");
    assert_eq!(count(&place.spare), 1);
    assert_eq!(place.directory.counters.total(), Count::default());
    place.write("new", 10);
    assert_eq!(count(&place.spare), 0);
    let expected = Count { entries: 1, bytes: BLOCK };
    assert_eq!(place.directory.counters.total(), expected, "the other blocks were freed");
}

#[test]
fn content_of_a_spare_file_is_not_an_entry_of_the_same_key() {
    let place = Place::new(1 << 30);
    place.write("k", 100);
    place.remove("k");
    locked(&place.directory, "k", |lock, path| {
        let file = EntryFile::open_or_create(lock, path).unwrap();
        assert!(matches!(file.probe(Some("k"), Part::Value).unwrap(), Probe::Absent));
        assert!(EntryFile::open(lock, path).unwrap().is_none(), "it gets its name when written");
    });
}

#[test]
fn spare_file_that_is_not_written_is_deleted() {
    let place = Place::new(1 << 30);
    place.write("k", 100);
    place.remove("k");
    locked(&place.directory, "k", |lock, path| {
        drop(EntryFile::open_or_create(lock, path).unwrap());
    });
    assert_eq!(count(&place.spare), 0);
}

#[test]
fn number_and_size_of_spare_files_are_limited() {
    let place = Place::new(1 << 30);
    for n in 0..100 {
        place.write(&n.to_string(), 10);
    }
    for n in 0..100 {
        place.remove(&n.to_string());
    }
    assert_eq!(count(&place.spare), 64);
    let Place { spare, directory, outer } = place;
    drop(directory);
    assert_eq!(count(&spare), 0, "a dropped store leaves no spare files");
    drop(outer);

    let place = Place::new(1 << 30);
    place.write("large", 20_000);
    place.remove("large");
    assert_eq!(count(&place.spare), 0);
    let place = Place::new(1 << 16);
    place.write("in a small store", 10);
    place.remove("in a small store");
    assert_eq!(count(&place.spare), 0);
}

/// A trap: two writers with one temporary file, of which each publishes what the other wrote.
#[test]
fn writers_with_the_same_number_of_a_spare_file_do_not_share_it() {
    let place = Place::new(1 << 30);
    let plan = Plan { max_bytes: 1 << 30, ..Plan::of(place.outer.path().join("cache")) };
    let other = Directory::open(&plan, true).unwrap().unwrap();
    other.open_counters().unwrap();
    let writers = [&place.directory, &other];
    let in_other_folder =
        |n: &u32| EntryPath::of(&n.to_string()).folder() != EntryPath::of("a").folder();
    let b = (0..1000).find(in_other_folder).unwrap().to_string();
    let keys = ["a", b.as_str()];
    for (directory, key) in writers.into_iter().zip(keys) {
        write(directory, key, 10).unwrap();
        locked(directory, key, |lock, path| {
            lock.recycler.set_next(7);
            EntryFile::open(lock, path).unwrap().unwrap().recycle().unwrap();
        });
    }
    assert_eq!(count(&place.spare), 1, "the second writer keeps none under the same number");
    locked(writers[0], keys[0], |lock, path| {
        let mut first = EntryFile::open_or_create(lock, path).unwrap();
        write(writers[1], keys[1], 20).unwrap();
        let value = Bytes::from_static(b"first");
        first.write(&NewEntry { key: keys[0], value: &value, expires: 0, stamp: 1 }).unwrap();
    });
    for (key, value) in keys.into_iter().zip([b"first".to_vec(), vec![b'x'; 20]]) {
        locked(&other, key, |lock, path| {
            let file = EntryFile::open(lock, path).unwrap().unwrap();
            let Probe::Found(found) = file.probe(Some(key), Part::Value).unwrap() else {
                panic!("`{key}` has no entry of its own")
            };
            assert_eq!(found.value, value);
        });
    }
    // The next numbers are free.
    locked(&other, &b, |lock, path| {
        EntryFile::open(lock, path).unwrap().unwrap().recycle().unwrap();
    });
    assert_eq!(count(&place.spare), 1);
}

/// Under its second name, another program keeps the content.
#[test]
fn file_with_a_second_name_does_not_become_a_spare_file() {
    let place = Place::new(1 << 30);
    place.write("k", 10);
    let file = place.outer.path().join("cache").join(EntryPath::of("k").to_string());
    fs::hard_link(file, place.outer.path().join("copy")).unwrap();
    place.remove("k");
    assert_eq!(count(&place.spare), 0);
}

#[test]
fn files_of_a_killed_process_are_swept_and_foreign_files_stay() {
    let place = Place::new(1 << 30);
    place.write("k", 10);
    place.remove("k");
    fs::write(place.spare.join("notes"), "foreign").unwrap();
    fs::write(place.spare.join("s0123456789abcdef"), "of a killed process").unwrap();
    place.directory.sweep_spare_files(MAX_AGE).unwrap();
    assert_eq!(count(&place.spare), 3, "the files are not old enough");
    place.directory.sweep_spare_files(Duration::ZERO).unwrap();
    assert_eq!(count(&place.spare), 1);
    assert_eq!(fs::read_to_string(place.spare.join("notes")).unwrap(), "foreign");
    place.write("k", 10);
    assert_eq!(place.entries(), 1, "without the swept spare file");
}

#[test]
fn swept_spare_files_free_their_places() {
    let place = Place::new(1 << 30);
    for n in 0..65 {
        place.write(&n.to_string(), 10);
    }
    for n in 0..64 {
        place.remove(&n.to_string());
    }
    place.directory.sweep_spare_files(Duration::ZERO).unwrap();
    place.remove("64");
    assert_eq!(count(&place.spare), 1);
}

#[test]
fn write_to_a_spare_file_that_is_swept_meanwhile_is_tried_again() {
    let place = Place::new(1 << 30);
    place.write("old", 10);
    place.remove("old");
    let value = Bytes::from_static(b"1");
    let new = NewEntry { key: "new", value: &value, expires: 0, stamp: 1 };
    locked(&place.directory, "new", |lock, path| {
        let mut file = EntryFile::open_or_create(lock, path).unwrap();
        place.directory.sweep_spare_files(Duration::ZERO).unwrap();
        assert!(matches!(file.write(&new), Err(StepError::Deleted)));
        assert!(EntryFile::open(lock, path).unwrap().is_none());
    });
    assert_eq!(place.entries(), 0);
}

/// Programs that run for a moment, one after the other, leave their spare files behind.
#[test]
fn file_is_not_kept_in_a_full_folder_of_spare_files() {
    let place = Place::new(1 << 30);
    drop(place.directory.root.open_folder(FOLDER.as_bytes(), true).unwrap());
    for n in 0..257 {
        fs::write(place.spare.join(format!("s{n:016x}")), "").unwrap();
    }
    place.write("k", 10);
    place.remove("k");
    assert_eq!(count(&place.spare), 257);
}

/// The sweeper checks this, and opens the directory again. Otherwise spare files would follow the
/// moved folder.
#[test]
fn moved_folder_of_spare_files_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let plan = Plan::of(place.path().join("cache"));
    let store = File::new(plan.clone(), Clock::system());
    store.set("k", "1".into(), Expiry::Never, SetMode::Always).unwrap();
    let directory = store.shared().directory.get().unwrap();
    assert!(directory.is_at(&plan.path), "without spare files");
    assert!(store.delete("k").unwrap());
    assert!(directory.is_at(&plan.path), "with a spare file");
    fs::rename(plan.path.join(FOLDER), place.path().join("moved")).unwrap();
    assert!(!directory.is_at(&plan.path));
}

/// The program may end before the sweeper does.
#[test]
fn closed_or_dropped_store_leaves_no_spare_file_while_the_sweeper_works() {
    let place = tempfile::tempdir().unwrap();
    let plan = Plan::of(place.path().join("cache"));
    let close = |store: File| store.close().map(|()| store).ok();
    let drop_it = |store: File| {
        drop(store);
        None
    };
    for end in [close as fn(File) -> Option<File>, drop_it] {
        let store = File::new(plan.clone(), Clock::system());
        store.set("k", "1".into(), Expiry::Never, SetMode::Always).unwrap();
        // The sweeper holds the directory like this.
        let handle = std::sync::Arc::clone(&store.shared().directory);
        let directory = handle.get().unwrap();
        assert!(store.delete("k").unwrap());
        assert_eq!(count(&plan.path.join(FOLDER)), 1);
        let _store = end(store);
        assert_eq!(count(&plan.path.join(FOLDER)), 0);
        drop((directory, handle));
    }
}
