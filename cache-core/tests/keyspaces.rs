//! Typed keyspaces.

#![allow(missing_docs)]

use std::{collections::HashMap, convert::Infallible, fmt, io, time::Duration};

use cache_core::{
    Cache, ErrorKind, FetchOutcome, FetchSettings, Keyspace, Loaded, Timeout, Ttl, secs,
    testing::{FakeClock, Model},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

/// A key of a type of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id(u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

const HOUR: Duration = Duration::from_secs(3600);

static USERS: Keyspace<Id, User> = Keyspace::new("user").ttl(secs(300));
static PAGES: Keyspace<(&str, u32), String> = Keyspace::new("page").ttl(secs(60)).schema(3);
static NAMES: Keyspace<str, String> = Keyspace::new("name").ttl(Timeout::Never);
static CONFIG: Keyspace<(), u32> = Keyspace::new("config");

fn cache() -> Cache {
    Cache::new("test", Model::default())
}

fn user(name: &str) -> User {
    User { name: name.into() }
}

#[tokio::test]
async fn each_operation_uses_the_key_the_type_and_the_lifetime() {
    let cache = cache();
    USERS.set(&cache, &Id(1), &user("Ada")).await.unwrap();
    assert_eq!(cache.get::<User>("user:1:1").await.unwrap(), Some(user("Ada")));
    assert_eq!(USERS.get(&cache, &Id(1)).await.unwrap(), Some(user("Ada")));
    assert!(USERS.has_key(&cache, &Id(1)).await.unwrap());
    let ttl = USERS.ttl_of(&cache, &Id(1)).await.unwrap();
    assert!(matches!(ttl, Some(Ttl::Remaining(it)) if it.as_secs().abs_diff(300) < 30), "{ttl:?}");
    let items = [(Id(2), user("Bob")), (Id(3), user("Cy"))];
    USERS
        .set_many(&cache, items.iter().map(|(id, it)| (*id, it)))
        .await
        .unwrap()
        .into_result()
        .unwrap();
    let found = USERS.get_many(&cache, [Id(2), Id(3), Id(4), Id(2)]).await.unwrap();
    assert_eq!(found, HashMap::from(items));
    assert!(USERS.delete(&cache, &Id(1)).await.unwrap());
    assert!(!USERS.delete(&cache, &Id(1)).await.unwrap());
    assert_eq!(USERS.get(&cache, &Id(1)).await.unwrap(), None);
    let load = || async { user("Dee") };
    for _ in 0..2 {
        assert_eq!(USERS.get_or_set(&cache, &Id(9), load).await.unwrap(), user("Dee"));
    }
    let failed = USERS.get_or_try_set(&cache, &Id(8), || async { Err(io::Error::other("no")) });
    assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::Loader);
    let load = |missing: Vec<Id>| {
        assert_eq!(missing, [Id(8), Id(7)]);
        async { [(Id(7), user("Eve"))] }
    };
    let found = USERS.get_or_set_many(&cache, [Id(9), Id(8), Id(7), Id(9)], load).await.unwrap();
    assert_eq!(found, [(Id(9), user("Dee")), (Id(7), user("Eve"))].into());
    assert!(USERS.delete(&cache, &Id(7)).await.unwrap());
    let load = |_| async { Err::<[(Id, User); 0], _>(io::Error::other("no")) };
    let failed = USERS.get_or_try_set_many(&cache, [Id(9), Id(7)], load).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Loader);
    assert_eq!(USERS.delete_many(&cache, [Id(2), Id(9), Id(2), Id(7)]).await.unwrap(), 2);
    assert!(USERS.has_key(&cache, &Id(3)).await.unwrap());
    assert!(!USERS.has_key(&cache, &Id(9)).await.unwrap());
}

