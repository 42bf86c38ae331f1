//! The lines that the PostgreSQL client writes to the program's log. A process has one logger, so
//! this test is a process of its own.
#![cfg(target_os = "linux")]

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cache_core::{Caches, Timeout, secs, store::Expected};
use cache_db as _;
use log::{LevelFilter, Log, Metadata, Record};
use test_servers::{Postgres, Server as _};

struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}", record.target(), record.args());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// As text, and as `Debug` formats its bytes.
fn forms(mark: &str) -> [String; 2] {
    let bytes = format!("{:?}", mark.as_bytes());
    [mark.to_owned(), bytes.trim_matches(['[', ']']).to_owned()]
}

#[tokio::test]
async fn log_contains_no_key_no_value_and_no_password() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let server = Postgres::start().unwrap();
    let toml = format!(
        "[caches.default]\nbackend = 'db'\nlocation = 'postgres://postgres:secretmark@{}/postgres'\n\
         key_prefix = 'prefixmark'\ndeadline = '20s'\nconnect_deadline = '20s'\n",
        server.address()
    );
    let caches = Caches::from_toml(&toml).unwrap();
    let cache = caches.get("default").unwrap().strict();
    let value = "valuemark";

    cache.check().await.unwrap();
    cache.set("keymark", &value, Timeout::Default).await.unwrap();
    cache.get::<String>("keymark").await.unwrap();
    cache.add("keymark", &value, Timeout::Default).await.unwrap();
    cache.replace("keymark", &value, Timeout::Default).await.unwrap();
    cache.get_or_set("keymark", Timeout::Default, async || value.to_owned()).await.unwrap();
    cache.get_or_set("keymark2", Timeout::Default, async || value.to_owned()).await.unwrap();
    cache.touch("keymark", secs(60)).await.unwrap();
    cache.ttl("keymark").await.unwrap();
    cache.has_key("keymark").await.unwrap();
    cache.update("keymark", Timeout::Default, |it: String| it + "more").await.unwrap();
    cache.incr_version("keymark", 1).await.unwrap();
    assert!(
        cache
            .set_many([("keymark3", value), ("keymark4", value)], Timeout::Default)
            .await
            .unwrap()
            .is_empty()
    );
    cache.get_many::<String, _>(["keymark3", "keymark4"]).await.unwrap();
    cache.delete_many(["keymark3", "keymark5"]).await.unwrap();
    cache.pop::<String>("keymark4").await.unwrap();
    cache.delete("keymark2").await.unwrap();
    cache.bytes().set("keymark", value.as_bytes(), Timeout::Default).await.unwrap();
    cache.bytes().get("keymark").await.unwrap();
    cache.incr("keymark", 1).await.unwrap_err();
    cache.get::<String>("keymark").await.unwrap_err();
    cache.set("countmark", &70_301_000, Timeout::Default).await.unwrap();
    cache.incr("countmark", 341).await.unwrap();
    cache.incr_or("countmark2", 341, 70_301_000, secs(60)).await.unwrap();
    let store = cache.backend();
    store.get_entries(&["keymark"]).await;
    let seen = Expected::new(value.as_bytes(), None);
    store.compare_and_delete("keymark", seen).await.unwrap();
    cache.clear().await.unwrap();
    cache.set("keymark", &value, Duration::from_secs(60)).await.unwrap();
    cache.clear_store().await.unwrap();
    cache.close().await.unwrap();

    let lines = LINES.take();
    assert!(
        lines.iter().any(|it| it.contains("executing statement")),
        "the client logs: {lines:?}"
    );
    for mark in ["prefixmark", "keymark", "countmark", "valuemark", "70301341", "secretmark"] {
        for form in forms(mark) {
            // The events of the facade name keys, never values or passwords. They are log records
            // only if a crate of the program enables the feature `log` of `tracing`.
            let may_show = |it: &str| {
                it.starts_with("cache_core ") && ["prefixmark", "keymark"].contains(&mark)
            };
            let shown: Vec<_> =
                lines.iter().filter(|it| it.contains(&form) && !may_show(it)).collect();
            assert!(shown.is_empty(), "{mark}: {} lines, as {:?}", shown.len(), shown[0]);
        }
    }
}
