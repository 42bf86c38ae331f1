use std::convert::Infallible;

use bytes::Bytes;
use cache_core::{
    BlockingCache, ErrorKind, FetchOutcome, FetchSettings, Keyspace, LoadContext, Loaded, Timeout,
    Ttl, secs,
};
use serde::{Deserialize, Serialize};

use super::fetch::{cache as cache_with_grace, until_idle};
use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    keyspace_has_its_own_keys_type_and_lifetime,
    keyspace_loads_a_missing_value_once,
    keyspace_loads_missing_keys_with_one_call,
    keyspace_with_a_grace_serves_stale_values(timed),
    keyspace_of_bytes_works_with_a_handle_of_bytes,
    blocking_keyspace_matches_the_async_keyspace,
    keyspace_with_a_grace_is_refused_by_a_cache_without,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

static USERS: Keyspace<u64, User> = Keyspace::new("user").ttl(secs(600)).schema(2);
static PAGES: Keyspace<(&str, u32), String> = Keyspace::new("page").ttl(Timeout::Never);
static IMAGES: Keyspace<str, Bytes> = Keyspace::new("image").ttl(secs(600));
static RATES: Keyspace<str, f64> = Keyspace::new("rate").ttl(secs(600)).grace(LONG_TIME);

fn user(name: &str) -> User {
    User { name: name.into() }
}

/// A keyspace stores each value under an escaped key with the declared lifetime.
async fn keyspace_has_its_own_keys_type_and_lifetime(ctx: &Ctx) -> TestResult {
    let (cache, start) = (ctx.cache(), ctx.now());
    USERS.set(&cache, &1, &user("Ada")).await?;
    assert_eq!(USERS.get(&cache, &1).await?, Some(user("Ada")));
    assert_eq!(cache.get("user:2:1").await?, Some(user("Ada")), "the value by its key");
    ctx.assert_ttl(USERS.ttl_of(&cache, &1).await?, LONG_TIME, start, "ttl of the keyspace");
    let items = [(2, user("Bob")), (3, user("Cy"))];
    USERS.set_many(&cache, items.clone()).await?.into_result()?;
    assert_eq!(USERS.get_many(&cache, [2, 3, 4]).await?, items.into());
    PAGES.set(&cache, &("a:b", 1), &"page".into()).await?;
    assert_eq!(PAGES.get(&cache, &("a", 1)).await?, None);
    assert_eq!(PAGES.get(&cache.strict(), &("a:b", 1)).await?.as_deref(), Some("page"));
    assert_eq!(PAGES.ttl_of(&cache, &("a:b", 1)).await?, Some(Ttl::Forever));
    returned!(USERS.has_key(&cache.at_version(2), &1).await?, false, "has_key of another version");
    returned!(USERS.delete(&cache, &1).await?, true, "delete");
    returned!(USERS.has_key(&cache, &1).await?, false, "has_key after delete");
    Ok(())
}

/// `get_or_set` and `fetch` of a keyspace run the loader for a missing key and share the entry.
async fn keyspace_loads_a_missing_value_once(ctx: &Ctx) -> TestResult {
    let (cache, start) = (ctx.cache(), ctx.now());
    assert_eq!(USERS.get_or_set(&cache, &1, async || user("Ada")).await?, user("Ada"));
    let unused = |_| async { Ok::<_, Infallible>(Loaded::Value(user("Bob"))) };
    let hit = USERS.fetch(&cache, &1).outcome(unused).await?;
    assert!(matches!(hit.outcome, FetchOutcome::Hit { .. }), "{:?}", hit.outcome);
    assert_eq!(hit.value, Some(user("Ada")));
    let load = |_| async { Ok::<_, Infallible>(user("Cy")) };
    assert_eq!(USERS.fetch(&cache, &2).with(|it| it.jitter(0.0)).load(load).await?, user("Cy"));
    ctx.assert_ttl(USERS.ttl_of(&cache, &2).await?, LONG_TIME, start, "ttl of a fetched value");
    assert_eq!(USERS.get_or_set(&cache, &2, async || user("Dee")).await?, user("Cy"));
    let failed = USERS.get_or_try_set(&cache, &3, async || Err("no source")).await;
    assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::Loader));
    let none = |_| async { Ok::<_, Infallible>(None) };
    assert_eq!(USERS.fetch(&cache, &3).load_optional(none).await?, None);
    USERS.fetch(&cache, &3).prime(&user("Eve")).await?;
    assert_eq!(USERS.get(&cache, &3).await?, Some(user("Eve")));
    until_idle(&cache).await;
    Ok(())
}

