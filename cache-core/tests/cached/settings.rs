//! The cache of a function: its alias, its namespace and its version.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cache_core::{CACHES, Caches, ErrorKind, cache, cached};

use crate::{MEMORY, Runs, with};

#[cached(cache = "missing", name = "lost")]
fn lost(id: u32) -> u32 {
    id
}

#[cached(cache = "plain", grace = "1h", ttl = "1m", name = "graceful")]
fn graceful(id: u32) -> u32 {
    id
}

#[cached(cache = "plain", tags = ["a"], name = "tagged")]
fn tagged(id: u32) -> u32 {
    id
}

/// A default cache with what the functions of these tests need.
const ALL: &str = "
    caches.default.backend = 'memory'
    caches.default.tags = true
    caches.default.fetch.grace = 0";

/// Returns the message of a panic.
fn panics(code: impl FnOnce() -> u32) -> String {
    let panic = catch_unwind(AssertUnwindSafe(code)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap()
}

#[test]
fn missing_alias_panics_with_the_line_to_add() {
    CACHES.scope_sync(Caches::from_toml(MEMORY).unwrap().leak(), || {
        let message = panics(|| lost(1));
        assert!(
            message.contains("Add `[caches.missing]`") && message.contains("lost"),
            "{message}"
        );
    });
    let message = panics(|| lost(1));
    assert!(message.contains("no caches are installed"), "{message}");
}

#[test]
fn missing_setting_panics_with_the_line_to_add() {
    let settings = "
        caches.default.backend = 'memory'
        caches.plain.backend = 'memory'";
    CACHES.scope_sync(Caches::from_toml(settings).unwrap().leak(), || {
        let message = panics(|| graceful(1));
        assert!(
            message.contains("`grace = 0`") && message.contains("[caches.plain.fetch]"),
            "{message}"
        );
        let message = panics(|| tagged(1));
        assert!(
            message.contains("`tags = true`") && message.contains("[caches.plain]"),
            "{message}"
        );
    });
}

#[tokio::test]
async fn check_reports_an_alias_that_only_a_function_names() {
    let caches = Caches::from_toml(ALL).unwrap();
    let report = caches.check().await;
    assert!(!report.is_ok());
    let of = |alias| report.iter().find(|(it, _)| *it == alias).unwrap().1.clone();
    assert!(of("default").is_ok());
    let error = of("missing").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownAlias);
    assert_eq!(error.context("function"), Some("lost"));
}

#[tokio::test]
async fn check_reports_a_setting_that_a_function_needs() {
    let settings = format!(
        "{ALL}
        caches.missing.backend = 'memory'
        caches.plain.backend = 'memory'"
    );
    let report = Caches::from_toml(&settings).unwrap().check().await;
    let plain = report.iter().find(|(it, _)| *it == "plain").unwrap().1.clone();
    assert_eq!(plain.unwrap_err().kind(), ErrorKind::Config);
    let settings = format!("{settings}\ncaches.plain.tags = true\ncaches.plain.fetch.grace = 0");
    let report = Caches::from_toml(&settings).unwrap().check().await;
    assert!(report.is_ok(), "{report}");
}

#[tokio::test]
async fn namespace_and_version_separate_the_keys() {
    static RUNS: Runs = Runs::new();
    #[cached(key = "{id}", namespace = "users", version = 7)]
    async fn user(id: u32) -> u32 {
        RUNS.next() * 10 + id
    }
    with(MEMORY, async {
        assert_eq!((user(1).await, user(1).await), (11, 11));
        assert_eq!(cache().get::<u32>("1").await.unwrap(), None);
        let users = cache().namespace("users").unwrap();
        assert_eq!(users.get::<u32>("1").await.unwrap(), None);
        assert_eq!(users.at_version(7).get::<u32>("1").await.unwrap(), Some(11));
        users.clear().await.unwrap();
        assert_eq!(user(1).await, 21);
    })
    .await;
}

#[tokio::test]
async fn other_alias_keeps_the_results() {
    static RUNS: Runs = Runs::new();
    #[cached(cache = "default", key = "a")]
    async fn one() -> u32 {
        RUNS.next()
    }
    with(MEMORY, async {
        assert_eq!((one().await, one().await), (1, 1));
        assert_eq!(CACHES["default"].get::<u32>("a").await.unwrap(), Some(1));
    })
    .await;
}
