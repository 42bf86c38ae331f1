//! Entries that a newer release wrote.

use std::sync::Arc;

use cache_core::{
    Cache, ErrorKind, Timeout,
    store::{Expiry, SetMode, SyncBackend},
};
use cache_memory::Memory;

/// The payload `[1,2]` with an unknown flag.
const FLAG: &[u8] = b"\xc1\xca\x14\0\0\0\x80\0\x05\0\0\0\0\0\0\0\x8d\x1b\x23\xbd[1,2]";
/// The payload `[1,2]` with unknown fields, which no flag announces.
const FIELDS: &[u8] = b"\xc1\xca\x18\0\0\0\0\0\x05\0\0\0\0\0\0\0\x0f\x21\x45\xcemore[1,2]";

/// A cache whose store has these bytes under `k`, and the store.
fn stored(bytes: &'static [u8]) -> (Cache, Arc<dyn SyncBackend>) {
    let cache = Cache::new("values", Memory::new());
    let store = Arc::clone(cache.backend()).views().sync.unwrap();
    store.set(":1:k", bytes.into(), Expiry::Never, SetMode::Always).unwrap();
    (cache, store)
}

fn read(store: &Arc<dyn SyncBackend>) -> Option<bytes::Bytes> {
    store.get(":1:k").unwrap()
}

#[test]
fn value_with_an_unknown_flag_is_a_miss_and_kept() {
    let (cache, store) = stored(FLAG);
    let strict = cache.strict().blocking();
    let cache = cache.blocking();
    assert_eq!(cache.get::<Vec<u8>>("k").unwrap(), None);
    assert!(cache.get_many::<Vec<u8>, _>(["k"]).unwrap().is_empty());
    let error = strict.get::<Vec<u8>>("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.to_string().contains("newer release"), "{error}");
    assert_eq!(cache.stats().undecodable, 3);
    assert_eq!(read(&store).as_deref(), Some(FLAG), "the entry is kept");
}

#[test]
fn bytes_with_an_unknown_flag_are_a_miss_and_kept() {
    let (cache, store) = stored(FLAG);
    let strict = cache.strict().blocking();
    let cache = cache.blocking();
    assert_eq!(cache.bytes().get("k").unwrap(), None);
    assert_eq!(strict.bytes().get("k").unwrap_err().kind(), ErrorKind::Codec);
    assert_eq!(cache.stats().undecodable, 2);
    assert_eq!(read(&store).as_deref(), Some(FLAG), "the entry is kept");
}

#[test]
fn entry_with_an_unknown_flag_can_be_overwritten() {
    let (cache, _) = stored(FLAG);
    let cache = cache.blocking();
    cache.set("k", &7, Timeout::Never).unwrap();
    assert_eq!(cache.get::<u8>("k").unwrap(), Some(7));
}

#[test]
fn unknown_fields_are_skipped() {
    let (cache, _) = stored(FIELDS);
    let cache = cache.blocking();
    assert_eq!(cache.get::<Vec<u8>>("k").unwrap(), Some(vec![1, 2]));
    assert_eq!(cache.bytes().get("k").unwrap().as_deref(), Some(&b"[1,2]"[..]));
}
