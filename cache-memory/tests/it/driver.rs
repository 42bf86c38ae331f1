//! From the settings to the store.

use cache_core::{Caches, ErrorKind, secs};

#[tokio::test]
async fn aliases_of_one_location_share_a_store_and_others_do_not() {
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

/// Someone who changed the location and forgot the backend would have a cache that no other process sees.
#[test]
fn address_of_a_server_as_location_is_refused_without_showing_it() {
    let url = "redis://:markedpassword@db.example";
    let text = format!("[caches.default]\nbackend = 'memory'\nlocation = '{url}'");
    let error = Caches::from_toml(&text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.context("setting"), Some("caches.default.location"));
    assert!(error.message().contains("a URL") && error.message().contains("`backend`"), "{error}");
    assert!(!format!("{error} {error:?}").contains("marked"), "{error}");
}

#[test]
fn two_aliases_of_one_location_with_different_options_are_an_error_that_names_both() {
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
fn options_that_make_no_sense_are_refused_by_name() {
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
