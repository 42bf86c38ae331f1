//! Settings that are refused when caches are built, and what their errors show.

#![allow(missing_docs)]

use cache_core::{Caches, ErrorKind, Settings};
use cache_memory as _;

#[test]
fn retries_of_a_store_that_never_waits_are_refused() {
    let error =
        Caches::from_toml("[caches.default]\nbackend = 'memory'\nretry.retries = 2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    for word in ["caches.default.retry.retries", "`memory`", "remove"] {
        assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn a_backend_that_is_no_name_is_not_shown() {
    for backend in [
        "redis://ada:hunter2@localhost/0",
        "redis hunter2",
        "postgres://hunter2",
        "hunter2@localhost",
    ] {
        let text = format!("[caches.default]\nbackend = '{backend}'");
        let settings = Settings::from_toml(&text).unwrap();
        let error = Caches::from_toml(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("caches.default.backend"), "{error}");
        for shown in [format!("{error} {error:?}"), format!("{settings:?}")] {
            assert!(!shown.contains("hunter2"), "a password shows: {shown}");
        }
    }
    let error = Caches::from_toml("[caches.default]\nbackend = 'redis://h'").unwrap_err();
    assert!(error.to_string().contains("`location`"), "{error}");
    let error = Caches::from_toml("[caches.default]\nbackend = 'memroy'").unwrap_err();
    assert!(error.to_string().contains("did you mean `memory`"), "{error}");
}
