//! The settings, and the location of the store.

use std::{fs, os::unix::fs::symlink};

use cache_core::{Caches, Clock, ErrorKind, secs};

use crate::place::{Place, cache, of_toml, toml};

#[test]
fn building_does_not_create_the_directory() {
    let place = Place::new();
    let _cache = cache(&place.path, "");
    assert!(!place.path.exists());
}

#[tokio::test]
async fn directory_is_created_by_the_first_write_and_not_by_a_read() {
    let place = Place::new();
    let path = place.path.join("a/b");
    let cache = cache(&path, "");
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    assert!(!cache.delete("k").await.unwrap());
    assert!(!path.exists());
    cache.set("k", &1, secs(60)).await.unwrap();
    assert!(path.exists());
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn aliases_of_one_directory_share_a_store_and_must_have_equal_options() {
    let place = Place::new();
    let path = place.path.display();
    let two = |a: &str, b: &str| {
        Caches::from_toml(&format!(
            "[caches.default]\nbackend = 'file'\nlocation = '{path}'\n{a}\n\
             [caches.b]\nbackend = 'file'\nlocation = '{path}/.'\n{b}"
        ))
    };
    let caches = two("", "").unwrap();
    caches.get("default").unwrap().set("k", &1, secs(60)).await.unwrap();
    assert_eq!(caches.get("b").unwrap().get::<i32>("k").await.unwrap(), Some(1));
    let error = two("", "options.max_entries = 5").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`b`") && error.to_string().contains("`default`"));
}

#[test]
fn wrong_setting_is_named_by_its_path() {
    for (location, option, setting, what) in [
        ("", "", "location", "is missing"),
        ("location = ' '", "", "location", "is missing"),
        ("location = ['a', 'b']", "", "location", "one place"),
        ("location = 'file:///marked'", "", "location", "URL"),
        ("location = '~/marked'", "", "location", "${HOME}"),
        ("location = '/'", "", "location", "root"),
        ("location = 'marked'", "max_entries = 0", "options.max_entries", "at least 1"),
        ("location = 'marked'", "max_bytes = '4095B'", "options.max_bytes", "4KiB"),
        ("location = 'marked'", "max_bytes = 'marked'", "options.max_bytes", ""),
        ("location = 'marked'", "max_value_bytes = 0", "options.max_value_bytes", "1 byte"),
        ("location = 'marked'", "max_value_bytes = '2GiB'", "options.max_value_bytes", "max_bytes"),
        ("location = 'marked'", "direct_reads = 'marked'", "options.direct_reads", ""),
        ("location = 'marked'", "threads = 0", "options.threads", "1 to 256"),
        ("location = 'marked'", "max_files = 3", "options", "max_entries"),
    ] {
        let text = format!(
            "[caches.default]\nbackend = 'file'\n{location}\n[caches.default.options]\n{option}"
        );
        let error = Caches::from_toml(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.contains(&format!("caches.default.{setting}")), "{option}: {text}");
            assert!(text.contains(what), "{location} {option}: {text}");
            assert!(!text.contains("marked"), "{text}");
        }
    }
}

#[tokio::test]
async fn location_that_is_a_link_or_a_file_is_refused() {
    let place = Place::new();
    fs::create_dir(place.outer().join("real")).unwrap();
    symlink(place.outer().join("real"), &place.path).unwrap();
    for _ in 0..2 {
        let cache = cache(&place.path, "");
        for error in [
            cache.set("k", &1, secs(60)).await.unwrap_err(),
            cache.get::<i32>("k").await.unwrap_err(),
            cache.check().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("symbolic link or not a directory"), "{error}");
        }
        fs::remove_file(&place.path).unwrap();
        fs::write(&place.path, "a file").unwrap();
    }
    assert_eq!(fs::read_dir(place.outer().join("real")).unwrap().count(), 0);
}

#[tokio::test]
async fn check_creates_the_directory_and_calls_after_close_open_it_again() {
    let place = Place::new();
    let cache = of_toml(Clock::system(), &toml(&place.path, "")).unwrap();
    cache.check().await.unwrap();
    assert!(place.path.join("counts").exists());
    cache.set("k", &1, secs(60)).await.unwrap();
    cache.close().await.unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "the call opens the directory again");
    cache.close().await.unwrap();
    cache.close().await.unwrap();
}
