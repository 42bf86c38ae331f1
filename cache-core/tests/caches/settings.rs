//! Settings that are accepted, and settings that are refused.

use std::fs;

use cache_core::{Caches, ErrorKind, Settings};

use crate::{MEMORY, refused};

#[test]
fn invalid_settings_are_refused_at_build() {
    use ErrorKind::Config;
    refused(
        "[caches.a]\nbackend = 'memory'",
        Config,
        &["caches.default", "`a`", "[caches.default]"],
    );
    refused(
        "[caches.default]\nbackend = 'redis'",
        Config,
        &["`redis`", "use cache_redis as _;", "caches.default.backend", "`memory`", "`dummy`"],
    );
    refused("[caches.default]\nbackend = 'Memory'", Config, &["it is spelled `memory` here"]);
    refused("[caches.default]\nbackend = 'Redis'", Config, &["use cache_redis as _;"]);
    refused("[caches.default]\nbackend = 'mine'", Config, &["`mine`", "use that_crate as _;"]);
    refused(
        "[caches.default]\nbackend = 'django.core.cache.backends.locmem.LocMemCache'",
        Config,
        &["Django", "\"memory\""],
    );
    refused(
        &format!("{MEMORY}options = {{ max_entrys = 5 }}"),
        Config,
        &["caches.default.options.max_entrys", "`max_entries`"],
    );
    refused(
        &format!("{MEMORY}options = {{ max_entries = 'many' }}"),
        Config,
        &["caches.default.options.max_entries", "an integer that is not negative", "a string"],
    );
    refused(&format!("{MEMORY}key_prefix = 'a:2'"), Config, &["caches.default.key_prefix", "`2`"]);
    refused(&format!("{MEMORY}key_prefix = 'a b'"), Config, &["caches.default.key_prefix", "0x20"]);
    refused(
        &format!("{MEMORY}location = ['a', 'b']"),
        Config,
        &["caches.default.location", "one place"],
    );
    refused(
        "[caches.default]\nbackend = 'dummy'\nlocation = 'x'",
        Config,
        &["caches.default.location"],
    );
    refused(
        "[caches.default]\nbackend = 'dummy'\noptions = { a = 1 }",
        Config,
        &["caches.default.options.a"],
    );
    refused(
        "[caches.default]\nbackend = 'part'\noptions = { of = 'default' }",
        Config,
        &["caches.default.options", "cyclic cache definition"],
    );
    refused(
        "[caches.default]\nbackend = 'part'\noptions = { of = 'b' }\n[caches.b]\nbackend = 'part'\noptions = { of = 'default' }",
        Config,
        &["cyclic cache definition"],
    );
    refused(
        "[caches.default]\nbackend = 'part'\noptions = { of = 'nope' }",
        ErrorKind::UnknownAlias,
        &["`nope`", "`default`"],
    );
    refused(
        "[caches.default]\nbackend = 'part'",
        Config,
        &["caches.default.options.of", "required"],
    );
}

#[test]
fn django_class_path_is_refused_with_the_name_of_the_backend() {
    for (path, name) in [
        ("django.core.cache.backends.memcached.PyMemcacheCache", "\"memcached\""),
        ("django.core.cache.backends.locmem.LocMemCache", "\"memory\""),
        ("django.core.cache.backends.db.DatabaseCache", "\"db\""),
        ("django.core.cache.backends.filebased.FileBasedCache", "\"file\""),
        ("django_redis.cache.RedisCache", "\"redis\""),
    ] {
        let text = format!("caches.default.backend = '{path}'");
        refused(&text, ErrorKind::Config, &["caches.default.backend", name]);
    }
}

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
fn error_in_a_settings_file_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    let error = Caches::from_file(&path).unwrap_err();
    assert!(error.to_string().contains("settings.toml"), "{error}");
    fs::write(&path, "[caches.default]\nbackend = 5").unwrap();
    let error = Caches::from_file(&path).unwrap_err();
    assert!(
        error.to_string().contains("settings.toml")
            && error.to_string().contains("caches.default.backend"),
        "{error}"
    );
    fs::write(&path, MEMORY).unwrap();
    assert!(Caches::from_file(&path).is_ok());
}

#[test]
fn deserialized_settings_are_accepted_and_unknown_fields_refused() {
    let json =
        r#"{"default": {"backend": "memory", "timeout": "never", "options": {"max_entries": 10}}}"#;
    let settings: Settings = serde_json::from_str(json).unwrap();
    assert!(Caches::builder().settings(settings).build().is_ok());
    let error =
        serde_json::from_str::<Settings>(r#"{"default": {"backend": "memory", "tiemout": 5}}"#)
            .unwrap_err();
    assert!(error.to_string().contains("tiemout"), "{error}");
}
