//! The table `[caches.<alias>.near]`.

use cache_core::{Caches, NearInvalidation, testing::Faulty};
use cache_memory::Memory;

fn build(near: &str) -> cache_core::Result<Caches> {
    let text = format!("[caches.default]\nbackend = 'memory'\n[caches.default.near]\n{near}");
    Caches::builder().backend("default", Faulty::new(Memory::new())).toml(&text)?.build()
}

#[tokio::test]
async fn table_without_settings_has_the_defaults() {
    let caches = build("").unwrap();
    let near = caches.get("default").unwrap().stats().near.unwrap();
    assert_eq!((near.invalidation, near.is_bypassed), (NearInvalidation::None, false));
    let report = caches.check().await;
    assert_eq!(report.to_string(), "default: ok, near tier with invalidation none");
    let plain = Caches::builder().backend("default", Memory::new()).build().unwrap();
    assert_eq!(plain.get("default").unwrap().stats().near, None);
    assert_eq!(plain.check().await.to_string(), "default: ok");
}

#[test]
fn wrong_setting_is_an_error_that_names_it() {
    for (near, words) in [
        ("max_entries = 0", &["near.max_entries", "at least 1"][..]),
        ("max_bytes = 1000", &["near.max_bytes", "64KiB"]),
        ("timeout = 0", &["near.timeout", "100ms to 1h"]),
        ("timeout = '2h'", &["near.timeout", "100ms to 1h"]),
        ("invalidation = 'push'", &["near.invalidation", "tracking", "pubsub"]),
        ("invalidation = 'pubsub'", &["near.invalidation", "does not report changes by", "none"]),
        ("invalidation = 'postgres'", &["near.invalidation", "does not report changes by", "none"]),
        ("invalidation = 'tracking'", &["near.invalidation", "does not report changes", "none"]),
        ("size = 1", &["near.size", "max_entries"]),
    ] {
        let text = build(near).unwrap_err().to_string();
        for word in words {
            assert!(text.contains(word), "{near}: {text}");
        }
    }
}

#[test]
fn tier_in_front_of_a_store_in_the_process_is_an_error() {
    let text = "[caches.default]\nbackend = 'memory'\nnear = {}";
    let error = Caches::from_toml(text).unwrap_err().to_string();
    assert!(error.contains("caches.default.near") && error.contains("in the process"), "{error}");
    let text = "[caches.default]\nbackend = 'dummy'\nnear = {}";
    assert!(Caches::from_toml(text).is_ok(), "it replaces any store in tests");
}
