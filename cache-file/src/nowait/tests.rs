//! Reads from memory, on file systems that have them and on one that has not.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use cache_core::{
    Clock, Ttl,
    store::{Entry, Expiry, NowaitReads as _, SetMode, SyncBackend as _},
    testing::FakeClock,
};
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use super::*;
use crate::{directory::Directory, options::Plan, store::File};

/// A store in a directory that is deleted at the end of the test.
struct Place {
    outer: TempDir,
    time: FakeClock,
    file: File,
}

const MAX_LEN: usize = 128 << 10;
/// Lengths of values that take one page, nearly one, a little more, and many.
const LENGTHS: [usize; 4] = [10, 4000, 5000, 100_000];

impl Place {
    fn in_directory(outer: TempDir, clock: impl FnOnce(&FakeClock) -> Clock) -> Self {
        let time = FakeClock::new();
        let file = File::new(Plan::of(outer.path().join("cache")), clock(&time));
        Self { outer, time, file }
    }

    /// Returns a store that has read an entry. `None` if the file system of temporary directories
    /// has no reads from memory.
    fn new() -> Option<Self> {
        let place = Self::in_directory(tempfile::tempdir().unwrap(), FakeClock::clock);
        place.set("first", 1);
        place.file.get("first").unwrap();
        if !place.is_supported() {
            eprintln!("the file system of temporary directories has no reads from memory");
            return None;
        }
        Some(place)
    }

    fn is_supported(&self) -> bool {
        self.file.shared().directory.try_with(|it| it.nowait.is_supported()).unwrap()
    }

    fn set(&self, key: &str, len: usize) {
        self.file.set(key, value(len), Expiry::Never, SetMode::Always).unwrap();
    }

    /// Writes an entry and reads it, so that its folder is open.
    fn set_and_get(&self, key: &str, len: usize) {
        self.set(key, len);
        assert_eq!(self.file.get(key).unwrap(), Some(value(len)));
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, WouldBlock> {
        let found = self.file.get_entry_nowait(key, MAX_LEN)?;
        Ok(found.map(|it| it.value))
    }

    /// Reads the entry, live or expired.
    fn find(&self, key: &str) -> Result<Option<Found>, WouldBlock> {
        let path = EntryPath::of(key);
        let read = |it: &Directory| {
            let folder = it.open_folder(path.folder()).ok_or(WouldBlock)?;
            it.nowait.read(folder, &path, key, Part::Value, MAX_LEN)
        };
        self.file.shared().directory.try_with(read).ok_or(WouldBlock)?
    }

    fn path(&self, key: &str) -> PathBuf {
        self.outer.path().join("cache").join(EntryPath::of(key).to_string())
    }
}

fn value(len: usize) -> Bytes {
    (0..=u8::MAX).cycle().take(len).collect()
}

/// Removes a file from the page cache.
fn drop_pages(path: &Path) {
    let file = fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}

#[test]
fn entry_in_memory_is_read_with_value_and_lifetime() {
    let Some(place) = Place::new() else { return };
    for len in LENGTHS {
        place.set_and_get("k", len);
        assert_eq!(place.get("k"), Ok(Some(value(len))), "{len}");
        assert_eq!(place.file.ttl_nowait("k"), Ok(Some(Ttl::Forever)), "{len}");
        let expiry = Expiry::After(Duration::from_secs(60));
        place.file.touch("k", expiry).unwrap();
        let entry = place.file.get_entry("k").unwrap();
        let stamped = |it: &Entry| (it.value.clone(), it.ttl, it.stamp);
        let nowait = place.file.get_entry_nowait("k", MAX_LEN).unwrap();
        assert_eq!(nowait.as_ref().map(stamped), entry.as_ref().map(stamped), "{len}");
        assert_eq!(place.file.ttl_nowait("k"), place.file.ttl("k").map_err(|_| WouldBlock));
    }
}

#[test]
fn expired_entry_is_absent_and_stays_on_the_disk() {
    let Some(place) = Place::new() else { return };
    let expiry = Expiry::After(Duration::from_secs(1));
    place.file.set("k", value(10), expiry, SetMode::Always).unwrap();
    assert!(place.file.has("k").unwrap());
    place.time.advance(Duration::from_secs(1));
    assert_eq!(place.get("k"), Ok(None));
    assert_eq!(place.file.ttl_nowait("k"), Ok(None));
    assert!(place.path("k").exists());
}

#[test]
fn entry_outside_of_memory_would_block_until_it_was_read() {
    let Some(place) = Place::new() else { return };
    for len in LENGTHS {
        place.set_and_get("k", len);
        drop_pages(&place.path("k"));
        assert_eq!(place.get("k"), Err(WouldBlock), "{len}");
        assert_eq!(place.file.get("k").unwrap(), Some(value(len)));
        assert_eq!(place.get("k"), Ok(Some(value(len))));
    }
}

#[test]
fn value_of_which_only_the_start_is_in_memory_would_block() {
    let Some(place) = Place::new() else { return };
    place.set_and_get("k", 100_000);
    let file = fs::File::open(place.path("k")).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 64 << 10, None, Advice::DontNeed).unwrap();
    assert_eq!(place.get("k"), Err(WouldBlock));
    assert_eq!(place.file.ttl_nowait("k"), Ok(Some(Ttl::Forever)), "it needs only the start");
}

