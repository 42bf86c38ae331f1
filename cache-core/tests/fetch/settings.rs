//! The table `[caches.<alias>.fetch]`, and mistakes in it and in fetches.

use std::time::Duration;

use cache_core::{
    Cache, Caches, ErrorKind, FetchOutcome, Loaded, RefreshAhead, Timeout, Ttl, secs,
    testing::Model,
};
use cache_memory as _;

use crate::{HOUR, SECOND, fails, value, world_with};

fn error(settings: &str) -> cache_core::Error {
    let text = format!("[caches.default]\nbackend = 'dummy'\n{settings}");
    Caches::from_toml(&text).map(drop).unwrap_err()
}

#[test]
fn every_setting_is_read() {
    let settings: cache_core::Settings = toml::from_str(
        r#"
        [default]
        backend = "memory"
        [default.fetch]
        ttl = "5m"
        grace = "1h"
        soft_timeout = "100ms"
        hard_timeout = "2s"
        backoff = 20
        jitter = 0.2
        negative_ttl = "1m"
        error_ttl = "1s"
        max_refreshes = 8
        refresh_ahead = 0.8
        refresh_lock = true
        fenced = true
        lease_wait = false
    "#,
    )
    .unwrap();
    let fetch = &settings.get("default").unwrap().fetch;
    assert_eq!(fetch.ttl, Some(secs(300)));
    assert_eq!(fetch.grace, Some(HOUR.into()));
    assert_eq!(fetch.soft_timeout, Some(Duration::from_millis(100).into()));
    assert_eq!(fetch.hard_timeout, Some((2 * SECOND).into()));
    assert_eq!(fetch.backoff, Some((20 * SECOND).into()));
    assert_eq!(fetch.jitter, Some(0.2));
    assert_eq!(fetch.negative_ttl, Some((60 * SECOND).into()));
    assert_eq!(fetch.error_ttl, Some(SECOND.into()));
    assert_eq!((fetch.max_refreshes, fetch.refresh_lock), (8, true));
    assert_eq!((fetch.fenced, fetch.lease_wait), (Some(true), Some(false)));
    assert_eq!(fetch.refresh_ahead, RefreshAhead::Fraction(0.8));
}

#[test]
fn wrong_setting_is_an_error_with_its_path() {
    for (settings, path, part) in [
        ("timeout = 'never'\nfetch.grace = '1h'", "grace", "set `ttl`"),
        ("fetch = { grace = '1h', ttl = 'never' }", "grace", "set `ttl`"),
        (
            "fetch = { grace = 60, soft_timeout = 3, hard_timeout = 2 }",
            "soft_timeout",
            "longer than `hard_timeout`",
        ),
        ("fetch.hard_timeout = 60", "hard_timeout", "longer than `load_deadline`"),
        ("fetch.soft_timeout = 3", "soft_timeout", "set `grace`"),
        ("fetch.jitter = 1.5", "jitter", "from 0 to 1"),
        ("fetch.refresh_ahead = 1.0", "refresh_ahead", "between 0 and 1"),
        ("fetch.refresh_ahead = 'soon'", "refresh_ahead", "xfetch"),
        ("fetch.refresh_ahead = 'xfetch'", "refresh_ahead", "grace"),
        ("fetch.refresh_lock = true", "refresh_lock", "no effect"),
        ("fetch.backoff = 1", "backoff", "no effect"),
        ("fetch.lease_wait = false", "lease_wait", "set `fenced`"),
        ("fetch.max_refreshes = 0", "max_refreshes", "at least 1"),
        ("fetch.garce = '1h'", "garce", "did you mean `grace`"),
    ] {
        let error = error(settings);
        assert_eq!(error.kind(), ErrorKind::Config, "{settings}");
        let expected = format!("caches.default.fetch.{path}");
        assert_eq!(error.context("setting"), Some(expected.as_str()), "{settings}: {error}");
        assert!(error.message().contains(part), "{settings}: {error}");
    }
}

