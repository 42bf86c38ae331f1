//! The content of the files, as the documentation of the crate describes it.

use std::fs;

use cache_core::{
    secs,
    store::{Expiry, SetMode},
};

use crate::place::{Place, cache, store};

#[tokio::test]
async fn file_has_the_documented_format() {
    let place = Place::new();
    let store = store(&place.path, "");
    store.set("shop:1:k", "value".into(), Expiry::Never, SetMode::Always).await.unwrap();
    let bytes = fs::read(place.file()).unwrap();
    assert_eq!(bytes[..4], *b"\xffcch");
    assert_eq!(bytes[4..6], [1, 1], "version, and complete");
    assert_eq!(bytes[6..8], 8_u16.to_le_bytes());
    assert_eq!(bytes[16..24], 5_u64.to_le_bytes());
    assert_eq!(bytes[24..32], 0_u64.to_le_bytes(), "never");
    assert_eq!(&bytes[48..], b"shop:1:kvalue");
    let path = place.file();
    let name = path.strip_prefix(&place.path).unwrap().to_str().unwrap();
    assert_eq!(name.len(), 33);
    assert_eq!(&name[2..3], "/");
}

#[tokio::test]
async fn shorter_value_frees_the_blocks_of_a_longer_one() {
    let place = Place::new();
    let cache = cache(&place.path, "");
    cache.bytes().set("k", &vec![b'x'; 100_000], secs(60)).await.unwrap();
    assert!(fs::metadata(place.file()).unwrap().len() > 100_000);
    cache.bytes().set("k", &[b'y'; 10], secs(60)).await.unwrap();
    assert!(fs::metadata(place.file()).unwrap().len() < 4096);
    assert_eq!(cache.bytes().get("k").await.unwrap().unwrap(), vec![b'y'; 10]);
}

/// The lengths around one page, up to which a write is one step.
#[tokio::test]
async fn values_of_any_length_replace_each_other() {
    let place = Place::new();
    let store = store(&place.path, "");
    let lengths = [0, 1, 4000, 4045, 4046, 4047, 4048, 4049, 4096, 4097, 8192, 70_000];
    for old in lengths {
        for new in lengths {
            for (len, byte) in [(old, b'o'), (new, b'n')] {
                let value = vec![byte; len];
                store
                    .set(":1", value.clone().into(), Expiry::Never, SetMode::Always)
                    .await
                    .unwrap();
                assert_eq!(store.get(":1").await.unwrap().unwrap(), value, "{old} to {new}");
            }
        }
    }
}
