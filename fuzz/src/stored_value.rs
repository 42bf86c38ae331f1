//! Stored bytes that any program may have written.

use std::{collections::HashMap, sync::Arc};

use cache_core::{
    BlockingCache, Cache, ErrorKind, Timeout,
    store::{Expiry, SetMode, SyncBackend, payload_len},
};
use cache_memory::Memory;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    allocations::at_most,
    value_header::{self, Expected, HEADER_LEN, LEN},
};

const KEY: &str = "k";
const STORED_KEY: &str = ":1:k";

/// The largest value of the store, also uncompressed.
const MAX_VALUE_LEN: usize = 64 << 10;

/// Reads any bytes as stored ones, as values of many types and as a caller's own bytes; then once
/// more with a right header.
///
/// # Panics
/// If a read returns a value that the bytes do not contain, or a caller's own bytes are changed.
pub fn stored_value(bytes: &[u8]) {
    thread_local! {
        static STORE: Store = Store::new();
    }
    STORE.with(|store| {
        store.check(bytes);
        if let Some(mended) = with_right_header(bytes).filter(|it| it != bytes) {
            store.check(&mended);
        }
    });
}

struct Store {
    cache: BlockingCache,
    bytes: Arc<dyn SyncBackend>,
}

/// A type that uses each part of serde's data model.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "it is only decoded")]
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
#[expect(dead_code, reason = "it is only decoded")]
enum Kind {
    Unit,
    New(u8),
    Tuple(i64, bool),
    Struct { nested: Option<Box<Kind>> },
}

impl Store {
    fn new() -> Self {
        let memory = Memory::builder().max_value_bytes(MAX_VALUE_LEN as u64).build().unwrap();
        let cache = Cache::new("fuzz", memory).strict();
        let bytes = Arc::clone(cache.backend()).views().sync.unwrap();
        Self { cache: cache.blocking(), bytes }
    }

    fn put(&self, bytes: &[u8]) {
        let bytes = bytes.to_vec().into();
        self.bytes.set(STORED_KEY, bytes, Expiry::Never, SetMode::Always).unwrap();
    }

    fn check(&self, bytes: &[u8]) {
        // The store refuses a value that is too large uncompressed.
        if payload_len(bytes) > MAX_VALUE_LEN {
            return;
        }
        self.check_header(bytes);
        self.decodes::<Value>(bytes);
        self.decodes::<Everything>(bytes);
        self.decodes::<Vec<u8>>(bytes);
        self.decodes::<i64>(bytes);
        self.decodes::<String>(bytes);
        self.decodes::<()>(bytes);
        let number = self.decodes::<i128>(bytes);
        self.put(bytes);
        match self.cache.incr(KEY, -1) {
            // `incr` and `get` agree on which bytes are an integer.
            Ok(it) => assert_eq!(number, Some(i128::from(it) + 1)),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::NotAnInteger | ErrorKind::Overflow),
                    "{error}"
                );
            }
        }
        // A caller's own bytes may begin like a header.
        self.cache.bytes().set(KEY, bytes, Timeout::Never).unwrap();
        assert_eq!(self.cache.bytes().get(KEY).unwrap().as_deref(), Some(bytes));
    }

    /// The cache reads the header as its documentation says.
    fn check_header(&self, bytes: &[u8]) {
        self.put(bytes);
        let read = self.cache.bytes().get(KEY);
        let is_kept = self.bytes.has(STORED_KEY).unwrap();
        match (value_header::expected(bytes), read) {
            (Expected::Payload(payload), Ok(read)) => assert_eq!(read.as_deref(), Some(payload)),
            (Expected::Compressed(len), Ok(Some(read))) => {
                assert_eq!(len, Some(read.len() as u64));
            }
            (Expected::Compressed(_), Err(error)) => assert_eq!(error.kind(), ErrorKind::Codec),
            (expected, Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
                let right = if is_kept { Expected::Kept } else { Expected::Removed };
                assert_eq!(expected, right, "{error}");
            }
            (expected, Ok(read)) => panic!("{expected:?}, but {read:?} was read"),
        }
    }

    fn decodes<T: DeserializeOwned>(&self, bytes: &[u8]) -> Option<T> {
        self.put(bytes);
        // serde reserves up to 1 MiB for a length that the bytes claim, and a small map takes some
        // hundred bytes.
        let len = payload_len(bytes).max(bytes.len());
        let limit = (4 << 20) + 1000 * len;
        at_most(limit, || self.cache.get::<T>(KEY)).unwrap_or_else(|error| {
            assert_eq!(error.kind(), ErrorKind::Codec, "{error}");
            None
        })
    }
}

/// Returns the bytes with a header that is right in its lengths and its checksum, if they have room
/// for one.
fn with_right_header(bytes: &[u8]) -> Option<Vec<u8>> {
    value_header::mended(bytes).or_else(|| {
        let mut shortest = bytes.to_vec();
        shortest.get_mut(HEADER_LEN..HEADER_LEN + 2)?.copy_from_slice(&[LEN, 0]);
        value_header::mended(&shortest)
    })
}
