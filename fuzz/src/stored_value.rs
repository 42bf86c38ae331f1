//! The target for stored bytes that any program may have written.

use std::{collections::HashMap, sync::Arc};

use cache_core::{
    BlockingCache, Cache, ErrorKind, Timeout,
    store::{Expiry, Inline, SetMode, SyncBackend},
};
use cache_memory::Memory;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::allocations::at_most;

const KEY: &str = "k";
const STORED_KEY: &str = ":1:k";

/// Reads any bytes as stored values of many types, then again with a correct checksum in their
/// header. Also stores them as a caller's own bytes.
///
/// # Panics
/// If the bytes decode to a wrong value, or a caller's own bytes do not read back equal.
pub fn stored_value(bytes: &[u8]) {
    thread_local! {
        static STORE: Store = Store::new();
    }
    STORE.with(|store| {
        store.check(bytes);
        if let Some(corrected) = with_right_sum(bytes).filter(|it| it != bytes) {
            store.check(&corrected);
        }
    });
}

struct Store {
    cache: BlockingCache,
    bytes: Arc<dyn SyncBackend>,
}

/// A type with many kinds of data that serde knows.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "the fuzz target only decodes it")]
struct Everything {
    id: u64,
    name: Option<String>,
    rate: f64,
    kind: Kind,
    tags: Vec<(String, i8)>,
    #[serde(default)]
    rest: HashMap<String, Vec<char>>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "the fuzz target only decodes it")]
enum Kind {
    Unit,
    New(u8),
    Tuple(i64, bool),
    Struct { nested: Option<Box<Kind>> },
}

impl Store {
    fn new() -> Self {
        let cache = Cache::new("fuzz", Inline::new(Memory::new())).strict();
        let bytes = Arc::clone(cache.backend()).sync_view().unwrap();
        Self { cache: cache.blocking(), bytes }
    }

    fn put(&self, bytes: &[u8]) {
        let bytes = bytes.to_vec().into();
        self.bytes.set(STORED_KEY, bytes, Expiry::Never, SetMode::Always).unwrap();
    }

    fn check(&self, bytes: &[u8]) {
        self.check_envelope(bytes);
        self.decodes::<Value>(bytes);
        self.decodes::<Everything>(bytes);
        self.decodes::<Vec<u8>>(bytes);
        self.decodes::<i64>(bytes);
        self.decodes::<String>(bytes);
        self.decodes::<()>(bytes);
        let number = self.decodes::<i128>(bytes);
        self.put(bytes);
        match self.cache.incr(KEY, -1) {
            // A value that `incr` accepts is an integer for every reader.
            Ok(it) => assert_eq!(number, Some(i128::from(it) + 1)),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::NotAnInteger | ErrorKind::Overflow),
                    "{error}"
                );
            }
        }
        // A caller's own bytes may begin like a header.
        self.cache.set_bytes(KEY, bytes.to_vec(), Timeout::Never).unwrap();
        assert_eq!(self.cache.get_bytes(KEY).unwrap().as_deref(), Some(bytes));
    }

    /// Checks that the header is read as its documentation says.
    fn check_envelope(&self, bytes: &[u8]) {
        self.put(bytes);
        let read = self.cache.get_bytes(KEY);
        if !bytes.starts_with(&[0xc1, 0xca]) {
            assert_eq!(read.unwrap().as_deref(), Some(bytes));
            return;
        }
        let is_whole = with_right_sum(bytes).as_deref() == Some(bytes);
        let is_newer = bytes.get(2).is_some_and(|it| *it > 1) && bytes.len() >= 16;
        match read {
            Ok(payload) => {
                assert!(is_whole && bytes[2] == 1 && bytes[3] <= 1);
                assert_eq!(payload.as_deref(), bytes.get(16..));
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
                assert!(!is_whole || bytes[2] != 1 || bytes[3] > 1, "{error}");
                // An entry of a newer release stays.
                let is_left = self.bytes.has(STORED_KEY).unwrap();
                assert_eq!(is_left, is_newer || is_whole && bytes[2] == 1);
            }
        }
    }

    fn decodes<T: DeserializeOwned>(&self, bytes: &[u8]) -> Option<T> {
        self.put(bytes);
        // serde allocates up to a mebibyte for a length in the input, and a small map takes some
        // hundred bytes.
        let limit = (4 << 20) + 1000 * bytes.len();
        at_most(limit, || self.cache.get::<T>(KEY)).unwrap_or_else(|error| {
            assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
            None
        })
    }
}

/// Returns the bytes with the correct length and checksum in their header. `None` if they are too
/// short for a header.
fn with_right_sum(bytes: &[u8]) -> Option<Vec<u8>> {
    let payload = bytes.get(16..)?;
    let mut res = bytes.to_vec();
    res[..2].copy_from_slice(&[0xc1, 0xca]);
    res[4..12].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&res[2..12]);
    sum.update(payload);
    res[12..16].copy_from_slice(&sum.finalize().to_le_bytes());
    Some(res)
}