#[tokio::test]
async fn lock_of_a_key_is_no_other_lock_and_no_entry() {
    let cache = cache();
    let lock = USERS.lock(&cache, &Id(1), secs(30), |it| it).await.unwrap();
    assert!(!USERS.has_key(&cache, &Id(1)).await.unwrap());
    let again =
        USERS.lock(&cache, &Id(1), secs(30), |it| it.wait(Duration::ZERO)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Locked);
    assert!(cache.try_lock("user:1:1", secs(30)).await.unwrap().is_none());
    assert!(USERS.try_lock(&cache, &Id(2), secs(30)).await.unwrap().is_some());
    assert!(lock.release().await.unwrap());
    assert!(USERS.try_lock(&cache, &Id(1), secs(30)).await.unwrap().is_some());
}

#[tokio::test]
async fn keys_may_borrow_and_have_several_parts_or_none() {
    let cache = cache();
    let country = String::from("de:at");
    PAGES.set(&cache, &(country.as_str(), 7), &"page".into()).await.unwrap();
    assert_eq!(cache.get::<String>("page:3:de%3Aat:7").await.unwrap().as_deref(), Some("page"));
    assert_eq!(PAGES.get(&cache, &(country.as_str(), 7)).await.unwrap().as_deref(), Some("page"));
    NAMES.set(&cache, &country, &"name".into()).await.unwrap();
    assert_eq!(NAMES.ttl_of(&cache, &country).await.unwrap(), Some(Ttl::Forever));
    CONFIG.set(&cache, &(), &1).await.unwrap();
    assert_eq!(cache.incr(&CONFIG.key(&()).unwrap(), 1).await.unwrap(), 2);
    assert_eq!(CONFIG.get(&cache, &()).await.unwrap(), Some(2));
}

#[tokio::test]
async fn another_schema_is_a_miss() {
    static OLD: Keyspace<u64, (String, u8)> = Keyspace::new("user");
    static NEW: Keyspace<u64, User> = Keyspace::new("user").schema(2);
    let cache = cache();
    OLD.set(&cache, &1, &("Ada".into(), 36)).await.unwrap();
    assert_eq!(NEW.get(&cache.strict(), &1).await.unwrap(), None);
    NEW.set(&cache, &1, &user("Ada")).await.unwrap();
    assert_eq!(OLD.get(&cache, &1).await.unwrap(), Some(("Ada".into(), 36)));
}

#[tokio::test]
async fn each_kind_of_handle_works() {
    let cache = cache();
    NAMES.set(&cache.at_version(2), "a", &"b".into()).await.unwrap();
    assert_eq!(NAMES.get(&cache, "a").await.unwrap(), None);
    let blocking = tokio::task::spawn_blocking(move || {
        let (names, cache) = (NAMES.blocking(), cache.blocking().at_version(2));
        let lock = names.lock(&cache, "a", secs(30), |it| it)?;
        assert!(names.try_lock(&cache, "a", secs(30))?.is_none());
        assert!(lock.release()?);
        let found = names.get(&cache, "a")?;
        Ok::<_, cache_core::Error>((found, names.delete_many(&cache, ["a", "b"])?))
    });
    assert_eq!(blocking.await.unwrap().unwrap(), (Some("b".into()), 1));
}

#[tokio::test]
async fn futures_are_send() {
    let cache = cache();
    let task = tokio::spawn(async move {
        USERS.set(&cache, &Id(1), &user("Ada")).await?;
        USERS.set_many(&cache, [(Id(2), user("Bob"))]).await?.into_result()?;
        USERS.get_or_set(&cache, &Id(3), || async { user("Cy") }).await?;
        USERS.get_or_set_many(&cache, [Id(3)], |_| async { [(Id(3), user("Cy"))] }).await?;
        USERS.get_many(&cache, [Id(1), Id(2), Id(3)]).await
    });
    assert_eq!(task.await.unwrap().unwrap().len(), 3);
}

