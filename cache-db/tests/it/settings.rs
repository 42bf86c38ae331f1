//! Settings: an invalid one is an error at build, which names the setting and shows no value.
//! Building opens nothing.

use cache_core::{Caches, ErrorKind, Timeout};
use cache_db as _;

use crate::support::{cache, text};

fn error(toml: &str) -> String {
    let error = Caches::from_toml(toml).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("marked"), "{text}");
    }
    error.to_string()
}

#[test]
fn invalid_setting_is_named_by_its_path() {
    let long = format!("options.table = '{}'", "x".repeat(41));
    for (backend, rest, setting, what) in [
        ("db", "", "location", "is missing"),
        ("db", "location = ''", "location", "is empty"),
        ("db", "location = 'sqlite://'", "location", "names no file"),
        ("db", "location = ['a.db', 'b.db']", "location", "one place"),
        ("db", "location = 'mysql://user:marked@host/d'", "location", "unknown scheme `mysql`"),
        ("db", "location = 'file:marked?mode=ro'", "location", "URI"),
        ("db", "location = 'marked?mode=ro'", "location", "options"),
        (
            "db",
            "location = 'host=h user=u password=marked'",
            "location",
            "postgres://user:password@",
        ),
        ("db", "location = '~/marked.db'", "location", "${HOME}"),
        ("db", "location = \"a\\u0000b\"", "location", "NUL"),
        (
            "sqlite",
            "location = 'postgres://user:marked@host/d'",
            "location",
            "the backend is \"sqlite\"",
        ),
        ("postgres", "location = 'a.db'", "location", "the backend is \"postgres\""),
        ("postgres", "location = ':memory:'", "location", "the backend is \"postgres\""),
        ("db", "location = 'a'\noptions.pool = 3", "options", "max_entries"),
        ("db", "location = 'a'\noptions.max_entries = 0", "options.max_entries", "is 0"),
        (
            "db",
            "location = 'a'\noptions.notify_triggers = true",
            "options.notify_triggers",
            "is for PostgreSQL",
        ),
        ("db", "location = 'a'\noptions.max_entries = -1", "options.max_entries", ""),
        ("db", "location = 'a'\noptions.max_bytes = 0", "options.max_bytes", "is 0"),
        ("db", "location = 'a'\noptions.max_bytes = 'marked'", "options.max_bytes", ""),
        ("db", "location = 'a'\noptions.max_value_bytes = 0", "options.max_value_bytes", "512 MiB"),
        (
            "db",
            "location = 'a'\noptions.max_value_bytes = '1GiB'",
            "options.max_value_bytes",
            "512 MiB",
        ),
        (
            "db",
            "location = 'a'\noptions = { max_bytes = '1MiB', max_value_bytes = '2MiB' }",
            "options.max_value_bytes",
            "larger than max_bytes",
        ),
        ("db", "location = 'a'\noptions.synchronous = 'marked'", "options.synchronous", "normal"),
        ("db", "location = 'a'\noptions.readers = 0", "options.readers", "1 to 64"),
        ("db", "location = 'a'\noptions.readers = 65", "options.readers", "1 to 64"),
        ("db", "location = 'a'\noptions.direct_reads = 'marked'", "options.direct_reads", ""),
        ("db", "location = 'a'\noptions.table = ''", "options.table", "1 to 40"),
        (
            "db",
            "location = 'a'\noptions.table = 'sqlite_marked'",
            "options.table",
            "SQLite reserves",
        ),
        ("db", "location = 'a'\noptions.table = \"marked\\n\"", "options.table", "control"),
        ("db", &format!("location = 'a'\n{long}"), "options.table", "1 to 40"),
    ] {
        let text = error(&format!("[caches.default]\nbackend = '{backend}'\n{rest}"));
        assert!(text.contains(&format!("caches.default.{setting}")), "{rest}: {text}");
        assert!(text.contains(what), "{rest}: {text}");
    }
}

#[tokio::test]
async fn store_is_named_after_its_database() {
    for backend in ["db", "sqlite"] {
        let toml = format!("[caches.default]\nbackend = '{backend}'\nlocation = ':memory:'");
        let caches = Caches::from_toml(&toml).unwrap();
        assert_eq!(caches.get("default").unwrap().backend().name(), "sqlite");
    }
    let error = cache(":memory:", "").strict().incr("absent", 1).await.unwrap_err();
    assert!(error.to_string().contains("backend: sqlite"), "{error}");
}

#[test]
fn valid_settings_open_nothing_and_need_no_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent").join("cache.db");
    for (location, options) in [
        (text(&path), "synchronous = 'full', readers = 64, direct_reads = true"),
        (format!("sqlite://{}", path.display()), "max_entries = 1, max_bytes = 1"),
        (":memory:".into(), "table = 'SELECT', max_value_bytes = '512MiB'"),
    ] {
        let options = options.replace("'512MiB'", "'512MiB', max_bytes = '2GiB'");
        let toml = format!(
            "[caches.default]\nbackend = 'sqlite'\nlocation = '{location}'\noptions = {{ {options} }}"
        );
        Caches::from_toml(&toml).unwrap();
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

fn two(location: (&str, &str), options: (&str, &str)) -> String {
    let one = |alias: &str, location: &str, options: &str| {
        format!(
            "[caches.{alias}]\nbackend = 'db'\nlocation = '{location}'\ndeadline = '20s'\noptions = {{ {options} }}\n"
        )
    };
    one("default", location.0, options.0) + &one("second", location.1, options.1)
}

#[tokio::test]
async fn aliases_of_one_file_share_a_store_and_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(&folder.path().join("cache.db"));
    let other_name = text(&folder.path().join(".").join("cache.db"));
    let url = format!("sqlite://{path}");
    for other in [&path, &other_name, &url] {
        let caches = Caches::from_toml(&two((&path, other), ("", ""))).unwrap();
        let (one, two) = (caches.get("default").unwrap(), caches.get("second").unwrap());
        one.set("k", &1, Timeout::Default).await.unwrap();
        assert_eq!(two.pop::<i32>("k").await.unwrap(), Some(1));
    }
    for options in [("", "max_entries = 7"), ("", "table = 'CACHE', max_entries = 7")] {
        let text = error(&two((&path, &path), options));
        assert!(text.contains("`default`") && text.contains("`second`"), "{text}");
    }
    // Another table is another store.
    let caches = Caches::from_toml(&two((&path, &path), ("", "table = 'b', max_entries = 7")));
    let caches = caches.unwrap();
    let (one, two) = (caches.get("default").unwrap(), caches.get("second").unwrap());
    one.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(two.get::<i32>("k").await.unwrap(), None);
}

#[tokio::test]
async fn each_in_memory_store_is_private() {
    let caches = Caches::from_toml(&two((":memory:", ":memory:"), ("", ""))).unwrap();
    let (one, two) = (caches.get("default").unwrap(), caches.get("second").unwrap());
    one.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(two.get::<i32>("k").await.unwrap(), None);
    one.close().await.unwrap();
    assert_eq!(one.get::<i32>("k").await.unwrap(), Some(1));
}
