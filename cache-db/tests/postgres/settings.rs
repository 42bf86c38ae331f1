//! Invalid settings are reported at build.

use cache_core::{Caches, ErrorKind};

use crate::support::toml;

fn error(location: &str, more: &str) -> String {
    let error = Caches::from_toml(&toml(location, more)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("marked"), "{text}");
    text
}

#[test]
fn invalid_setting_is_named_by_its_path() {
    let options = |it: &str| format!("[caches.default.options]\n{it}");
    let url = "postgres://u:marked@h/d";
    for (location, more, setting, what) in [
        ("postgres://u:marked@h:port", String::new(), "location", "not a valid URL"),
        ("postgres://u:pre@marked@h/d", String::new(), "location", "options.password"),
        ("postgres://u:pre#marked@h/d", String::new(), "location", "options.password"),
        ("postgres://u:pre/marked@h/d", String::new(), "location", "options.password"),
        ("postgres://u:pre%marked@h/d", String::new(), "location", "options.password"),
        ("postgres://u:pre?marked@h/d", String::new(), "location", "options.password"),
        (url, options("password = 'marked2'"), "options.password", "remove one of them"),
        (url, options("username = 'marked2'"), "options.username", "remove one of them"),
        ("postgres://u:marked@h/d?nonsense=marked", String::new(), "location", "not a valid URL"),
        (url, options("readers = 2"), "options.readers", "is for SQLite"),
        (url, options("synchronous = 'off'"), "options.synchronous", "is for SQLite"),
        (url, options("direct_reads = true"), "options.direct_reads", "is for SQLite"),
        (url, options("connections = 0"), "options.connections", "1 to 64"),
        (url, options("table = ''"), "options.table", "1 to 40 bytes"),
        (url, options("max_entries = 0"), "options.max_entries", "is 0"),
        (url, options("pool = 3"), "options", "pool"),
    ] {
        let text = error(location, &more);
        assert!(
            text.contains(&format!("caches.default.{setting}")) && text.contains(what),
            "{text}"
        );
    }
}

#[test]
#[cfg(not(feature = "postgres-tls"))]
fn tls_without_its_feature_is_an_error() {
    let text = error("postgres://u:marked@h/d?sslmode=require", "");
    assert!(text.contains("postgres-tls"), "{text}");
    let text = error("postgres://u:marked@h/d", "[caches.default.options.tls]\nca_file = 'x'");
    assert!(text.contains("options.tls") && text.contains("postgres-tls"), "{text}");
}

#[test]
fn store_is_named_after_its_database() {
    for backend in ["db", "postgres"] {
        let toml = toml("postgres://u@h/d", "").replace("\"db\"", &format!("\"{backend}\""));
        let caches = Caches::from_toml(&toml).unwrap();
        assert_eq!(caches.get("default").unwrap().backend().name(), "postgres");
    }
}

#[test]
fn debug_of_a_store_shows_no_password() {
    let caches = Caches::from_toml(&toml("postgres://u:marked@h/d", "")).unwrap();
    let cache = caches.get("default").unwrap();
    let text = format!("{caches:?} {cache:?} {:?}", cache.backend());
    assert!(text.contains("Postgres") && !text.contains("marked"), "{text}");
}