#[test]
fn store_that_has_read_nothing_would_block() {
    let outer = tempfile::tempdir().unwrap();
    let place = Place::in_directory(outer, |_| Clock::system());
    assert_eq!(place.get("k"), Err(WouldBlock), "there is no directory");
    place.set("k", 10);
    assert_eq!(place.get("k"), Err(WouldBlock), "it is not known whether reading would block");
    place.file.get("k").unwrap();
    place.file.close().unwrap();
    assert_eq!(place.get("k"), Err(WouldBlock), "the directory is closed");
}

#[test]
fn absent_entry_is_absent_only_in_a_folder_that_exists() {
    let Some(place) = Place::new() else { return };
    place.set_and_get("k", 10);
    place.file.delete("k").unwrap();
    assert_eq!(place.file.get("k").unwrap(), None);
    assert_eq!(place.get("k"), Ok(None));
    fs::remove_dir_all(place.outer.path().join("cache")).unwrap();
    assert_eq!(place.get("k"), Err(WouldBlock));
}

/// The thread repeats the read, removes the file and returns the error.
#[test]
fn damaged_entry_would_block_and_is_not_changed() {
    let Some(place) = Place::new() else { return };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let key = "shop:1:user:7";
    place.set_and_get(key, 10);
    let mut damaged = 0;
    for seed in fs::read_dir(corpus).unwrap().map(|it| it.unwrap()) {
        let bytes = fs::read(seed.path()).unwrap();
        fs::write(place.path(key), &bytes).unwrap();
        let found = place.find(key);
        let fd = fs::File::open(place.path(key)).unwrap().into();
        match (crate::probe::probe(&fd, Some(key), Part::Value).unwrap(), found) {
            (Probe::Found(one), Ok(Some(other))) => assert_eq!(one.value, other.value),
            (Probe::Absent | Probe::OtherKey, Ok(None)) => {}
            (Probe::Incomplete | Probe::Damaged | Probe::Newer, Err(WouldBlock)) => damaged += 1,
            others => panic!("{seed:?}: {others:?}"),
        }
        assert_eq!(fs::read(place.path(key)).unwrap(), bytes);
    }
    assert!(damaged >= 10, "{damaged}");
}

#[test]
fn entry_of_another_key_with_the_same_hash_is_absent() {
    let Some(place) = Place::new() else { return };
    place.set_and_get("k", 10);
    place.set_and_get("other", 10);
    fs::copy(place.path("other"), place.path("k")).unwrap();
    assert_eq!(place.get("k"), Ok(None));
}

#[test]
fn longer_value_than_allowed_would_block_but_its_lifetime_is_read() {
    let Some(place) = Place::new() else { return };
    for len in [10, MAX_LEN] {
        place.set_and_get("k", len);
        assert!(place.file.get_entry_nowait("k", len).is_ok());
        assert!(place.file.get_entry_nowait("k", len - 1).is_err());
        assert_eq!(place.file.ttl_nowait("k"), Ok(Some(Ttl::Forever)));
    }
}

/// A new access time would have to be written.
#[test]
fn access_time_is_not_changed() {
    let Some(place) = Place::new() else { return };
    place.set_and_get("k", 10);
    // With `relatime`, a read sets the access time if the file was written after it.
    place.set("k", 11);
    let times = || fs::metadata(place.path("k")).map(|it| (it.atime(), it.atime_nsec())).unwrap();
    let before = times();
    assert!(place.get("k").unwrap().is_some());
    assert_eq!(times(), before);
}

#[test]
fn store_works_where_the_file_system_has_no_such_reads() {
    let memory = Path::new("/dev/shm");
    // Of Linux, where it is a tmpfs.
    if !memory.is_dir() {
        return;
    }
    let outer = tempfile::tempdir_in(memory).unwrap();
    let place = Place::in_directory(outer, |_| Clock::system());
    for len in LENGTHS {
        place.set_and_get("k", len);
        // A kernel may have learned to read this file system without waiting.
        assert_eq!(place.get("k").ok().flatten().is_some(), place.is_supported(), "{len}");
    }
}
