//! Aliases of one store must agree on its settings: the error names the setting in which they
//! differ.

#![cfg(target_os = "linux")]

use cache_core::{Caches, ErrorKind};
use cache_tests as _;

/// Returns the path of the setting that is refused for two aliases of one store with these lines.
fn refused(store: &str, first: &str, second: &str) -> Option<String> {
    let alias = |name: &str, line: &str| format!("[caches.{name}]\n{store}\n{line}\n");
    let text = format!("{}{}", alias("default", first), alias("other", second));
    let error = Caches::from_toml(&text).err()?;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let setting = error.context("setting").unwrap();
    let name = setting.strip_prefix("caches.other.").unwrap();
    for part in ["`default`", "`other`", &format!("`{name}`")] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    Some(name.to_owned())
}

#[track_caller]
fn assert_named(store: &str, settings: &[(&str, &str)]) {
    assert_eq!(refused(store, "timeout = 1", "timeout = 2"), None, "{store}");
    for (name, value) in settings {
        let line = format!("{name} = {value}");
        assert_eq!(refused(store, &line, &line), None, "{store}: {name}");
        // The other alias has the default.
        assert_eq!(refused(store, &line, "").as_deref(), Some(*name), "{store}");
    }
}

#[test]
fn setting_in_which_aliases_of_one_store_differ_is_named() {
    let bounds = [
        ("options.max_entries", "1234"),
        ("options.max_bytes", "'300MiB'"),
        ("options.max_value_bytes", "'3MiB'"),
    ];
    assert_named("backend = 'memory'\nlocation = 'main'", &bounds);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let file = [
        &bounds[..],
        &[("options.direct_reads", "true"), ("options.threads", "3"), ("deadline", "'2s'")],
    ];
    assert_named(&format!("backend = 'file'\nlocation = '{path}/entries'"), &file.concat());
    let sqlite = [
        &bounds[..],
        &[
            ("options.synchronous", "'full'"),
            ("options.readers", "3"),
            ("options.direct_reads", "true"),
            ("deadline", "'2s'"),
        ],
    ];
    assert_named(&format!("backend = 'db'\nlocation = '{path}/cache.db'"), &sqlite.concat());
}
