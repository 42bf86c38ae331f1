//! Which stores are a bus, and which URLs name them.

use cache_core::Caches;
use cache_memcached as _;

use crate::support::{servers, settings};

#[test]
fn store_without_messages_is_an_error() {
    for url in ["memcached://:marked@host", "sqlite://marked.db"] {
        let error = Caches::from_toml(&settings(url)).unwrap_err().to_string();
        assert!(error.contains("caches.default.bus"), "{error}");
        assert!(!error.contains("marked"), "{error}");
    }
    let error = Caches::from_toml(&settings("sqlite://marked.db")).unwrap_err().to_string();
    assert!(error.contains("passes no messages on between processes"), "{error}");
    for url in ["redis://:marked@host:port", "redis://:marked@"] {
        let error = Caches::from_toml(&settings(url)).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("caches.default.bus") && text.contains("URL"), "{text}");
        assert!(!text.contains("marked"), "{text}");
    }
}

#[test]
fn list_of_servers_is_an_error_that_names_the_remedy() {
    for (url, name) in [("redis://:marked@h", "redis"), ("postgres://u:marked@h/d", "db")] {
        let list = settings(url).replace(&format!("'{url}'"), &format!("['{url}', '{url}']"));
        let error = Caches::from_toml(&list).unwrap_err().to_string();
        assert!(error.contains("caches.default.bus") && error.contains("give one URL"), "{error}");
        assert!(error.contains(name) && !error.contains("options"), "{error}");
        assert!(!error.contains("marked"), "{error}");
    }
    let hosts = "postgres://u@a,b/d?target_session_attrs=read-write";
    assert!(Caches::from_toml(&settings(hosts)).is_ok());
}

#[test]
fn all_schemes_of_redis_find_it() {
    for url in ["redis://h", "valkey://h", "redis+unix:///run/r.sock", "valkey+unix:///run/r.sock"]
    {
        assert!(Caches::from_toml(&settings(url)).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn check_names_the_bus_and_the_reason_of_a_failure() {
    for ((server, url), name) in servers().into_iter().zip(["redis", "postgres"]) {
        let report = Caches::from_toml(&settings(&url)).unwrap().check().await;
        assert_eq!(report.to_string(), format!("default: ok, bus {name}"));
        server.kill();
        let report = Caches::from_toml(&settings(&url)).unwrap().check().await;
        assert!(!report.is_ok() && report.to_string().contains("refused"), "{report}");
    }
}
