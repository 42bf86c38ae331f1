//! Compressed values.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{
    BlockingCache, Cache, Codec, Compression, ErrorKind, Timeout,
    config::ByteSize,
    store::{Expiry, Inline, IntoBackend, SetMode, SyncBackend, payload_len},
    testing::Model,
};
use cache_memory::Memory;

use super::{Fate, fate};

const METHODS: [Compression; 2] = [Compression::Lz4, Compression::Zstd];

/// The largest compressed value of a store without a known limit.
const MAX_LEN: u64 = 512 << 20;

struct Store {
    cache: BlockingCache,
    bytes: Arc<dyn SyncBackend>,
}

impl Store {
    /// Creates a store whose values have at most 100,000 bytes.
    fn new(codec: Codec, compression: Compression) -> Self {
        let memory = Memory::builder().max_value_bytes(100_000).build().unwrap();
        Self::over(memory, codec, compression)
    }

    fn over(store: impl IntoBackend, codec: Codec, compression: Compression) -> Self {
        let cache = Cache::builder(store).codec(codec).compression(compression);
        let cache = cache.build("values").unwrap().strict();
        let bytes = Arc::clone(cache.backend()).views().sync.unwrap();
        Self { cache: cache.blocking(), bytes }
    }

    /// Stores a value and returns its bytes.
    fn stored<T: serde::Serialize + ?Sized>(&self, value: &T) -> Bytes {
        self.cache.set("k", value, Timeout::Never).unwrap();
        self.bytes.get(":1:k").unwrap().unwrap()
    }

    /// Reads stored bytes.
    fn read(&self, stored: Vec<u8>) -> cache_core::Result<Option<String>> {
        self.bytes.set(":1:k", stored.into(), Expiry::Never, SetMode::Always).unwrap();
        self.cache.get("k")
    }
}

#[test]
fn large_value_is_smaller_with_each_codec_and_reads_back() {
    for codec in [Codec::Json, Codec::MsgPack, Codec::Postcard] {
        for compression in METHODS {
            let store = Store::new(codec, compression);
            let value = "a row; ".repeat(1000);
            let stored = store.stored(&value);
            assert!(stored.len() < 500, "{codec:?}, {compression:?}: {}", stored.len());
            assert!(payload_len(&stored) >= 7000, "the limit counts the caller's bytes");
            assert_eq!(fate(&store.cache, &value), Fate::Kept);
            assert_eq!(store.cache.get_many::<String, _>(["k"]).unwrap()["k"], value);
            let other = Cache::builder(Arc::new(Inline::new(Memory::new()))).build("other");
            assert_eq!(fate(&other.unwrap().blocking(), &value), Fate::Kept);
        }
    }
}

#[test]
fn small_value_and_integer_are_stored_as_they_are() {
    for compression in METHODS {
        let store = Store::new(Codec::Json, compression);
        let small = "a".repeat(1000);
        assert_eq!(store.stored(&small), format!("\"{small}\""));
        assert_eq!(store.stored(&7), "7");
    }
}

#[test]
fn bytes_are_compressed_and_read_back_unchanged() {
    for compression in METHODS {
        let store = Store::new(Codec::Json, compression);
        let bytes = store.cache.bytes();
        for value in [&b"\0\xff".repeat(5000)[..], &b"\xc1\xca".repeat(5000), b"\xc1\xca", b"7"] {
            bytes.set("k", value, Timeout::Never).unwrap();
            let stored = store.bytes.get(":1:k").unwrap().unwrap();
            assert!(stored.len() < 500, "{compression:?}: {}", stored.len());
            assert_eq!(payload_len(&stored), value.len());
            assert_eq!(bytes.get("k").unwrap().as_deref(), Some(value));
        }
        assert_eq!(bytes.incr("k", 1).unwrap(), 8);
    }
}

#[test]
fn value_without_repetition_is_stored_as_it_is() {
    let mut state = 1_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let noise: Vec<f64> = (0..1000).map(|_| f64::from_bits(random())).collect();
    for compression in METHODS {
        let store = Store::new(Codec::Postcard, compression);
        let stored = store.stored(&noise);
        // The header, the length of the list, and the numbers.
        assert_eq!(stored.len(), 20 + 2 + 8 * 1000, "{compression:?}");
    }
}

#[test]
fn limit_of_the_store_counts_uncompressed_bytes() {
    for compression in METHODS {
        let store = Store::new(Codec::Json, compression);
        assert_eq!(fate(&store.cache, &"a".repeat(99_998)), Fate::Kept);
        let error = store.cache.set("k", &"a".repeat(99_999), Timeout::Never).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn compressed_bytes_that_lie_about_their_length_are_a_miss() {
    for compression in METHODS {
        let store = Store::over(Model::default(), Codec::Json, compression);
        let stored = store.stored(&"a".repeat(5000));
        for len in [0, 1, 5001, 5003, 1 << 20, MAX_LEN + 1, u64::from(u32::MAX), u64::MAX] {
            let mut bad = stored.to_vec();
            bad[20..28].copy_from_slice(&len.to_le_bytes());
            mend(&mut bad);
            let error = store.read(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Codec, "{len}");
            let is_over = error.to_string().contains("`max_value_bytes`");
            assert_eq!(is_over, len > MAX_LEN, "{len}: {error}");
        }
        let mut cut = stored.to_vec();
        cut.truncate(25);
        mend(&mut cut);
        assert_eq!(store.read(cut).unwrap_err().kind(), ErrorKind::Codec);
        assert_eq!(store.read(stored.to_vec()).unwrap(), Some("a".repeat(5000)));
    }
}

/// Corrects the length of the payload and the checksum.
fn mend(stored: &mut [u8]) {
    let len = stored.len() as u64 - 20;
    stored[8..16].copy_from_slice(&len.to_le_bytes());
    let sum = crc(&[&stored[2..16], &stored[20..]].concat());
    stored[16..20].copy_from_slice(&sum.to_le_bytes());
}

/// CRC-32, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[test]
fn threshold_is_used_and_refused_without_compression() {
    let build = |compression, from| {
        let cache = Cache::builder(Memory::new()).compression(compression);
        cache.compress_from(ByteSize::new(from)).build("values")
    };
    let error = build(Compression::None, 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.context("setting"), Some("caches.values.compress_from"));
    let cache = build(Compression::Lz4, 100).unwrap();
    let bytes = Arc::clone(cache.backend()).views().sync.unwrap();
    cache.blocking().set("k", &"a".repeat(200), Timeout::Never).unwrap();
    assert!(bytes.get(":1:k").unwrap().unwrap().len() < 100);
}
