use std::convert::Infallible;

use bytes::Bytes;
use cache_core::{BlockingCache, Cache, LoadContext, Timeout, secs};

use super::fetch::{cache as cache_with_grace, until_idle};
use crate::{
    ctx::{Ctx, LONG_TIME},
    stop::TestResult,
    test::{Test, returned, tests},
};

pub(super) const TESTS: &[Test] = tests![
    bytes_are_read_and_written_by_every_operation,
    loaded_bytes_are_read_unchanged,
    bytes_past_their_timeout_are_served_stale(timed),
    absence_of_bytes_is_remembered,
    blocking_handle_of_bytes_matches_the_async_handle,
    handles_of_bytes_and_of_types_see_the_same_entries,
];

/// Bytes that no text has, and that begin like a header of the library.
const ODD: Bytes = Bytes::from_static(b"\xff\0\r\n");
const HEADER: Bytes = Bytes::from_static(b"\xc1\xca\x14\0");
const TEXT: Bytes = Bytes::from_static(b"text");

/// Each operation reads and writes bytes unchanged.
async fn bytes_are_read_and_written_by_every_operation(ctx: &Ctx) -> TestResult {
    for cache in [ctx.cache().bytes(), cache_with_grace(ctx).bytes()] {
        for value in [ODD, HEADER, TEXT, Bytes::new()] {
            cache.set("a", &value, Timeout::Default).await?;
            assert_eq!(cache.get("a").await?, Some(value.clone()), "get after set");
            returned!(
                cache.add("a", b"x", Timeout::Default).await?,
                false,
                "add of a key with bytes"
            );
            assert_eq!(cache.pop("a").await?, Some(value.clone()), "pop");
            returned!(cache.add("a", &value, Timeout::Default).await?, true, "add after pop");
            returned!(cache.replace("a", &value, Timeout::Default).await?, true, "replace");
            assert_eq!(cache.get("a").await?, Some(value.clone()), "get after add and replace");
            let items = [("b", value.clone()), ("c", value.clone())];
            assert!(cache.set_many(items, secs(600)).await?.is_empty());
            let found = cache.get_many(["a", "b", "c", "absent"]).await?;
            assert_eq!(found, ["a", "b", "c"].map(|key| (key, value.clone())).into(), "get_many");
            let append = |old: Bytes| [&old[..], b"\xc1"].concat().into();
            let longer: Option<Bytes> = cache.update("a", Timeout::Default, append).await?;
            assert_eq!(longer.as_deref(), Some(&[&value[..], b"\xc1"].concat()[..]), "update");
            assert_eq!(cache.get("a").await?, longer, "get after update");
            let create = |old: Option<Bytes>| old.or(Some(value.clone()));
            let created = cache.upsert("d", Timeout::Default, create).await?;
            assert_eq!(created.as_ref(), Some(&value), "upsert");
            assert_eq!(cache.get("d").await?, created, "get after upsert");
            assert!(cache.ttl("d").await?.is_some() && cache.touch("d", secs(60)).await?);
            assert_eq!(cache.delete_many(["a", "b", "c", "d"]).await?, 4);
        }
    }
    Ok(())
}

/// Loads store and return bytes unchanged.
async fn loaded_bytes_are_read_unchanged(ctx: &Ctx) -> TestResult {
    for cache in [ctx.cache().bytes(), cache_with_grace(ctx).bytes()] {
        for value in [ODD, HEADER, TEXT, Bytes::new()] {
            let load = async || value.clone();
            let unused = async || Bytes::from_static(b"another load");
            let failed = async || Err(std::io::Error::other("no source"));
            assert_eq!(cache.get_or_set("a", secs(600), load).await?, value);
            assert_eq!(cache.get_or_set("a", secs(600), unused).await?, value);
            assert_eq!(cache.get_or_try_set("a", secs(600), failed).await?, value);
            let many = |missing: Vec<&'static str>| {
                let loaded: Vec<_> = missing.into_iter().map(|key| (key, value.clone())).collect();
                async { loaded }
            };
            let expected = || ["a", "b", "c"].map(|key| (key, value.clone())).into();
            for _ in 0..2 {
                let found = cache.get_or_set_many(["a", "b", "c"], secs(600), many).await?;
                assert_eq!(found, expected(), "get_or_set_many");
            }
            let fetched = value.clone();
            let load = move |_: LoadContext<Bytes>| async { Ok::<_, Infallible>(fetched) };
            assert_eq!(cache.fetch("d").ttl(LONG_TIME).load(load).await?, value, "fetch");
            let unused = |_| async { Ok::<_, Infallible>(TEXT) };
            assert_eq!(cache.fetch("d").ttl(LONG_TIME).load(unused).await?, value, "a hit");
            cache.fetch("e").ttl(LONG_TIME).prime(&value).await?;
            assert_eq!(cache.get("e").await?, Some(value.clone()), "get after prime");
            assert_eq!(cache.delete_many(["a", "b", "c", "d", "e"]).await?, 5);
        }
    }
    Ok(())
}

