//! The setting `bus`.

use cache_core::{Cache, Caches, config::Location, testing::Faulty};
use cache_memory::Memory;

use crate::{
    hub::{self, Hub},
    support::{PATIENT, bus, caches, get, put},
};

fn build(text: &str) -> String {
    let builder = Caches::builder().driver(hub::DRIVER).toml(text).unwrap();
    builder.build().unwrap_err().to_string()
}

#[test]
fn wrong_setting_is_an_error_that_names_what_to_do() {
    let mine = Hub::new();
    for (url, words) in [
        (
            "'redis://:marked@host'",
            &["redis://…", "add `cache-redis`", "use cache_redis as _;"][..],
        ),
        ("'postgres://u:marked@host/d'", &["postgres", "add `cache-db`"]),
        ("'amqp://:marked@host'", &["amqp://…", "have redis://"]),
        ("'marked'", &["expected a URL"]),
        ("''", &["expected a URL"]),
        ("['hub://1', 'redis://:marked@host']", &["URLs of one store"]),
        ("'hub://marked'", &["no such hub"]),
        ("'mute://:marked@host'", &["the store `memory` passes no messages on", "Redis"]),
    ] {
        let text = format!("[caches.default]\nbackend = 'memory'\nbus = {url}");
        let mute = cache_core::Driver::new("mute", |_| {
            Ok(cache_core::store::IntoBackend::into_backend(Memory::new()))
        });
        let builder = Caches::builder().driver(hub::DRIVER).driver(mute.with_schemes(&["mute"]));
        let error = builder.toml(&text).unwrap().build().unwrap_err();
        let (text, debug) = (error.to_string(), format!("{error:?}"));
        assert!(text.contains("caches.default.bus"), "{text}");
        for word in words {
            assert!(text.contains(word), "{url}: {text}");
        }
        assert!(!text.contains("marked") && !debug.contains("marked"), "{debug}");
    }
    let error =
        build(&format!("[caches.default]\nbackend = 'memory'\nbus = ['{0}', '{0}']", mine.url));
    for part in ["caches.default.bus", "`hub` does not accept a list", "give one URL"] {
        assert!(error.contains(part), "{error}");
    }
    let text = format!("[caches.default]\nbackend = 'memory'\nbus = '{}'", mine.url);
    let settings: cache_core::Settings =
        toml::from_str(&text.replace("caches.", "").replace("hub:", "hub://:marked@")).unwrap();
    assert!(!format!("{settings:?}").contains("marked"));
}

#[test]
fn bus_of_a_store_that_is_not_in_the_process_is_an_error() {
    let store = Faulty::new(Memory::new());
    let builder = Cache::builder(store).bus(Location::one(Hub::new().url.clone()));
    let error = builder.build("local").unwrap_err().to_string();
    for part in ["caches.local.bus", "stores in the process", "[caches.local.near]"] {
        assert!(error.contains(part), "{error}");
    }
    let text = "[caches.default]\nbackend = 'dummy'\nbus = 'redis://host'";
    assert!(Caches::from_toml(text).is_ok(), "it replaces any store in tests");
}

#[tokio::test]
async fn check_names_the_bus() {
    let hub = Hub::new();
    assert_eq!(caches(&hub, "").check().await.to_string(), "default: ok, bus hub");
    hub.stop_streams();
    let report = caches(&hub, "").check().await;
    assert!(!report.is_ok() && report.to_string().contains("the hub is down"), "{report}");
}

#[tokio::test]
async fn aliases_with_the_same_keys_share_the_bus() {
    let hub = Hub::new();
    let text = |other: &str| {
        format!(
            "[caches.default]\nbackend = 'memory'\nlocation = 'main'\nbus = '{}'\n{PATIENT}\
             [caches.other]\nbackend = 'memory'\nlocation = 'main'\n{PATIENT}{other}",
            hub.url
        )
    };
    for bus in ["", "bus = 'hub://another'"] {
        let error = build(&text(bus));
        assert!(error.contains("same bus") && error.contains(".bus"), "{error}");
    }
    let same = text(&format!("bus = '{}'", hub.url));
    let builder = Caches::builder().driver(hub::DRIVER).toml(&same).unwrap();
    let caches = builder.build().unwrap();
    let (one, other) = (caches.get("default").unwrap(), caches.get("other").unwrap());
    put(&[one], "k", 1).await;
    assert_eq!(get(other, "k").await, Some(1));
    assert_eq!(hub.streams(), 1);
    other.delete("k").await.unwrap();
    assert_eq!(bus(one), bus(other));
    let another = crate::support::process(&hub, "").await;
    put(&[one], "k", 1).await;
    another.delete("k").await.unwrap();
    assert_eq!(get(other, "k").await, None);
}