/// `get_or_set_many` of a keyspace loads all missing keys together, and stores their values with
/// the declared lifetime.
async fn keyspace_loads_missing_keys_with_one_call(ctx: &Ctx) -> TestResult {
    let (cache, start) = (ctx.cache(), ctx.now());
    USERS.set(&cache, &1, &user("Ada")).await?;
    let mut loads = Vec::new();
    let load = |missing| {
        loads.push(missing);
        async { [(2, user("Bob")), (3, user("Cy")), (9, user("extra"))] }
    };
    let found = USERS.get_or_set_many(&cache, [1, 2, 3, 2, 4], load).await?;
    assert_eq!(found, [(1, user("Ada")), (2, user("Bob")), (3, user("Cy"))].into());
    assert_eq!(loads, [[2, 3, 4]], "the calls of the loader");
    assert_eq!(USERS.get_many(&cache, [2, 3, 4, 9]).await?.len(), 2);
    ctx.assert_ttl(USERS.ttl_of(&cache, &2).await?, LONG_TIME, start, "ttl of a loaded value");
    let pages = PAGES.get_or_set_many(&cache, [("a:b", 1)], async |_| [(("a:b", 1), "p".into())]);
    assert_eq!(pages.await?, [(("a:b", 1), "p".to_owned())].into());
    assert_eq!(cache.get::<String>(&PAGES.key(&("a:b", 1))?).await?.as_deref(), Some("p"));
    let failed = async |_| Err::<[(u64, User); 0], _>("no source");
    let failed = USERS.get_or_try_set_many(&cache, [1, 5], failed).await;
    assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::Loader));
    let hit = USERS.get_or_try_set_many(&cache, [1, 3], async |_| Err::<[(u64, User); 0], _>("no"));
    assert_eq!(hit.await?.len(), 2);
    Ok(())
}

/// A value of a keyspace with a grace is served stale while its loader runs or fails.
async fn keyspace_with_a_grace_serves_stale_values(ctx: &Ctx) -> TestResult {
    let (cache, short) = (cache_with_grace(ctx), ctx.short_time());
    let names = Keyspace::<str, String>::new("name").ttl(Timeout::After(short)).grace(LONG_TIME);
    names.fetch(&cache, "a").with(|it| it.jitter(0.0)).prime(&"old".into()).await?;
    assert_eq!(names.get_or_set(&cache, "b", async || "older".into()).await?, "older");
    ctx.outlive(short).await;
    assert_eq!(names.get(&cache, "a").await?, None, "get of a value past its timeout");
    let load = |context: LoadContext| async move {
        assert_eq!(context.stale::<String>().as_deref(), Some("old"), "the value in the loader");
        Ok::<_, Infallible>("new".to_owned())
    };
    assert_eq!(names.fetch(&cache, "a").load(load).await?, "old", "the stale value");
    let failed = names.get_or_try_set(&cache, "b", async || Err("no source")).await?;
    assert_eq!(failed, "older", "the stale value of a loader that failed");
    until_idle(&cache).await;
    assert_eq!(names.get(&cache, "a").await?.as_deref(), Some("new"), "get after the refresh");
    Ok(())
}

