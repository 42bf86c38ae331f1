//! Keys and values of every kind, and namespaces.

use bytes::Bytes;
use cache_core::store::{Expiry, Namespace, SetMode};

use crate::support::{PATIENT, store, text};

const KEYS: &[&str] = &[
    ":1:a",
    "::1",
    ":x:1:a",
    "shop:1:a",
    "shop:1:ü",
    "shop:-2:a",
    "shop:eu:1:a",
    "shop;x",
    "shop;:1:a",
    "shop:",
    "shop",
    "shop:1",
    "shop:1:",
    "Shop:1:a",
    "shop:1:\u{10ffff}",
    "shop:\u{10ffff}",
    "sho",
    "shop:x",
    "shoq:1:a",
    "shop:1:%",
    "shop:1:_",
    "shop%:1:a",
    "ſhop:1:a",
    "shop:1:'\";--",
    "e\u{301}:1:a",
    "é:1:a",
];

async fn filled(location: &str) -> std::sync::Arc<dyn cache_core::store::Backend> {
    let store = store(location, PATIENT);
    for key in KEYS {
        let value = Bytes::from(key.as_bytes());
        store.set(key, value, Expiry::Never, SetMode::Always).await.unwrap();
    }
    for key in KEYS {
        assert_eq!(store.get(key).await.unwrap().unwrap(), key.as_bytes(), "{key}");
    }
    store
}

#[tokio::test]
async fn clear_removes_exactly_the_namespace() {
    for prefix in
        ["", "shop", "shop:eu", "shop;x", "shop;", "Shop", "e\u{301}", "x", "shop%", "sh_p"]
    {
        let store = filled(":memory:").await;
        let namespace = Namespace::new(prefix).unwrap();
        store.clear(&namespace).await.unwrap();
        for key in KEYS {
            assert_eq!(store.has(key).await.unwrap(), !namespace.contains(key), "{prefix}: {key}");
        }
    }
}

/// More than one step of a clear.
#[tokio::test]
async fn clear_finds_all_keys_between_those_of_other_namespaces() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&text(&folder.path().join("cache.db")), PATIENT);
    let keys: Vec<_> = (0..1700).flat_map(|i| [format!("a:1:{i}"), format!("a:b:1:{i}")]).collect();
    let items: Vec<_> = keys.iter().map(|it| (it.as_str(), Bytes::new())).collect();
    assert!(store.set_many(&items, Expiry::Never).await.iter().all(Result::is_ok));
    store.clear(&Namespace::new("a").unwrap()).await.unwrap();
    let names: Vec<_> = keys.iter().map(String::as_str).collect();
    for (key, found) in names.iter().zip(store.get_many(&names).await) {
        assert_eq!(found.unwrap().is_some(), key.starts_with("a:b:"), "{key}");
    }
}

#[tokio::test]
async fn empty_values_and_values_of_64_mib_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    for location in [text(&folder.path().join("cache.db")), ":memory:".into()] {
        let store = store(&location, PATIENT);
        for len in [0, 1, 64 << 20] {
            let value = Bytes::from(vec![0xa5; len]);
            store.set("k", value.clone(), Expiry::Never, SetMode::Always).await.unwrap();
            assert!(store.get("k").await.unwrap() == Some(value.clone()), "{len}");
            assert!(store.take("k").await.unwrap() == Some(value), "{len}");
        }
        let value = Bytes::from(vec![0; (64 << 20) + 1]);
        let error = store.set("k", value, Expiry::Never, SetMode::Always).await.unwrap_err();
        assert_eq!(error.kind(), cache_core::ErrorKind::TooLarge);
    }
}