/// Bytes have a grace as typed values do, and a loader sees the stale bytes.
async fn bytes_past_their_timeout_are_served_stale(ctx: &Ctx) -> TestResult {
    let cache = cache_with_grace(ctx).bytes();
    let short = ctx.short_time();
    cache.fetch("k").ttl(short).jitter(0.0).prime(&HEADER).await?;
    ctx.outlive(short).await;
    assert_eq!(cache.get("k").await?, None, "get of a value past its timeout");
    let load = |context: LoadContext<Bytes>| async move {
        assert_eq!(context.stale(), Some(HEADER), "the stale bytes in the loader");
        Ok::<_, Infallible>(ODD)
    };
    assert_eq!(cache.fetch("k").ttl(LONG_TIME).load(load).await?, HEADER, "the stale bytes");
    until_idle(&cache).await;
    assert_eq!(cache.get("k").await?, Some(ODD), "get after the refresh");
    Ok(())
}

/// `None` of a loader of bytes is remembered, and no bytes are read as this entry.
async fn absence_of_bytes_is_remembered(ctx: &Ctx) -> TestResult {
    let cache = cache_with_grace(ctx).bytes();
    let absent = |_| async { Ok::<_, Infallible>(None::<Bytes>) };
    assert_eq!(cache.fetch("k").load_optional(absent).await?, None);
    let present = |_| async { Ok::<_, Infallible>(Some(TEXT)) };
    assert_eq!(cache.fetch("k").load_optional(present).await?, None, "it is remembered");
    let entry = ctx.get(&ctx.key("k")).await?.expect("the remembered absence is an entry");
    cache.set("k", &entry, Timeout::Default).await?;
    assert_eq!(cache.get("k").await?, Some(entry), "bytes that look like such an entry");
    Ok(())
}

/// A blocking handle of bytes has every operation.
async fn blocking_handle_of_bytes_matches_the_async_handle(ctx: &Ctx) -> TestResult {
    let cache = ctx.cache();
    let handles = [cache.blocking().bytes(), cache.bytes().blocking()];
    let calls = move || handles.iter().try_for_each(blocking_calls);
    tokio::task::spawn_blocking(calls).await.expect("the blocking calls panicked")?;
    Ok(())
}

fn blocking_calls(cache: &BlockingCache<Bytes>) -> cache_core::Result<()> {
    cache.set("a", &HEADER, Timeout::Default)?;
    assert_eq!(cache.get("a")?, Some(HEADER));
    assert!(!cache.add("a", "x", Timeout::Default)?);
    assert!(cache.replace("a", &ODD, Timeout::Default)?);
    assert!(cache.set_many([("b", "x"), ("c", "y")], Timeout::Default)?.is_empty());
    assert_eq!(cache.get_many(["a", "absent"])?, [("a", ODD)].into());
    assert_eq!(cache.update("a", Timeout::Default, |_: Bytes| TEXT)?, Some(TEXT));
    assert_eq!(
        cache.upsert("d", Timeout::Default, |old: Option<Bytes>| old.or(Some(ODD)))?,
        Some(ODD)
    );
    assert_eq!(cache.get_or_set("d", Timeout::Default, || TEXT)?, ODD);
    let failed = cache.get_or_try_set("e", Timeout::Default, || Err::<Bytes, _>("no source"));
    assert!(failed.is_err());
    assert_eq!(cache.fetch("e", |it| it.ttl(secs(60)), |_| Ok::<_, Infallible>(HEADER))?, HEADER);
    let load = |missing: Vec<&'static str>| missing.into_iter().map(|key| (key, TEXT));
    assert_eq!(
        cache.get_or_set_many(["e", "f"], secs(60), load)?,
        [("e", HEADER), ("f", TEXT)].into()
    );
    assert_eq!(cache.pop("e")?, Some(HEADER));
    assert_eq!(cache.delete_many(["a", "b", "c", "d", "f"])?, 5);
    Ok(())
}

/// Handles of bytes and of types are handles to one cache.
async fn handles_of_bytes_and_of_types_see_the_same_entries(ctx: &Ctx) -> TestResult {
    let typed: Cache = ctx.cache();
    let bytes = typed.bytes();
    assert!(bytes.is_same(&typed) && bytes.version() == 1 && bytes.alias() == typed.alias());
    typed.set("text", "text", Timeout::Default).await?;
    assert!(bytes.get("text").await?.is_some(), "the stored form of a typed value");
    bytes.set("n", "41", Timeout::Default).await?;
    assert_eq!(bytes.incr("n", 1).await?, 42);
    assert_eq!(typed.get::<i64>("n").await?, Some(42));
    bytes.set("json", r#"["a"]"#, Timeout::Default).await?;
    assert_eq!(typed.get::<Vec<String>>("json").await?, Some(vec!["a".to_owned()]));
    bytes.at_version(2).set("k", &ODD, Timeout::Default).await?;
    returned!(typed.has_key("k").await?, false, "has_key of another version");
    assert_eq!(bytes.at_version(2).decr_version("k", 1).await?, 1);
    assert_eq!(bytes.strict().get("k").await?, Some(ODD));
    Ok(())
}
