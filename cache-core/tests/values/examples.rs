//! Stored values of every form, as files: each release reads them.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use bytes::Bytes;
use cache_core::{
    Cache, Codec, Compression, Timeout,
    store::{Expiry, SetMode},
};
use cache_memory::Memory;
use serde::{Deserialize, Serialize};

/// The value in the files.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    rate: f64,
    tags: Vec<Option<String>>,
    rights: BTreeMap<String, Right>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Right {
    None,
    Read(u8),
    Write { until: i32 },
}

fn user() -> User {
    User {
        id: u64::MAX,
        name: "Ada ß".into(),
        rate: 0.1,
        tags: vec![Some("a".repeat(1000)), None, Some("a".repeat(1000))],
        rights: [
            ("a".into(), Right::None),
            ("b".into(), Right::Read(7)),
            ("c".into(), Right::Write { until: -1 }),
        ]
        .into(),
    }
}

/// The caller's own bytes in the files.
const RAW: &[u8] = b"\x00\xff\r\nraw";
const LIKE_A_HEADER: &[u8] = b"\xc1\xca\x14\0";

const USERS: &[(&str, Codec, Compression)] = &[
    ("json", Codec::Json, Compression::None),
    ("json-lz4", Codec::Json, Compression::Lz4),
    ("json-zstd", Codec::Json, Compression::Zstd),
    ("msgpack", Codec::MsgPack, Compression::None),
    ("msgpack-lz4", Codec::MsgPack, Compression::Lz4),
    ("msgpack-zstd", Codec::MsgPack, Compression::Zstd),
    ("postcard", Codec::Postcard, Compression::None),
    ("postcard-lz4", Codec::Postcard, Compression::Lz4),
    ("postcard-zstd", Codec::Postcard, Compression::Zstd),
];

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/values/corpus");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A cache that has the bytes of this file.
fn cache(name: &str) -> Cache {
    let cache = Cache::new("examples", Memory::new()).strict();
    let store = Arc::clone(cache.backend()).views().sync.unwrap();
    store.set(":1:k", file(name).into(), Expiry::Never, SetMode::Always).unwrap();
    cache
}

#[test]
fn stored_values_of_every_form_are_read() {
    for (name, ..) in USERS {
        assert_eq!(cache(name).blocking().get("k").unwrap(), Some(user()), "{name}");
    }
    let integer = cache("integer").blocking();
    assert_eq!(integer.get("k").unwrap(), Some(-41));
    assert_eq!(integer.incr("k", 83).unwrap(), 42);
}

#[test]
fn stored_bytes_are_read_unchanged() {
    let read = |name| cache(name).blocking().bytes().get("k").unwrap().unwrap();
    assert_eq!(read("raw"), RAW);
    assert_eq!(read("raw-like-a-header"), LIKE_A_HEADER);
    // The stored form of a value, without header and compression.
    let json = serde_json::to_vec(&user()).unwrap();
    for name in ["json", "json-lz4", "json-zstd"] {
        assert_eq!(read(name), json, "{name}");
    }
}

#[test]
fn values_are_written_as_in_the_files() {
    let stored = |cache: &Cache| {
        let store = Arc::clone(cache.backend()).views().sync.unwrap();
        store.get(":1:k").unwrap().unwrap()
    };
    for (name, codec, compression) in USERS {
        let cache = Cache::builder(Memory::new()).codec(*codec).compression(*compression);
        let cache = cache.build("examples").unwrap();
        cache.blocking().set("k", &user(), Timeout::Never).unwrap();
        // Another release of a compressor may write other bytes.
        if *compression == Compression::None {
            assert_eq!(stored(&cache), file(name), "{name}");
        } else {
            assert_eq!(stored(&cache)[..8], file(name)[..8], "{name}");
        }
        cache.blocking().set("k", &-41, Timeout::Never).unwrap();
        assert_eq!(stored(&cache), file("integer"));
        for (name, bytes) in [("raw", RAW), ("raw-like-a-header", LIKE_A_HEADER)] {
            cache.blocking().bytes().set("k", &Bytes::from_static(bytes), Timeout::Never).unwrap();
            assert_eq!(stored(&cache), file(name), "{name}");
        }
    }
}

#[test]
fn entries_with_a_revision_are_read_and_written_as_in_the_files() {
    let cache = |name: Option<&str>| {
        let cache = Cache::builder(Memory::new()).revisions(true).build("examples").unwrap();
        let store = Arc::clone(cache.backend()).views().sync.unwrap();
        if let Some(name) = name {
            store.set(":1:k", file(name).into(), Expiry::Never, SetMode::Always).unwrap();
        }
        (cache.strict().blocking(), store)
    };
    let (value, store) = cache(Some("revision"));
    assert_eq!(value.get("k").unwrap(), Some(user()));
    assert!(!value.set_revision("k", &1, 6, Timeout::Never).unwrap());
    assert!(value.set_revision("k", &user(), 7, Timeout::Never).unwrap());
    assert_eq!(store.get(":1:k").unwrap().unwrap(), file("revision"));
    let (floor, store) = cache(Some("floor"));
    assert!(!floor.has_key("k").unwrap());
    assert!(!floor.set_revision("k", &1, 7, Timeout::Never).unwrap());
    assert_eq!(store.get(":1:k").unwrap().unwrap(), file("floor"));
    assert!(floor.set_revision("k", &1, 8, Timeout::Never).unwrap());

    let (new, store) = cache(None);
    assert!(new.set_revision("k", &user(), 7, Timeout::Never).unwrap());
    assert_eq!(store.get(":1:k").unwrap().unwrap(), file("revision"));
    assert!(new.delete_revision("k", 7, Timeout::Never).unwrap());
    assert_eq!(store.get(":1:k").unwrap().unwrap(), file("floor"));
}

/// The keys of the markers of the tags `org:3` and `user:7`, and the versions in the files.
const MARKERS: [(&str, &str); 2] =
    [(":tag:71550b602715c061", "028q5cu4qnjff"), (":tag:04c800f78986c1be", "0000000000001")];

#[test]
fn values_with_tags_are_read_and_written_as_in_the_files() {
    for (name, codec) in [("tagged", Codec::Json), ("tagged-msgpack", Codec::MsgPack)] {
        let cache = Cache::builder(Memory::new()).codec(codec).tags(true).build("examples");
        let cache = cache.unwrap().strict();
        let store = Arc::clone(cache.backend()).views().sync.unwrap();
        let put = |key: &str, bytes: Vec<u8>| {
            store.set(key, bytes.into(), Expiry::Never, SetMode::Always).unwrap();
        };
        put(":1:k", file(name));
        for (key, version) in MARKERS {
            put(key, version.into());
        }
        let cache = cache.blocking();
        assert_eq!(cache.get("k").unwrap(), Some(user()), "{name}");
        cache.with_tags(["org:3", "user:7"]).set("j", &user(), Timeout::Never).unwrap();
        assert_eq!(store.get(":1:j").unwrap().unwrap(), file(name), "{name}");
        cache.invalidate_tags(["user:7"]).unwrap();
        assert_eq!(cache.get::<User>("k").unwrap(), None, "{name}");
    }
}