#[tokio::test]
async fn key_that_is_too_long_names_the_rule() {
    let long = "x".repeat(300);
    let error = NAMES.get(&cache(), &long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert!(error.to_string().contains("too long"), "{error}");
}

#[tokio::test]
async fn values_with_a_grace_are_served_stale_and_their_lifetime_is_that_of_the_keyspace() {
    static RATES: Keyspace<str, u32> = Keyspace::new("rate").ttl(secs(60)).grace(HOUR);
    static NOTES: Keyspace<str, String> = Keyspace::new("note").ttl(secs(60)).grace(HOUR);
    let time = FakeClock::new();
    let settings = FetchSettings::with_grace(Duration::ZERO);
    let builder = Cache::builder(Model::new(time.clock())).clock(time.clock()).fetch(settings);
    let cache = builder.build("test").unwrap();
    let load = |value| move |_| async move { Ok::<_, Infallible>(Loaded::Value(value)) };
    let fetch = |value| RATES.fetch(&cache, "eur").with(|it| it.jitter(0.0)).outcome(load(value));
    let load = |_| async { [("usd", "old".to_owned())] };
    NOTES.get_or_set_many(&cache, ["usd"], load).await.unwrap();
    assert_eq!(fetch(1).await.unwrap().value, Some(1));
    let ttl = RATES.ttl_of(&cache, "eur").await.unwrap();
    assert_eq!(ttl, Some(Ttl::Remaining(Duration::from_secs(60))));
    time.advance(Duration::from_secs(60));
    assert_eq!(RATES.get(&cache, "eur").await.unwrap(), None);
    assert_eq!(NOTES.get(&cache, "usd").await.unwrap(), None);
    let failed = |_| async { Err::<[(&str, String); 0], _>(io::Error::other("no")) };
    let stale = NOTES.get_or_try_set_many(&cache, ["usd"], failed).await.unwrap();
    assert_eq!(stale, [("usd", "old".to_owned())].into(), "the loader of the batch failed");
    let stale = fetch(2).await.unwrap();
    assert!(matches!(stale.outcome, FetchOutcome::Stale { .. }), "{stale:?}");
    assert_eq!(stale.value, Some(1));
    while cache.stats().active_refreshes > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(RATES.get(&cache, "eur").await.unwrap(), Some(2));
}

#[tokio::test]
async fn every_write_without_a_declared_lifetime_has_the_timeout_of_the_alias() {
    static PLAIN: Keyspace<u32, u32> = Keyspace::new("plain");
    let mut fetch = FetchSettings::default();
    fetch.ttl = Some(secs(7));
    let time = FakeClock::new();
    let builder = Cache::builder(Model::new(time.clock())).clock(time.clock()).fetch(fetch);
    let cache = builder.timeout(secs(50)).build("test").unwrap();
    let load = |_| async { Ok::<_, Infallible>(1) };
    PLAIN.set(&cache, &1, &1).await.unwrap();
    PLAIN.get_or_set(&cache, &2, || async { 1 }).await.unwrap();
    PLAIN.get_or_set_many(&cache, [5], |_| async { [(5, 1)] }).await.unwrap();
    PLAIN.fetch(&cache, &3).with(|it| it.jitter(0.0)).load(load).await.unwrap();
    PLAIN.fetch(&cache, &4).with(|it| it.jitter(0.0)).prime(&1).await.unwrap();
    for key in 1..=5 {
        let ttl = PLAIN.ttl_of(&cache, &key).await.unwrap();
        assert_eq!(ttl, Some(Ttl::Remaining(Duration::from_secs(50))), "{key}");
    }
}

#[tokio::test]
async fn grace_of_zero_is_a_keyspace_without_a_grace() {
    static PLAIN: Keyspace<str, u32> = Keyspace::new("plain").ttl(secs(60)).grace(Duration::ZERO);
    let mut fetch = FetchSettings::with_grace(HOUR);
    fetch.soft_timeout = Some(Duration::from_secs(1).into());
    fetch.refresh_lock = true;
    let cache = Cache::builder(Model::default()).fetch(fetch).build("test").unwrap();
    PLAIN.get_or_set(&cache, "a", || async { 1 }).await.unwrap();
    PLAIN.fetch(&cache, "b").load(|_| async { Ok::<_, Infallible>(1) }).await.unwrap();
    PLAIN.get_or_set_many(&cache, ["c"], |_| async { [("c", 1)] }).await.unwrap();
    for key in ["a", "b", "c"] {
        let stored = cache.backend().get(&format!(":1:plain:1:{key}")).await.unwrap();
        assert_eq!(stored.as_deref(), Some(&b"1"[..]), "{key} has no grace");
    }
}

#[tokio::test]
async fn grace_without_a_lifetime_or_the_setting_is_a_config_error_that_names_the_keyspace() {
    static FOREVER: Keyspace<str, u32> = Keyspace::new("forever").ttl(Timeout::Never).grace(HOUR);
    static RATES: Keyspace<str, u32> = Keyspace::new("rate").grace(HOUR);
    let settings = FetchSettings::with_grace(HOUR);
    let with = Cache::builder(Model::default()).fetch(settings).build("test").unwrap();
    let error = FOREVER.get_or_set(&with, "k", || async { 1 }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("the values never expire"), "{error}");
    assert_eq!(error.context("keyspace"), Some("forever"));
    let error = RATES.get(&cache(), "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("`grace` of a keyspace: grace is off"), "{error}");
    assert_eq!(error.context("keyspace"), Some("rate"));
    assert_eq!(RATES.get(&with, "k").await.unwrap(), None);
}

#[cfg(feature = "postcard")]
mod codec {
    use bytes::Bytes;
    use cache_core::Codec;

    use super::*;

    static POINTS: Keyspace<u64, Vec<String>> = Keyspace::new("points").codec(Codec::Postcard);

    async fn is_postcard(cache: &Cache, key: u64) -> bool {
        let stored = cache.backend().get(&format!(":1:points:1:{key}")).await.unwrap().unwrap();
        stored.starts_with(b"\xc1\xca")
    }

    #[tokio::test]
    async fn every_write_uses_the_codec_of_the_keyspace() {
        let cache = cache();
        let value = vec!["a".to_owned()];
        let load = |_| async { Ok::<_, Infallible>(vec!["a".to_owned()]) };
        POINTS.set(&cache, &1, &value).await.unwrap();
        POINTS.set_many(&cache, [(2, &value)]).await.unwrap().into_result().unwrap();
        POINTS.get_or_set(&cache, &3, || async { vec!["a".to_owned()] }).await.unwrap();
        POINTS.fetch(&cache, &4).load(load).await.unwrap();
        POINTS.fetch(&cache, &5).prime(&value).await.unwrap();
        let load = |_| async { [(6, vec!["a".to_owned()])] };
        POINTS.get_or_set_many(&cache, [6], load).await.unwrap();
        for key in 1..7 {
            assert_eq!(POINTS.get(&cache, &key).await.unwrap().as_ref(), Some(&value));
            assert!(is_postcard(&cache, key).await, "{key}");
        }
        cache.set("points:1:7", &value, Timeout::Default).await.unwrap();
        assert!(!is_postcard(&cache, 7).await);
        assert_eq!(POINTS.get(&cache, &7).await.unwrap(), Some(value), "JSON is still read");
    }

    #[tokio::test]
    async fn codec_that_the_handle_cannot_read_back_is_a_config_error() {
        static IMAGES: Keyspace<u64, Bytes> = Keyspace::new("image").codec(Codec::Postcard);
        let only_json = Cache::builder(Model::default()).read([Codec::Json]).build("test").unwrap();
        let error = POINTS.set(&only_json, &1, &Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("`codec` of a keyspace: the setting `read`"), "{error}");
        let error = IMAGES.get(&cache().bytes(), &1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("a handle of bytes has no codec"), "{error}");
    }
}
