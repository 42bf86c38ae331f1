//! The target for files of `cache-file` with any content.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use cache_core::{BlockingCache, Caches, Error, ErrorKind, Timeout, Ttl, secs};
use cache_file as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::{allocations::at_most, layout};

const KEY: &str = "user:7";
const STORED_KEY: &[u8] = b"shop:1:user:7";
const FILE: &str = "93/622b50b45b7980f36e75a95f3b4c5a";

/// Writes the bytes to the file of a key and runs operations on that key, then again with correct
/// checksums.
///
/// # Panics
/// If an operation finds an entry that the file does not hold, misses one that it holds, or fails
/// with an unexpected error.
pub fn file_entry(bytes: &[u8]) {
    thread_local! {
        static PLACE: Place = Place::new();
    }
    PLACE.with(|place| {
        place.check(bytes);
        if let Some(corrected) = layout::with_right_sums(bytes).filter(|it| it != bytes) {
            place.check(&corrected);
        }
    });
}

/// A store in a directory of its own.
struct Place {
    cache: BlockingCache,
    file: PathBuf,
    folder: File,
    _directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let toml = format!(
            "[caches.default]\nbackend = 'file'\nlocation = '{}'\nkey_prefix = 'shop'\ndeadline = '20s'\n\
             options.direct_reads = true\noptions.threads = 1",
            directory.path().display()
        );
        let caches = Caches::from_toml(&toml).unwrap();
        let cache = caches.get("default").unwrap().strict().blocking();
        // Creates the folder.
        cache.set(KEY, &1, Timeout::Default).unwrap();
        let file = directory.path().join(FILE);
        assert!(file.exists(), "the layout of the directory has changed");
        let folder = File::open(file.parent().unwrap()).unwrap();
        Self { cache, file, folder, _directory: directory }
    }

    /// Writes the file under the folder's lock. Otherwise the sweeper may find a half written file
    /// damaged and remove it.
    fn write(&self, bytes: &[u8]) {
        self.folder.lock().unwrap();
        fs::write(&self.file, bytes).unwrap();
        self.folder.unlock().unwrap();
    }

    fn check(&self, bytes: &[u8]) {
        let known = Known::new(bytes);
        // Each read may allocate the length of the file, but not a length that its header claims.
        let limit = 100_000 + 100 * bytes.len();
        let changes = CHANGES[crc32fast::hash(bytes) as usize % CHANGES.len()];
        for step in [reads, changes] {
            self.write(bytes);
            at_most(limit, || step(&self.cache, &known));
        }
        // The key can be written, whatever the file holds.
        self.write(bytes);
        self.cache.set(KEY, "new", secs(60)).unwrap();
        assert_eq!(self.cache.get::<String>(KEY).unwrap().as_deref(), Some("new"));
    }
}

/// The content of a file, according to the documentation of its format.
struct Known<'a> {
    /// The value of the live entry.
    value: Option<&'a [u8]>,
    /// Whether it is a live entry for an operation that does not read the value.
    looks_live: bool,
    /// Whether it expires about now, so that both results are right.
    at_its_end: bool,
}

impl<'a> Known<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let head = layout::head(bytes).filter(|it| it.is_complete && it.key == STORED_KEY);
        let expires = head.map_or(0, |it| u128::from(it.expires));
        let live = head.filter(|_| expires == 0 || expires > now);
        Self {
            value: live.filter(|it| it.is_right).and_then(|it| it.value),
            looks_live: live.is_some_and(|it| it.value.is_some()),
            at_its_end: expires.abs_diff(now) < 60_000,
        }
    }

    /// Checks whether an operation that reads the value may have found an entry.
    #[track_caller]
    fn is(&self, found: bool) {
        assert!(self.at_its_end || found == self.value.is_some(), "found: {found}");
    }

    /// Checks whether an operation that need not read the value may have found an entry.
    #[track_caller]
    fn looks(&self, found: bool) {
        let right = if found { self.looks_live } else { self.value.is_none() };
        assert!(self.at_its_end || right, "found: {found}");
    }

    /// Returns whether the value begins like the facade's header, and so may be invalid for it.
    fn may_be_wrapped(&self) -> bool {
        self.value.is_some_and(|it| it.starts_with(&[0xc1, 0xca]))
    }
}

/// Turns the error for bytes that are not a value into a miss.
#[track_caller]
fn codec<T>(res: Result<Option<T>, Error>) -> Option<T> {
    res.unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
        None
    })
}

fn reads(cache: &BlockingCache, known: &Known<'_>) {
    known.looks(cache.has_key(KEY).unwrap());
    let ttl = cache.ttl(KEY).unwrap();
    known.looks(ttl.is_some());
    assert!(!matches!(ttl, Some(Ttl::Remaining(Duration::ZERO))));
    let read = codec(cache.bytes().get(KEY));
    if !known.may_be_wrapped() {
        known.is(read.is_some());
        assert!(known.at_its_end || read.as_deref() == known.value);
        // The error of a damaged entry comes once.
        let again = codec(cache.bytes().get(KEY));
        assert!(known.at_its_end || again.as_deref() == known.value);
    }
}

type Step = fn(&BlockingCache, &Known<'_>);

/// Operations that change the entry. A run performs one, chosen by the bytes, because all of them
/// would take a millisecond.
const CHANGES: &[Step] = &[
    |cache, known| {
        let many = codec(cache.get_many::<Value, _>([KEY, "other"]).map(Some)).unwrap_or_default();
        assert!(known.at_its_end || known.value.is_some() || many.is_empty());
    },
    |cache, known| {
        let popped = codec(cache.pop::<Value>(KEY));
        assert!(known.at_its_end || known.value.is_some() || popped.is_none());
        if known.value.is_some() {
            assert!(!cache.has_key(KEY).unwrap());
        }
    },
    |cache, known| match cache.incr(KEY, 1) {
        Ok(it) => {
            known.is(true);
            assert_eq!(cache.get::<i64>(KEY).unwrap(), Some(it));
        }
        Err(error) if error.kind() == ErrorKind::KeyNotFound => known.is(false),
        Err(error) => {
            assert!(
                matches!(error.kind(), ErrorKind::NotAnInteger | ErrorKind::Overflow),
                "{error}"
            );
            known.is(true);
        }
    },
    |cache, known| {
        known.looks(cache.touch(KEY, secs(60)).unwrap());
        if known.value.is_some() && !known.may_be_wrapped() && !known.at_its_end {
            assert_eq!(cache.bytes().get(KEY).unwrap().as_deref(), known.value);
        }
    },
    |cache, known| known.looks(!cache.add(KEY, &1, Timeout::Never).unwrap()),
    |cache, known| known.looks(cache.replace(KEY, &1, Timeout::Never).unwrap()),
    |cache, known| known.looks(cache.delete(KEY).unwrap()),
    |cache, known| {
        // If the stored value has another type, the first call loads a value and stores it.
        let loaded = cache.get_or_set(KEY, secs(60), || Value::from("loaded"));
        let read = cache.get::<Value>(KEY);
        assert!(known.at_its_end || loaded.unwrap() == read.unwrap().unwrap());
    },
    |cache, known| match cache.incr_version(KEY, 1) {
        Ok(it) => {
            known.looks(true);
            cache.at_version(it).delete(KEY).unwrap();
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{error}");
            known.looks(false);
        }
    },
];