#[tokio::test]
async fn wrong_fetch_is_an_error_that_says_what_to_write() {
    let cache = Cache::new("test", Model::default());
    let error = cache.fetch("k").grace(HOUR).load(value(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let expected = "`grace = \"1h\"` in the table `fetch`";
    assert!(error.message().contains(expected), "{error}");
    assert_eq!(error.context("alias"), Some("test"));
    let error = cache.fetch("k").negative_ttl(HOUR).load(value(1)).await.unwrap_err();
    assert!(error.message().contains("`negative_ttl = \"1m\"`"), "{error}");
    let error = cache.fetch("k").fenced().load(value(1)).await.unwrap_err();
    assert!(error.message().contains("`fenced = true`"), "{error}");
    let error = cache.fetch("k").jitter(f64::NAN).prime(&1).await.unwrap_err();
    assert!(error.message().contains("`jitter`"), "{error}");
    let ahead = cache.fetch("k").ttl(Timeout::Never).refresh_ahead(RefreshAhead::Fraction(0.5));
    let error = ahead.load(value(1)).await.unwrap_err();
    assert!(error.message().contains("never expire"), "{error}");
    assert_eq!(cache.stats().loads, 0);
}

#[tokio::test]
async fn zero_allows_a_grace_without_a_default() {
    let text =
        "[caches.default]\nbackend = 'memory'\n[caches.default.fetch]\ngrace = 0\nnegative_ttl = 0";
    // Without the feature `inventory`, a program names its drivers.
    let caches = Caches::builder().driver(cache_memory::DRIVER).toml(text).unwrap();
    let caches = caches.build().unwrap();
    let cache = caches.get("default").unwrap();
    assert_eq!(cache.fetch("k").grace(HOUR).load(value(1)).await.unwrap(), 1);
    assert_eq!(cache.fetch("plain").load(value(2)).await.unwrap(), 2);
    assert_eq!(cache.backend().get(":1:plain").await.unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(cache.get::<u32>("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn fetch_without_a_grace_ignores_the_settings_of_the_alias_for_stale_values() {
    let (_, cache, time) = world_with(|it| {
        it.soft_timeout = Some(SECOND.into());
        it.backoff = Some(SECOND.into());
        it.refresh_lock = true;
    });
    let fetch = || cache.fetch("k").grace(Duration::ZERO);
    assert_eq!(fetch().load(value(1)).await.unwrap(), 1);
    let stored = cache.backend().get_entry(":1:k").await.unwrap().unwrap();
    assert_eq!(stored.ttl, Ttl::Remaining(60 * SECOND), "no grace");
    time.advance(60 * SECOND);
    assert_eq!(fetch().load(fails::<u32>()).await.unwrap_err().kind(), ErrorKind::Loader);
    // Its own setting without an effect is a mistake.
    for own in [fetch().soft_timeout(2 * SECOND), fetch().backoff(2 * SECOND)] {
        let error = own.load(value(2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("no effect"), "{error}");
    }
}

#[tokio::test]
async fn value_that_never_expires_has_no_grace_in_any_call() {
    let (_, cache, _) = world_with(|it| it.refresh_ahead = RefreshAhead::Fraction(0.5));
    let never = Timeout::Never;
    cache.set("set", &1, never).await.unwrap();
    cache.get_or_set("get_or_set", never, || async { 1 }).await.unwrap();
    cache.get_or_set_many(["many"], never, |_| async { [("many", 1)] }).await.unwrap();
    cache.fetch("prime").ttl(never).prime(&1).await.unwrap();
    for expects_hit in [false, true] {
        let load = |_| std::future::ready(Ok::<_, std::io::Error>(Loaded::Value(1)));
        let fetched = cache.fetch("fetch").ttl(never).outcome(load).await.unwrap();
        let is_hit = matches!(fetched.outcome, FetchOutcome::Hit { .. });
        assert_eq!(is_hit, expects_hit, "{:?}", fetched.outcome);
    }
    for key in ["set", "get_or_set", "many", "prime", "fetch"] {
        let stored = cache.backend().get_entry(&format!(":1:{key}")).await.unwrap().unwrap();
        assert_eq!((&stored.value[..], stored.ttl), (&b"1"[..], Ttl::Forever), "{key}");
    }
    let own = cache.fetch("k").ttl(never).grace(2 * HOUR).load(value(1)).await.unwrap_err();
    assert!(own.message().contains("never expire"), "{own}");
}