/// A keyspace whose values are `Bytes` works with a handle of bytes.
async fn keyspace_of_bytes_works_with_a_handle_of_bytes(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache().bytes();
    let odd = Bytes::from_static(b"\xc1\xca\0");
    IMAGES.set(&cache, "logo", &odd).await?;
    assert_eq!(IMAGES.get(&cache, "logo").await?, Some(odd.clone()));
    ctx.expect(&ctx.key("image:1:text"), None, "before the write").await?;
    IMAGES.set_many(&cache, [("text", Bytes::from_static(b"text"))]).await?.into_result()?;
    ctx.expect(&ctx.key("image:1:text"), Some(b"text"), "the stored bytes").await?;
    let fetched = odd.clone();
    let load = |_| async { Ok::<_, Infallible>(fetched) };
    assert_eq!(IMAGES.fetch(&cache, "icon").load(load).await?, odd);
    assert_eq!(IMAGES.get_many(&cache, ["icon", "logo", "text"]).await?.len(), 3);
    Ok(())
}

/// The operations of a blocking keyspace.
async fn blocking_keyspace_matches_the_async_keyspace(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache().blocking();
    let calls = tokio::task::spawn_blocking(move || blocking_calls(&cache));
    calls.await.expect("the blocking calls panicked")?;
    Ok(())
}

fn blocking_calls(cache: &BlockingCache) -> cache_core::Result<()> {
    let users = USERS.blocking();
    users.set(cache, &1, &user("Ada"))?;
    assert_eq!(users.get(cache, &1)?, Some(user("Ada")));
    users.set_many(cache, [(2, user("Bob"))])?.into_result()?;
    assert_eq!(users.get_many(cache, [1, 2, 3])?.len(), 2);
    assert!(users.has_key(cache, &2)? && users.ttl_of(cache, &2)?.is_some());
    assert_eq!(users.get_or_set(cache, &3, || user("Cy"))?, user("Cy"));
    let failed = users.get_or_try_set(cache, &4, || Err("no source"));
    assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::Loader));
    let many = users.get_or_set_many(cache, [3, 5], |_| [(5, user("Eve"))])?;
    assert_eq!(many, [(3, user("Cy")), (5, user("Eve"))].into());
    let failed = users.get_or_try_set_many(cache, [6], |_| Err::<[(u64, User); 0], _>("no source"));
    assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::Loader));
    let load = |_| Ok::<_, Infallible>(user("Dee"));
    assert_eq!(users.fetch(cache, &3, |it| it, load)?, user("Cy"));
    assert_eq!(users.fetch(cache, &3, |it| it.force().ttl(secs(60)), load)?, user("Dee"));
    let images = cache.bytes();
    IMAGES.blocking().set(&images, "logo", &Bytes::from_static(b"\xff"))?;
    assert_eq!(IMAGES.blocking().get(&images, "logo")?.as_deref(), Some(&b"\xff"[..]));
    assert!(users.delete(cache, &3)?);
    Ok(())
}

/// A grace of a keyspace that the cache does not allow is an error of each call.
async fn keyspace_with_a_grace_is_refused_by_a_cache_without(ctx: &Ctx) -> TestResult {
    let cache = ctx.builder().fetch(FetchSettings::default()).build("conformance")?;
    let load = |_| async { Ok::<_, Infallible>(1.5) };
    let errors = [
        RATES.get(&cache, "eur").await.err(),
        RATES.set(&cache, "eur", &1.5).await.err(),
        RATES.get_many(&cache, ["eur"]).await.err(),
        RATES.set_many(&cache, [("eur", 1.5)]).await.err(),
        RATES.get_or_set(&cache, "eur", async || 1.5).await.err(),
        RATES.get_or_set_many(&cache, ["eur"], async |_| [("eur", 1.5)]).await.err(),
        RATES.fetch(&cache, "eur").load(load).await.err(),
        RATES.fetch(&cache, "eur").prime(&1.5).await.err(),
    ];
    for error in errors {
        let error = error.expect("a grace on a cache without the setting is an error");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let text = error.to_string();
        assert!(text.contains("`grace` of a keyspace") && text.contains("rate"), "{text}");
    }
    RATES.set(&cache_with_grace(ctx), "eur", &1.5).await?;
    Ok(())
}
