//! The settings of the store.

use cache_core::{Caches, ErrorKind, secs};

#[tokio::test]
async fn aliases_share_a_store_only_if_their_location_is_the_same() {
    let caches = Caches::from_toml(
        "[caches.default]\nbackend = 'memory'\nlocation = 'main'\n\
         [caches.b]\nbackend = 'memory'\nlocation = 'main'\n\
         [caches.c]\nbackend = 'memory'",
    )
    .unwrap();
    let [default, b, c] = ["default", "b", "c"].map(|it| caches.get(it).unwrap());
    default.set("k", &1, secs(5)).await.unwrap();
    assert_eq!(b.get::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(c.get::<i32>("k").await.unwrap(), None);
}

/// A user who changes the location but not the backend would get a cache that other processes do
/// not see.
#[test]
fn url_as_location_is_refused_and_not_shown() {
    let url = "redis://:markedpassword@db.example";
    let text = format!("[caches.default]\nbackend = 'memory'\nlocation = '{url}'");
    let error = Caches::from_toml(&text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.context("setting"), Some("caches.default.location"));
    assert!(error.message().contains("a URL") && error.message().contains("`backend`"), "{error}");
    assert!(!format!("{error} {error:?}").contains("marked"), "{error}");
}

#[test]
fn aliases_of_one_location_with_different_options_are_refused_by_name() {
    let error = Caches::from_toml(
        "[caches.default]\nbackend = 'memory'\nlocation = 'main'\n\
         [caches.b]\nbackend = 'memory'\nlocation = 'main'\noptions.max_entries = 5",
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("`b`") && error.to_string().contains("`default`"),
        "{error}"
    );
}

#[test]
fn invalid_option_is_refused_by_name() {
    for (option, name) in [
        ("max_entries = 0", "max_entries"),
        ("max_entries = -1", "max_entries"),
        ("max_bytes = '10'", "max_bytes"),
        ("max_bytes = '64 parsecs'", "max_bytes"),
        ("max_value_bytes = '1GiB'", "max_value_bytes"),
        ("nope = 1", "nope"),
    ] {
        let text = format!("[caches.default]\nbackend = 'memory'\noptions.{option}");
        let error = Caches::from_toml(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let path = format!("caches.default.options.{name}");
        assert!(error.to_string().contains(&path), "`{path}` is not in: {error}");
    }
}
