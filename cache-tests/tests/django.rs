//! Statements of the chapter "Coming from Django", checked with every store.

#![cfg(target_os = "linux")]

use std::time::Duration;

use cache_core::{Caches, ErrorKind, Ttl, secs};

#[tokio::test]
async fn statements_of_the_django_chapter_hold_on_every_store() {
    for store in cache_tests::stores().unwrap() {
        let caches = Caches::from_toml(&store.settings()).unwrap();
        let cache = caches.get("default").unwrap().clone().strict();
        cache.set("flag", &true, secs(60)).await.unwrap();
        cache.set("price", &1.5, secs(60)).await.unwrap();
        cache.set("text", "41", secs(60)).await.unwrap();
        for key in ["flag", "price", "text"] {
            let error = cache.incr(key, 1).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotAnInteger, "{store:?}, {key}: {error}");
        }
        assert_eq!(cache.get::<bool>("flag").await.unwrap(), Some(true), "{store:?}");
        let error = cache.set("a b", &1, secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{store:?}");

        let hashed = format!("{}long_keys = \"hash\"\n", store.settings());
        let hashed = Caches::from_toml(&hashed).unwrap();
        let hashed = hashed.get("default").unwrap().clone().strict();
        hashed.set("a b", &1, secs(60)).await.unwrap();
        assert_eq!(hashed.get::<i32>("a b").await.unwrap(), Some(1), "{store:?}");

        cache.set("short", &1, secs(60)).await.unwrap();
        let Some(Ttl::Remaining(left)) = cache.ttl("short").await.unwrap() else {
            panic!("{store:?}: no remaining lifetime right after set");
        };
        let most = if store.name == "memcached" { 62_000 } else { 60_010 };
        assert!(
            left <= Duration::from_millis(most),
            "{store:?}: the ttl is {left:?}, expected at most {most} ms"
        );
    }
}
