//! The settings alone choose the store.

use cache_core::{Caches, ErrorKind, Result, Timeout, secs};
use tempfile::TempDir;
use third_party_store as _; // links the store that the settings name

/// Returns settings of one cache with a file in this folder. The deadline is for busy machines.
fn settings(folder: &TempDir, options: &str) -> String {
    let file = folder.path().join("cache.redb");
    let place = format!("backend = 'redb'\nlocation = '{}'", file.display());
    format!("[caches.default]\n{place}\ndeadline = '60s'\n{options}")
}

// ANCHOR: chosen
/// The code of a service. It does not depend on the store.
async fn visit(caches: &Caches) -> Result<i64> {
    caches.get("default")?.incr_or("visits", 1, 0, secs(3600)).await
}

#[tokio::test]
async fn service_uses_the_store_by_a_change_of_settings_alone() {
    let folder = tempfile::tempdir().unwrap();
    for durable in ["", "options.durable = false"] {
        let settings = settings(&folder, durable);
        let before = Caches::from_toml(&settings).unwrap();
        let count = visit(&before).await.unwrap();
        before.close().await.unwrap();
        // Here the program ends and starts again.
        let after = Caches::from_toml(&settings).unwrap();
        assert_eq!(visit(&after).await.unwrap(), count + 1, "entries outlive the process");
        after.close().await.unwrap();
    }
}
// ANCHOR_END: chosen

#[tokio::test]
async fn aliases_of_one_file_share_it_and_must_have_the_same_options() {
    let folder = tempfile::tempdir().unwrap();
    let two = |options: &str| {
        let one = settings(&folder, "options.max_entries = 5\nkey_prefix = 'a'");
        let other = settings(&folder, options).replace("default", "other");
        Caches::from_toml(&format!("{one}\n{other}"))
    };
    let caches = two("options.max_entries = 5\nkey_prefix = 'b'").unwrap();
    caches.get("default").unwrap().set("k", "a", Timeout::Default).await.unwrap();
    caches.get("other").unwrap().set("k", "b", Timeout::Default).await.unwrap();
    let found = caches.get("default").unwrap().get::<String>("k").await.unwrap();
    assert_eq!(found.as_deref(), Some("a"));
    let error = two("options.max_entries = 6").unwrap_err();
    assert_eq!(error.context("setting"), Some("caches.other.options"), "{error}");
}

#[test]
fn error_names_the_wrong_setting() {
    let folder = tempfile::tempdir().unwrap();
    for (options, setting) in [
        ("options.max_entires = 5", "caches.default.options.max_entires"),
        ("options.max_entries = 0", "caches.default.options.max_entries"),
        ("options.max_value_bytes = 'big'", "caches.default.options.max_value_bytes"),
    ] {
        let error = Caches::from_toml(&settings(&folder, options)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert_eq!(error.context("setting"), Some(setting), "{error}");
    }
    let error = Caches::from_toml("caches.default.backend = 'redb'").unwrap_err();
    assert_eq!(error.context("setting"), Some("caches.default.location"), "{error}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "building opens nothing");
}

#[tokio::test]
async fn locked_file_is_unavailable_until_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| Caches::from_toml(&settings(&folder, "")).unwrap());
    visit(&first).await.unwrap();
    assert_eq!(visit(&second).await.unwrap_err().kind(), ErrorKind::Unavailable);
    // A read fails open: the service goes on without its store.
    assert_eq!(second.get("default").unwrap().get::<i64>("visits").await.unwrap(), None);
    first.close().await.unwrap();
    assert_eq!(visit(&second).await.unwrap(), 2);
}

#[tokio::test]
async fn full_store_keeps_the_entries_that_live_longest() {
    let folder = tempfile::tempdir().unwrap();
    let caches = Caches::from_toml(&settings(&folder, "options.max_entries = 3")).unwrap();
    let cache = caches.get("default").unwrap();
    for (key, lifetime) in [("hour", 3600), ("minute", 60), ("day", 86400), ("new", 300)] {
        cache.set(key, &lifetime, secs(lifetime)).await.unwrap();
    }
    let found = cache.get_many::<u64, _>(["hour", "minute", "day", "new"]).await.unwrap();
    assert_eq!(found, [("hour", 3600), ("day", 86400), ("new", 300)].into());
}
